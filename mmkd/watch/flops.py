"""Floating-point operations by phase, counted while they are done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def convolution_backward(
    gradient: Sequence[int],
    values: Sequence[int],
    weight: Sequence[int],
    bias: object,
    stride: object,
    padding: object,
    dilation: object,
    transposed: bool,
    output_padding: object,
    groups: int,
    wanted: Sequence[bool],
    **_: Any,
) -> int:
    """Operations of a convolution's backward pass, from shapes: as many as forward, for each gradient that is wanted.

    torch's own formula (2.15) forgets the groups: it counts a depthwise convolution as a full one.
    """
    positions = values[2:] if transposed else gradient[2:]
    return 2 * gradient[0] * math.prod(positions) * math.prod(weight) * sum(wanted[:2])


class FlopCount:
    """Counts matrix products, convolutions and attention, forward and backward; a multiply-add is two operations.

    Operations of single elements are not counted. Works between `__enter__` and `__exit__`.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.flops: dict[str, int] = {}
        self._counter = FlopCounterMode(
            display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward}
        )
        self._phase, self._before = "", 0

    def __enter__(self) -> FlopCount:
        self._counter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.begin("")
        self._counter.__exit__(kind, error, trace)

    def begin(self, phase: str) -> None:
        """End the phase before, and begin this one; the empty name is not counted."""
        now = self._counter.get_total_flops()
        if self._phase:
            self.flops[self._phase] = self.flops.get(self._phase, 0) + now - self._before
        self._phase, self._before = phase, now
