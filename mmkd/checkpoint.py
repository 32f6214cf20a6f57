"""Weights on disk: safetensors and a manifest, never pickle, never half a folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkd.arrays import file_hash

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"


class CheckpointError(Exception):
    """A checkpoint is damaged or missing; the message names the file and what differs."""


def save(folder: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write weights and facts (plain data) so that `folder` holds all or nothing; an older one is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary / WEIGHTS)
    with (temporary / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"sha256": file_hash(temporary / WEIGHTS), "facts": dict(facts)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)


def exists(folder: Path) -> bool:
    """Whether a whole checkpoint lies there."""
    return (folder / MANIFEST).exists()


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Weights, facts, and the sha256 of the weights.

    Raises CheckpointError when the weights are not those that were written.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        found = file_hash(folder / WEIGHTS)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: not a checkpoint: {error}") from error
    if found != manifest["sha256"]:
        raise CheckpointError(
            f"{folder / WEIGHTS}: sha256 {found[:12]}, expected {manifest['sha256'][:12]}: the file was damaged or "
            "changed; delete the folder and run again"
        )
    return load_file(folder / WEIGHTS), manifest["facts"], found
