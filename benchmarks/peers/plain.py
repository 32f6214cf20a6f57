"""Hand-written loops: the student alone as an expert trains it (the floor), and live teachers as tutorials have them.

An arm is set up when it is made; `epoch(number)` then trains on every row once and returns how many rows it saw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.networks import FULL, Sizes, build, collate, distillation_loss, inputs_of, rows_of

if TYPE_CHECKING:
    from benchmarks.workload import Workload

LEARNING_RATE = 1e-4
POOL = 50
"""Batches that are sorted by length together."""
LONGEST = 128
"""Tokens that a tutorial pads every text to."""

Order = Callable[[list[int], int, np.random.Generator], list[list[int]]]


def random_batches(lengths: list[int], batch_size: int, generator: np.random.Generator) -> list[list[int]]:
    """Cut a random order of the rows into batches; the last one may be smaller."""
    order = generator.permutation(len(lengths)).tolist()
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def bucketed_batches(lengths: list[int], batch_size: int, generator: np.random.Generator) -> list[list[int]]:
    """Sort pools of `POOL` random batches by length, cut them into batches and shuffle these."""
    order = generator.permutation(len(lengths)).tolist()
    pools = [order[start : start + POOL * batch_size] for start in range(0, len(order), POOL * batch_size)]
    batches = []
    for pool in pools:
        pool.sort(key=lengths.__getitem__)
        batches += [pool[start : start + batch_size] for start in range(0, len(pool), batch_size)]
    return [batches[place] for place in generator.permutation(len(batches))]


class Loop:
    """A training loop in plain PyTorch, with live teachers or none."""

    def __init__(
        self,
        workload: Workload,
        seed: int,
        batch_size: int,
        sizes: Sizes,
        order: Order,
        *,
        taught: bool,
        length: int | None = None,
        channels_last: bool = False,
        text_only: bool = False,
    ) -> None:
        """Build networks and optimizer; `length` pads every text to so many tokens."""
        self.rows = rows_of(workload, text_only)
        self.lengths = [len(ids) for ids in workload.ids]
        self.seed, self.batch_size, self.order, self.length = seed, batch_size, order, length
        self.student, teachers = build(sizes, seed, text_only)
        self.teachers = teachers if taught else None
        self.channels_last = channels_last and not text_only
        if self.channels_last:
            self.student.image_encoder.to(memory_format=torch.channels_last)
        self.parameters = [
            parameter
            for name, parameter in self.student.named_parameters()
            if taught or not name.startswith("to_teacher")
        ]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, fused=True)
        self.first: Tensor | None = None

    @property
    def first_loss(self) -> float:
        """Total loss of the very first step, in nats."""
        if self.first is None:
            raise RuntimeError("first_loss is read before the first epoch: call epoch(0)")
        return float(self.first)

    def epoch(self, number: int) -> int:
        """Train on every row once, in the order that `number` and the seed give; return how many rows."""
        count = 0
        for places in self.order(self.lengths, self.batch_size, np.random.default_rng((self.seed, number))):
            batch = collate([self.rows[place] for place in places], self.length)
            if self.channels_last:
                batch["images"] = batch["images"].contiguous(memory_format=torch.channels_last)
            inputs = inputs_of(batch)
            taught = None
            if self.teachers is not None:
                with torch.no_grad():
                    taught = self.teachers(**inputs)
            loss = distillation_loss(self.student(**inputs, matched=taught is not None), taught, batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            if self.first is None:
                self.first = loss.detach()
            count += len(places)
        return count


def student_alone_bucketed(
    workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL, text_only: bool = False
) -> Loop:
    """Make the floor: the student alone, batches of similar length, images channels-last."""
    return Loop(
        workload, seed, batch_size, sizes, bucketed_batches, taught=False, channels_last=True, text_only=text_only
    )


def live_random(
    workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL, text_only: bool = False
) -> Loop:
    """Make live teachers with random batches, each padded to its longest text."""
    return Loop(workload, seed, batch_size, sizes, random_batches, taught=True, text_only=text_only)


def tutorial(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL, text_only: bool = False) -> Loop:
    """Make live teachers with random batches, all padded to `LONGEST` tokens."""
    return Loop(workload, seed, batch_size, sizes, random_batches, taught=True, length=LONGEST, text_only=text_only)
