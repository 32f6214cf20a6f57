"""One data set as its card defines it: read, divided into splits, masked, checked. No torch here.

The check of a data set is made once for the same content, card and code, and stored; a run reads the same rows again
and leaves out those that the check quarantined.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from mmkd.arrays import code_hash
from mmkd.config.problems import listed
from mmkd.data.account import Report, policy_of, settle
from mmkd.data.base import DataError, Example, Source
from mmkd.data.card import Card
from mmkd.data.check_image import Print, check_image
from mmkd.data.check_text import check_words
from mmkd.data.duplicates import RowPrint, leaks
from mmkd.data.findings import Finding, Policy
from mmkd.data.masking import masker, masker_identity
from mmkd.data.sealed import SPLIT, Seal, SealedLabels
from mmkd.data.splitting import assign
from mmkd.record import hash_of

PARTS = (
    *("account", "base", "dataset", "findings", "masking", "splitting"),
    *("check_image", "check_text", "duplicates", "_decode", "_near_images", "_near_texts"),
)
CODE = code_hash(*(Path(__file__).parent / f"{name}.py" for name in PARTS))
DIVISION_CODE = code_hash(Path(__file__).parent / "splitting.py")

Progress = Callable[[int, int], None]


class DataSet:
    """The rows of a card's splits, as they are used."""

    def __init__(
        self,
        card: Card,
        source: Source,
        folder: Path,
        policy: Mapping[str, Policy],
        as_stated: bool = True,
        seal: Seal | None = None,
    ) -> None:
        """folder: where checks are stored. policy: in place of the card's own, by reason.

        as_stated: the splits must have as many rows as the card says; not so for a generator that was asked for others.
        seal: of the test labels, for a run; None: they can be read, as by a person who looks at the data.
        """
        self.card, self.source, self._folder, self._as_stated = card, source, folder, as_stated
        self.policy: dict[str, Policy] = {**card.policy, **policy}
        self._mask = masker(card.pii.mask) if card.pii.mask else None
        self._report: Report | None = None
        self._seal = seal
        self._divided: dict[str, list[Example | Finding]] = {}
        self._divided_sealed = True

    def read(self, split: str) -> Iterator[Example]:
        """The rows of a split that are used, in order."""
        dropped = set(self.report().dropped[split])
        for place, row in enumerate(self.rows(split)):
            if place not in dropped:
                assert isinstance(row, Example)  # a finding in a row's place is refused or quarantined
                yield row

    def fingerprint(self, split: str) -> str:
        """sha256 that changes with anything that changes the rows of the split that are used."""
        parts = [self.source.fingerprint(self._part_of(split))]
        if self._mask is not None:
            parts.append(masker_identity(self.card.pii.mask))
        if self._is_divided(split):
            parts.append(f"{split} {self.card.division} {DIVISION_CODE}")
        dropped = self.report().dropped[split]
        if dropped:
            parts.append(f"without {dropped}")
        return parts[0] if len(parts) == 1 else hash_of(parts)

    def report(self, progress: Progress = lambda done, total: None) -> Report:
        """The check of all splits: found again, or made.

        progress: called with rows checked, and in all as the card states.
        """
        if self._report is None:
            path = self._folder / f"{self._key()[:24]}.json"
            self._report = _recalled(path)
            if self._report is None:
                self._report = self._check(progress)
                _remember(self._report, path)
        return self._report

    def rows(self, split: str) -> Iterator[Example | Finding]:
        """Every row of a split, divided and masked, before any check; a finding in the place of an unusable row."""
        for row in self._read(split):
            yield self._masked(row, split)[0]

    def _masked(self, row: Example | Finding, split: str) -> tuple[Example | Finding, dict[str, int]]:
        """The row as the split has it, and the places that were masked in it, by kind of personal data."""
        if isinstance(row, Finding):
            return replace(row, split=split), {}
        words, places = (row.words, {}) if self._mask is None else self._mask(row.words)
        return replace(self._labelled(row, split), words=words), places

    def _labelled(self, row: Example, split: str) -> Example:
        """The row with the labels that the split has: none in `transfer`, sealed ones in `test`."""
        if split == "transfer":
            return replace(row, labels={})
        return replace(row, labels=SealedLabels()) if split == SPLIT and self._is_sealed else row

    @property
    def _is_sealed(self) -> bool:
        return self._seal is not None and not self._seal.is_open

    def _read(self, split: str) -> Iterator[Example | Finding]:
        if not self._is_divided(split):
            yield from self.source.read(split)
            return
        if not self._divided or self._divided_sealed != self._is_sealed:
            self._divided, self._divided_sealed = self._divide(), self._is_sealed
        yield from self._divided[split]

    def _divide(self) -> dict[str, list[Example | Finding]]:
        division = self.card.division
        assert division is not None
        rows = list(self.source.read(division.of))
        examples = [row for row in rows if isinstance(row, Example)]
        names = assign(
            [row.id for row in examples],
            [row.group if division.keep_groups else None for row in examples],
            [row.labels.get(division.stratify) if division.stratify else None for row in examples],
            division.shares,
            division.seed,
        )
        chosen = dict(zip((row.id for row in examples), names, strict=True))
        parts: dict[str, list[Example | Finding]] = {split: [] for split in division.shares}
        for row in rows:
            # A row that is no example belongs to no split; it is counted with the first.
            if isinstance(row, Example):
                parts[chosen[row.id]].append(self._labelled(row, chosen[row.id]))
            else:
                parts[next(iter(parts))].append(row)
        return parts

    def _part_of(self, split: str) -> str:
        division = self.card.division
        return division.of if division is not None and split in division.shares else split

    def _is_divided(self, split: str) -> bool:
        return self.card.division is not None and split in self.card.division.shares

    def _key(self) -> str:
        card = self.card
        mask = masker_identity(card.pii.mask) if self._mask is not None else ""
        parts = [self.source.fingerprint(part) for part in sorted({self._part_of(split) for split in card.splits})]
        stated = dict(card.splits) if self._as_stated else list(card.splits)
        versions = [np.__version__, PIL.__version__]
        return hash_of([parts, str(card.division), mask, self.policy, stated, list(card.modalities), CODE, versions])

    def _check(self, progress: Progress) -> Report:
        total, done = sum(self.card.splits.values()), 0
        findings: list[tuple[int, Finding]] = []
        prints: list[RowPrint] = []
        examples: dict[tuple[str, int], Example] = {}
        counts: dict[str, int] = {}
        masked: dict[str, Counter[str]] = {}
        for split in map(str, self.card.splits):
            masked[split], counts[split] = Counter(), 0
            for place, read in enumerate(self._read(split)):
                row, places = self._masked(read, split)
                masked[split].update(places)
                counts[split], done = place + 1, done + 1
                if isinstance(row, Finding):
                    findings.append((place, row))
                    continue
                found, image = self._check_row(row)
                findings += [(place, finding_of(row, split, *each)) for each in found]
                prints.append(RowPrint(split, place, row.words, image, row.group))
                examples[split, place] = replace(row, image=None, labels={})
                progress(done, total)
        out = {(one.split, place) for place, one in findings if policy_of(one.reason, self.policy) != "accept"}
        for leak in leaks([each for each in prints if (each.split, each.row) not in out]):
            other = examples[leak.other]
            where = f"{other.file}:{other.row}" if other.file is not None else leak.other[0]
            message = f"{leak.detail}: row {other.id!r} of {leak.other[0]} ({where})"
            split, place = leak.one
            findings.append((place, finding_of(examples[leak.one], split, leak.reason, None, message)))
        report = settle(counts, findings, self.policy, masked)
        return settle(counts, [*findings, *self._sizes(report)], self.policy, masked)

    def _check_row(self, row: Example) -> tuple[list[tuple[str, str | None, str]], Print | None]:
        """(reason, field, message) of everything that is found in a row, and what its image is compared by."""
        found: list[tuple[str, str | None, str]] = [(reason, "text", text) for reason, text in check_words(row.words)]
        if row.image is None:
            return found, None
        if not row.words and "text" in self.card.modalities:
            found.append(("text_empty", "text", "found no word; the image is used alone"))
        try:
            problems, image = check_image(row.image())
        except DataError as error:
            problems, image = [("image_corrupt", str(error))], None
        except OSError as error:
            problems, image = [("image_missing", f"cannot be read: {error}")], None
        name = f"{row.image_name}: " if row.image_name is not None else ""
        return [*found, *((reason, "image", f"{name}{message}") for reason, message in problems)], image

    def _sizes(self, report: Report) -> Iterator[tuple[int, Finding]]:
        for split, account in report.accounts.items():
            stated = {str(name): rows for name, rows in self.card.splits.items()}[split]
            if self._as_stated and account.rows != stated:
                text = f"found {account.rows:,} rows; expected the {stated:,} that the card states in `mmkd.splits`"
                yield -1, Finding("split_size", split, None, None, None, None, text)
            if not account.used:
                left = listed([f"{count} {reason}" for reason, count in account.quarantined.items()]) or "none"
                text = f"found no row that can be used (quarantined: {left}); expected at least one"
                yield -1, Finding("split_empty", split, None, None, None, None, text)


def _recalled(path: Path) -> Report | None:
    """The report that was stored there; None where there is none, or it is not what was written."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        plain = stored["report"] if stored["sha256"] == _digest(stored["report"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if plain is None else Report.from_plain(plain)


def _digest(plain: Any) -> str:
    # Messages may hold half of a surrogate pair, which only escapes can write.
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _remember(report: Report, path: Path) -> None:
    plain = json.loads(json.dumps(report.dump()))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}-{id(report)}.tmp")
    temporary.write_text(json.dumps({"report": plain, "sha256": _digest(plain)}), "utf-8")
    temporary.replace(path)


def finding_of(row: Example, split: str, reason: str, field: str | None, message: str) -> Finding:
    """A finding about a row that is an example."""
    return Finding(reason, split, row.file, row.row, row.id, field, message)
