"""Where things lie: the project's root is the nearest folder above the experiment that holds `data_cards/`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CACHE = "MMKD_CACHE"
"""Variable of the environment that names a folder for the cache, such as one on a node's own disk."""


@dataclass(frozen=True)
class Places:
    """Folders of one project. Runs, sweeps, teachers and cache are scratch; records, tables and figures are
    committed."""

    root: Path

    @classmethod
    def near(cls, path: Path) -> Places:
        """The project that a file or folder belongs to; without a `data_cards/` above it, its own folder."""
        start = path.resolve()
        start = start if start.is_dir() else start.parent
        for folder in (start, *start.parents):
            if (folder / "data_cards").is_dir():
                return cls(folder)
        return cls(start)

    @property
    def runs(self) -> Path:
        """Records, weights and logs, as runs leave them."""
        return self.root / "results" / "runs"

    def run(self, name: str, experiment_hash: str) -> Path:
        """The scratch runs of one experiment; other values of its keys have another folder."""
        return self.runs / f"{name}-{experiment_hash[:8]}"

    @property
    def sweeps(self) -> Path:
        """Journals, trials and winners of sweeps."""
        return self.root / "results" / "sweeps"

    @property
    def teachers(self) -> Path:
        """Fine-tuned teachers, by the hash of what made them."""
        return self.root / "results" / "teachers"

    @property
    def cache(self) -> Path:
        """Encoded data and teachers' outputs, by content; elsewhere where MMKD_CACHE names a folder."""
        return Path(os.environ.get(CACHE) or self.root / "results" / "cache")

    @property
    def records(self) -> Path:
        """The ledger: the records that tables rest on."""
        return self.root / "results" / "records"

    @property
    def tables(self) -> Path:
        """Table files, and what is generated from them."""
        return self.root / "results" / "tables"

    @property
    def figures(self) -> Path:
        """Figure files, and what is drawn from them."""
        return self.root / "results" / "figures"
