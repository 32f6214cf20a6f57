"""Measures what storing a teacher's outputs loses: rounding, projections of features, logits that were cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkd.cache.entry import Lost
from mmkd.cache.packing import Flat, Packing

Kind = Literal["relative", "nats"]


class Losing:
    """Sums what is lost over the batches of a shard, by output."""

    def __init__(self, packing: Packing) -> None:
        """packing: how outputs are stored; nothing is measured where they are stored as they are."""
        self._packing = packing
        self._sums: dict[str, list[float]] = {}

    def add(self, outputs: Mapping[str, Flat], stored: Mapping[str, Tensor]) -> None:
        """Add a batch. outputs: what the teacher said. stored: in the type that is stored."""
        for name, flat in outputs.items():
            if not flat.values.is_floating_point() or not self._loses(name) or not len(flat.values):
                continue
            said = flat.values.float()
            restored = self._packing.restore(name, stored, said.shape[-1])
            if self._is_cut(name):
                error = divergence(said, restored)
                against, largest = torch.ones_like(error), error.max()
            else:
                error = torch.linalg.vector_norm((said - restored).flatten(1), dim=1).double().square()
                against = torch.linalg.vector_norm(said.flatten(1), dim=1).double().square()
                largest = (error / against.clamp(min=torch.finfo(torch.float64).tiny)).max().sqrt()
            total = self._sums.setdefault(name, [0.0, 0.0, 0.0])
            total[0] += float(error.sum())
            total[1] += float(against.sum())
            total[2] = max(total[2], float(largest))

    def lost(self) -> dict[str, Lost]:
        """What was lost, by output, rounded to four digits: beyond these, sums depend on the number of threads."""
        found = {}
        for name, sums in self._sums.items():
            total, against, largest = (float(f"{each:.4g}") for each in sums)
            kind: Kind = "nats" if self._is_cut(name) else "relative"
            found[name] = Lost(of=kind, total=total, against=against, largest=largest)
        return found

    def _is_cut(self, name: str) -> bool:
        return name.startswith("logits.") and name.removeprefix("logits.") in self._packing.top

    def _loses(self, name: str) -> bool:
        return self._packing.dtype != "fp32" or self._is_cut(name) or name in self._packing.projections


def divergence(said: Float[Tensor, "R K"], stored: Float[Tensor, "R K"]) -> Float[Tensor, " R"]:
    """KL(said || stored) in nats at temperature 1, of logits."""
    log_said, log_stored = said.double().log_softmax(-1), stored.double().log_softmax(-1)
    return (log_said.exp() * (log_said - log_stored)).sum(-1).clamp(min=0.0)
