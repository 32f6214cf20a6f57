"""The student's passes over a batch: the one over the batch as it is, and those that losses and settings ask for.

Only the first changes what modules keep beside their parameters, such as running statistics and memories: in evaluation
there is nothing hidden, mixed or moved. All passes over one batch draw the same random numbers, so that a shift is the
worst one for the network that learns from it, with the same units dropped and the same modalities hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.func import functional_call

from mmkd.adversarial import Shift, shifted, worst_shift
from mmkd.config.adversarial import Adversarial
from mmkd.config.mixup import Mixup
from mmkd.looks import partly_hidden
from mmkd.mixup import mixtures
from mmkd.objective import Objective, Terms
from mmkd.types import Batch, Outputs


@dataclass(frozen=True)
class Passes:
    """network: a student where losses ask for looks or a setting is given; any network otherwise."""

    network: Any
    terms: Terms
    accelerator: Accelerator
    mixup: Mixup | None = None
    adversarial: Adversarial | None = None

    def student(self, batch: Batch) -> Outputs:
        """What the network says of the batch, with the looks that losses ask for and what it says of mixtures."""
        return self._seen(batch, self.network)

    def with_worst(
        self,
        student: Outputs,
        objective: Objective,
        said: Mapping[str, Outputs],
        batch: Batch,
        progress: float,
        step: int,
    ) -> tuple[Objective, list[Tensor]]:
        """The objective, plus that of the batch moved to where it is worst, if asked for; the fused features of both.

        student, objective: of the batch as it is. said: the teachers' words of it. The others: as for `Terms`.
        """
        seen = [student]
        if self.adversarial is not None:
            shift = worst_shift(
                lambda shift: self._shifted(shift, said, batch, progress, step)[1].total(),
                self.network,
                batch,
                self.adversarial,
            )
            worst, other = self._shifted(shift, said, batch, progress, step)
            seen, objective = [student, worst], objective.plus(other)
        return objective, [each.fused for each in seen if each.fused is not None]

    def _shifted(
        self, shift: Shift, said: Mapping[str, Outputs], batch: Batch, progress: float, step: int
    ) -> tuple[Outputs, Objective]:
        """What the student says of the shifted batch, and the objective there."""
        torch.manual_seed(torch.initial_seed())
        with shifted(self.network, batch, shift) as moved:
            student = self._seen(moved, partial(aside, self.network))
        return student, aside(self.terms, student, said, batch, progress, step)

    def _seen(self, batch: Batch, speak: Callable[[Batch], Outputs]) -> Outputs:
        again = partial(aside, self.network)
        with self.accelerator.autocast():
            student = speak(batch)
            if looks := self.terms.looks:
                mean = self.network.encoders["image"].mean if "image" in student.has else None
                found = {look: again(partly_hidden(batch, look, mean)) for look in looks}
                student = replace(student, looks=found)
            if self.mixup is not None:
                student = replace(student, mixed=mixtures(self.mixup, self.network, student, batch, again))
        return student


def aside(module: nn.Module, *arguments: Any) -> Any:
    """Call a module, whose buffers stay as they are."""
    buffers: dict[str, Tensor] = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return functional_call(module, buffers, arguments)
