"""Weights on disk: safetensors and a manifest, never pickle, never half a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmkd.arrays import file_hash
from mmkd.disk import sync
from mmkd.errors import MmkdError
from mmkd.pretrained import read_weights
from mmkd.record import hash_of

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"


class CheckpointError(MmkdError):
    """A checkpoint is damaged or missing; the message names the file and what differs."""


def save(folder: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write weights and facts (plain data) so that `folder` holds all or nothing; an older one is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary / WEIGHTS)
        sync(temporary / WEIGHTS)
        content = {"sha256": file_hash(temporary / WEIGHTS), "facts": dict(facts)}
        text = json.dumps(content | {"digest": hash_of(content)}, indent=1)
        (temporary / MANIFEST).write_text(text, "utf-8")
        sync(temporary / MANIFEST)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """sha256 of weights: their names, types, shapes and bits."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def exists(folder: Path) -> bool:
    """Whether a whole checkpoint lies there."""
    return (folder / MANIFEST).exists()


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Weights, facts, and the sha256 of the weights.

    Raises CheckpointError when the weights or the facts are not those that were written, PretrainedError when the
    weights are no safetensors.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        digest, expected, facts = manifest.pop("digest"), manifest["sha256"], manifest["facts"]
        found = file_hash(folder / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder}: not a checkpoint: {error!r}; delete the folder and run again") from error
    for path, one, other in ((MANIFEST, hash_of(manifest), digest), (WEIGHTS, found, expected)):
        if one != other:
            raise CheckpointError(
                f"{folder / path}: sha256 {one[:12]}, expected {other[:12]}: the file was damaged or changed; delete "
                "the folder and run again"
            )
    return read_weights(folder / WEIGHTS), facts, found
