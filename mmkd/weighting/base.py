"""What a weighting is: how the gradients of the task groups are balanced against one another."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mmkd.config.plugin_base import WeightingConfig


class Weighting(nn.Module, abc.ABC):
    """A plug-in: `kind` under `weighting:` is a file with a `Config` and one class `Weighting`.

    It balances task groups (the sum of a task's supervised and distilled terms), never single terms. Its own
    parameters, if it has any, are trained by the run's optimizer without weight decay.
    """

    def __init__(self, config: WeightingConfig, tasks: Sequence[str]) -> None:
        """tasks: names of all groups that can occur, in a fixed order."""
        super().__init__()
        self.config, self.tasks = config, tuple(tasks)

    @abc.abstractmethod
    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """Add the balanced gradient to `.grad` of every parameter involved; return each present task's weight.

        by_task: group losses (scalars) of the tasks that have a row in this batch; an absent task is not in the map,
            and its state stays as it is.
        rest: the sum of the terms outside every group, None when there is none.
        shared_parameters: parameters of the encoders and the fusion. representation: the tensors between them and
            the heads, part of the graph of every group.
        """

    def end_epoch(self) -> None:
        """Called once after the last step of each epoch; a weighting that goes by epochs overrides it."""


def order_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Bring each gradient into its parameter's own order of memory (images' networks are channels-last).

    Autograd keeps that order; what sets `.grad` itself may not. A fused optimizer goes through memory from end to end,
    and would give each element another one's gradient.
    """
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
