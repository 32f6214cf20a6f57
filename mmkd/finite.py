"""The guard of the training loop: the first number that is inf or NaN stops the run, or its step is left out.

A healthy step pays one number: the norm of the gradient, which clipping computes anyway. Terms, weights and logits are
looked at with the values that the loop brings from the device in any case. Who is to blame is asked only after
something was found, by computing the step's batches again (`mmkd.culprit`).

Several processes agree: the one that found something marks its gradient, so that the mean over the processes is not
finite in any of them. Each then says what it knows, and all stop, or all leave the step out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from mmkd.config.experiment import Train
from mmkd.culprit import Moment, Search, shown
from mmkd.objective import NonFinite
from mmkd.processes import told_by_all

IN_A_ROW = 10
"""Steps one after the other that may be left out; with so many, the run stops: it does not learn any more."""

ADVICE = "look at these rows, lower train.lr, or set train.clip; `train.non_finite: skip` leaves such a step out"
FAILURES = (RuntimeError, ValueError, ArithmeticError)
"""What a weighting's solver may raise for gradients that are not finite."""


class Guard:
    """Watches the steps of one training."""

    def __init__(
        self,
        search: Search,
        parameters: Sequence[nn.Parameter],
        settings: Train,
        accelerator: Accelerator,
        say: Callable[[str], None],
    ) -> None:
        """search: over the networks that train. say: told each step that is left out, by the main process."""
        self._search, self._parameters, self._accelerator, self._say = search, list(parameters), accelerator, say
        self._skips, self._clip = settings.non_finite == "skip", settings.clip
        self._moments: list[Moment] = []
        self._fault: str | None = None
        self._before: list[tuple[nn.Module, str, Tensor]] = []
        self._in_a_row = 0

    @contextmanager
    def over(self, moment: Moment) -> Iterator[None]:
        """Watch the pass over one batch of a step, from the network's reading to its gradient.

        Raises NonFinite when the run is to stop here.
        """
        if self._skips and not self._moments:
            self._before = buffers_of(self._search.trainees)
        self._moments.append(moment)
        try:
            yield
        except NonFinite as error:
            self._found(self._search.named(moment, error), error)
        except FAILURES as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            try:
                found = self._search.culprit(moment)
            except FAILURES:  # the same error again, which is about something else
                found = None
            if found is None:
                raise
            self._found(shown(moment, found), error)

    def _found(self, text: str, error: Exception) -> None:
        self._fault = self._fault or text
        if not self._skips and self._accelerator.num_processes == 1:
            raise NonFinite(f"{text}; {ADVICE}") from error

    def mark(self) -> None:
        """Before gradients are averaged over the processes: make this one's show that it found something."""
        if self._fault is not None:
            first = self._parameters[0]
            first.grad = torch.full_like(first, math.nan)

    def lets_through(self) -> bool:
        """Clip the gradient; False: it is not finite, the step is left out, and buffers are as they were before it.

        Raises NonFinite when the run is to stop: by its setting, or after IN_A_ROW steps without one that is finite.
        """
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._clip is not None:
            norm = clip_grad_norm_(self._parameters, self._clip)
        else:
            norm = get_total_norm(gradients, math.inf)
        moments, fault, self._moments, self._fault = self._moments, self._fault, [], None
        if math.isfinite(float(norm)):  # marked, it is not
            self._in_a_row = 0
            return True
        own = fault or self._of_gradient(moments)
        told = [each for each in told_by_all(own, self._accelerator) if each is not None]
        text = " | ".join(dict.fromkeys(told)) or (
            f"step {moments[0].step}: the norm of the gradient is {float(norm)}; no batch of the step shows it again"
        )
        if not self._skips:
            raise NonFinite(f"{text}; {ADVICE}")
        put_back(self._before)
        self._in_a_row += 1
        if self._accelerator.is_main_process:
            self._say(f"left out: {text}")
        if self._in_a_row == IN_A_ROW:
            raise NonFinite(f"{IN_A_ROW} steps in a row were left out; the last: {text}; {ADVICE}")
        return False

    def _of_gradient(self, moments: Sequence[Moment]) -> str | None:
        for moment in moments:
            found = self._search.culprit(moment)
            if found is not None:
                return shown(moment, found)
        return None


def require_finite(weights: Mapping[str, float], kind: str, step: int, ids: Sequence[str]) -> None:
    """Raises NonFinite that names the weighting and the task, for a weight that is inf or NaN."""
    for task, weight in weights.items():
        if not math.isfinite(weight):
            raise NonFinite(
                f"step {step}: weighting {kind}: the weight of {task} is {weight}; samples {', '.join(ids)}"
            )


def buffers_of(modules: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Copies of what modules keep from step to step beside their parameters: a weighting's state, running means."""
    return [
        (module, name, value.clone())
        for module in modules.modules()
        for name, value in module.named_buffers(recurse=False)
    ]


@torch.no_grad()
def put_back(kept: Sequence[tuple[nn.Module, str, Tensor]]) -> None:
    """Give modules their buffers again."""
    for module, name, value in kept:
        now = module.get_buffer(name)
        if now.shape == value.shape:
            now.copy_(value)
        else:  # a memory that takes its shape from the first step
            setattr(module, name, value)
