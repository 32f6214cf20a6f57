"""One run in several processes, as `accelerate launch` starts them: each reads its share of every batch.

`train.batch_size` counts the rows of all processes together. A step's gradient is the mean over processes of what each
found on its share, as in data-parallel training everywhere: where a term has as many rows in each share, that is the
gradient of the whole batch. The processes hold equal weights throughout, so one of them evaluates and writes for all.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from mmkd.errors import MmkdError

Value = TypeVar("Value")
PATIENCE = datetime.timedelta(days=7)
"""How long one process waits for another, which may be filling a cache."""


def new_accelerator(precision: Literal["fp32", "bf16"]) -> Accelerator:
    """The device of this process, and its place among those that a launcher started.

    Raises MmkdError when there are several of which accelerate knows nothing.
    """
    # A sweep's worker opens one experiment after another, and accelerate keeps the first one's precision otherwise.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=not torch.accelerator.is_available(),  # or several processes would each take themselves for the only one
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if (world := int(os.environ.get("WORLD_SIZE", "1"))) != accelerator.num_processes:
        raise MmkdError(
            f"WORLD_SIZE says {world} processes, accelerate found {accelerator.num_processes}; expected one launcher, "
            "for example `accelerate launch -m mmkd run FILE`"
        )
    return accelerator


def share_of(rows: np.ndarray, accelerator: Accelerator) -> np.ndarray:
    """This process's rows of a batch; all of them where there are fewer than processes."""
    world = accelerator.num_processes
    return rows[accelerator.process_index :: world] if len(rows) >= world else rows


def is_read_again(rows: np.ndarray, accelerator: Accelerator) -> bool:
    """Whether this process reads rows of a batch that the main process reads too."""
    return len(rows) < accelerator.num_processes and not accelerator.is_main_process


def average_over_processes(parameters: Sequence[nn.Parameter], accelerator: Accelerator) -> None:
    """Replace every gradient by its mean over the processes; one that no process has stays None.

    A process without a gradient counts as zero: the parameter had no part in its share.
    """
    if accelerator.num_processes == 1:
        return
    held = torch.tensor([float(p.grad is not None) for p in parameters], device=accelerator.device)
    somewhere = (accelerator.reduce(held, reduction="sum") > 0).tolist()
    chosen = [parameter for parameter, some in zip(parameters, somewhere, strict=True) if some]
    for parameter in chosen:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for dtype in sorted({p.dtype for p in chosen}, key=str):
        gradients = [p.grad for p in chosen if p.dtype == dtype and p.grad is not None]
        flat = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def told_by_all(value: Value, accelerator: Accelerator) -> list[Value]:
    """Each process's value, in the order of the processes."""
    return [value] if accelerator.num_processes == 1 else gather_object([value])


def told_by_main(value: Value, accelerator: Accelerator) -> Value:
    """The main process's value, in every process."""
    return value if accelerator.num_processes == 1 else broadcast_object_list([value])[0]
