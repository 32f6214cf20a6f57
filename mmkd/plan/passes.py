"""A few forward passes of a frozen network over a corpus, in the order in which all of it would be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mmkd.data.batches import load, reading_rows, to_device
from mmkd.data.corpus import Corpus
from mmkd.types import Batch, Outputs
from mmkd.watch.flops import FlopCount

BATCH = 64
"""Rows of a batch when outputs are cached or scored."""
TRIED = 6
"""Batches, spread evenly over the lengths of the texts."""


@dataclass(frozen=True)
class Passes:
    """seconds: of a row, with loading; None when not timed. flops: of a row. outputs: of the middle batch."""

    seconds: float | None
    flops: float
    outputs: Outputs


@torch.no_grad()
def flops_of(network: nn.Module, corpus: Corpus, device: torch.device) -> float:
    """Operations of a forward pass over the batch of middle length, per row; the network is left in evaluation mode.

    What was compiled runs as it was written: operations inside compiled code are not seen.
    """
    network.eval()
    order = reading_rows(corpus.words(), BATCH)
    with torch.compiler.set_stance("force_eager"):
        return _counted(network, to_device(corpus.batch(order[len(order) // 2]), device))[0]


def _counted(network: nn.Module, batch: Batch) -> tuple[float, Outputs]:
    """(operations of a row, outputs)."""
    with FlopCount() as count:
        count.begin("pass")
        outputs: Outputs = network(batch)
        count.begin("")
    return count.flops["pass"] / len(batch.ids), outputs


@torch.no_grad()
def try_passes(
    network: nn.Module,
    corpus: Corpus,
    device: torch.device,
    timed: bool,
    progress: Callable[[int, int], None],
    keep: Callable[[Outputs], object] = lambda outputs: None,
) -> Passes:
    """Run the network over a few batches, in evaluation mode, which it is left in.

    keep: what else is done with each batch's outputs, in the time that is measured.
    """
    network.eval()
    order = reading_rows(corpus.words(), BATCH)
    middles = (np.arange(TRIED) + 0.5) / TRIED * len(order)
    chosen = [order[i] for i in np.unique(middles.astype(int))]
    middle = to_device(corpus.batch(chosen[len(chosen) // 2]), device)
    flops, outputs = _counted(network, middle)  # warms up, too
    if not timed:
        return Passes(None, flops, outputs)
    started = time.perf_counter()
    for done, batch in enumerate(load(corpus, chosen), start=1):
        keep(network(to_device(batch, device)))
        progress(done, len(chosen))
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    rows = sum(len(rows) for rows in chosen)
    return Passes((time.perf_counter() - started) / rows, flops, outputs)
