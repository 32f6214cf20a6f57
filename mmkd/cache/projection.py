"""Fixed projections that make a teacher's features narrower: PCA without centring, or random directions.

One projection serves all splits and views of an experiment, or the student would learn two bases at once. It is
stored when it is first made, and its content is part of every entry's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmkd.arrays import ArrayWriter, stored
from mmkd.config.cache import Features
from mmkd.record import hash_of
from mmkd.types import OutputShape


@dataclass(frozen=True)
class Projection:
    """matrix: [D, E], orthonormal columns. scale: of what is stored, so that squared lengths are kept in the mean."""

    matrix: Tensor
    scale: float

    def narrow(self, features: Float[Tensor, "*R D"]) -> Float[Tensor, "*R E"]:
        """Features in the narrow width."""
        return features @ self.matrix.to(features.device) * self.scale

    def widen(self, narrow: Float[Tensor, "*R E"]) -> Float[Tensor, "*R D"]:
        """The nearest features of the full width that the narrow ones know of."""
        return narrow / self.scale @ self.matrix.to(narrow.device).T


def feature_widths(shape: OutputShape) -> dict[str, int]:
    """Stored name of each feature that may be made narrower -> its width.

    Queries, keys and values are none: their heads, which lie side by side, would run together.
    """
    widths = {f"pooled.{modality}": width for modality, width in shape.pooled.items()}
    for modality, layers in shape.hidden.items():
        heads = shape.heads.get(modality, {})
        widths |= {f"hidden.{modality}.{layer}": width for layer, width in layers.items() if layer not in heads}
    return widths if shape.fused is None else widths | {"fused": shape.fused}


def narrowed(shape: OutputShape, width: int) -> OutputShape:
    """The shape of what the cache says, when features are at most so wide."""
    return OutputShape(
        pooled={modality: min(width, each) for modality, each in shape.pooled.items()},
        hidden={
            modality: {n: each if n in shape.heads.get(modality, {}) else min(width, each) for n, each in own.items()}
            for modality, own in shape.hidden.items()
        },
        depth=shape.depth,
        fused=None if shape.fused is None else min(width, shape.fused),
        heads=shape.heads,
    )


def random_directions(width: int, narrow: int, seed: int) -> np.ndarray:
    """[width, narrow], float32: orthonormal columns, of all such frames alike. They follow from the numbers."""
    draws = np.random.default_rng([seed, width, narrow]).standard_normal((width, narrow))
    directions, upper = np.linalg.qr(draws)
    return (directions * np.sign(np.diag(upper))).astype(np.float32)


def main_directions(moments: np.ndarray, narrow: int) -> np.ndarray:
    """[D, narrow], float32: the directions that hold most of the squared length. moments: [D, D], sum of x x^T."""
    _, directions = np.linalg.eigh(moments)  # eigenvalues rise
    directions = directions[:, ::-1][:, :narrow]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0)
    return (directions * np.sign(largest)).astype(np.float32)


def random_projections(config: Features, shape: OutputShape, folder: Path) -> dict[str, Projection]:
    """A projection for each feature that is wider than asked for: the same one for all of the same width."""
    wide = {name: width for name, width in feature_widths(shape).items() if width > config.width}

    def write(writer: ArrayWriter) -> None:
        for width in sorted(set(wide.values())):
            writer.put(str(width), random_directions(width, config.width, config.seed))

    # Stored, since another machine's linear algebra may round otherwise.
    parts = {"features": config.model_dump_json(), "widths": str(sorted(set(wide.values())))}
    matrices = stored(folder, parts, write)
    scale = {width: float(np.sqrt(width / config.width)) for width in wide.values()}
    return {name: Projection(_tensor(matrices[str(width)]), scale[width]) for name, width in wide.items()}


def opened(matrices: Mapping[str, np.ndarray]) -> dict[str, Projection]:
    """The projections that were fitted."""
    return {name: Projection(_tensor(matrix), 1.0) for name, matrix in matrices.items()}


def identity_of(config: Features | None, projections: Mapping[str, Projection]) -> str:
    """What a projection is, for a key: how it was made, and the hash of its content."""
    if config is None:
        return "whole"
    content = {name: each.matrix.numpy().tobytes().hex() for name, each in sorted(projections.items())}
    return f"{config.kind} {config.width} {hash_of(content)[:24]}"


def _tensor(matrix: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(matrix))
