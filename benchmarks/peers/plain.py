"""Hand-written loops: the student alone as an expert writes it, and the usual ways with live teachers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks import workload as work
from benchmarks.peers.networks import Student, batch_of, distillation, frozen_teachers, supervised
from benchmarks.workload import Workload

POOL = 50
"""Batches that are sorted by length together."""


class Plain:
    """One loop over shuffled batches."""

    def __init__(self, workload: Workload, seed: int, teachers: list[nn.Module], buckets: bool, length: int | None):
        """buckets: texts of similar length together. length: sub-tokens that every text is padded to."""
        torch.manual_seed(seed)
        self._workload, self._teachers, self._buckets, self._length = workload, teachers, buckets, length
        self._student = Student().train()
        self._optimizer = torch.optim.AdamW(self._student.parameters(), lr=5e-4, fused=True)

    def epoch(self, number: int, batch_size: int = 32) -> int:
        """Every row once; returns their number."""
        for rows in self._batches(number, batch_size):
            batch = batch_of(self._workload, rows, self._length)
            student = self._student(batch)
            loss = supervised(student, batch)
            if self._teachers:
                with torch.no_grad():
                    said = [teacher(batch) for teacher in self._teachers]
                loss = loss + distillation(self._student, student, said, batch)
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._student.parameters(), 1.0)
            self._optimizer.step()
        return len(self._workload)

    def _batches(self, epoch: int, size: int) -> list[np.ndarray]:
        generator = np.random.default_rng([0, epoch])
        order = generator.permutation(len(self._workload))
        if self._buckets:
            lengths = np.array([len(ids) for ids in self._workload.ids])
            pools = [order[start : start + size * POOL] for start in range(0, len(order), size * POOL)]
            order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        return [batches[n] for n in generator.permutation(len(batches))]


def student_alone(workload: Workload, seed: int) -> Plain:
    """Length buckets, dynamic padding, channels-last images, fused optimizer: the least that the work costs."""
    return Plain(workload, seed, [], True, None)


def live_random(workload: Workload, seed: int) -> Plain:
    """Live teachers, batches at random, padded to their longest text."""
    return Plain(workload, seed, frozen_teachers(), False, None)


def tutorial(workload: Workload, seed: int) -> Plain:
    """Live teachers, batches at random, every text padded to the maximum: as tutorials show it."""
    return Plain(workload, seed, frozen_teachers(), False, work.LONGEST)
