"""Contrast of paired rows: what infoNCE and its kin share."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from mmkd.losses._math import full_precision, mean_or_zero, unit


def cosines(rows: Float[Tensor, "R D"], columns: Float[Tensor, "C D"]) -> Float[Tensor, "R C"]:
    """Cosine of each row's vector with each column's."""
    return unit(full_precision(rows)) @ unit(full_precision(columns)).T


def contrast(rows: Float[Tensor, "R D"], partners: Float[Tensor, "R D"], temperature: float) -> Float[Tensor, ""]:
    """Cross-entropy of finding each row's partner among all, by cosine over temperature; mean over rows, in nats."""
    return -mean_or_zero((cosines(rows, partners) / temperature).log_softmax(-1).diagonal())
