"""All that changes while a network trains, which can be written down after any step and taken up again bit by bit.

Random numbers are no part of it: each batch begins with a seed of its own. Nor are teachers, which do not change.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmkd.averaging import Averaged
from mmkd.changing import changing, learned, put_back
from mmkd.checkpoints import Saved
from mmkd.config.experiment import Train
from mmkd.diagnostics import Diagnostics
from mmkd.objective import Objective
from mmkd.sums import Sums
from mmkd.weighting.base import Weighting, order_gradients

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Best:
    """The best validation epoch so far. values: of what changes in the network (or in its average), by name."""

    epoch: int
    value: float
    values: Tensors


@dataclass
class Step:
    """What the batches of the step under way have said so far; it counts once the step is taken."""

    sums: Sums
    diagnostics: Diagnostics
    is_new: bool = True

    def add(self, objective: Objective, weights: Mapping[str, float]) -> None:
        """Take in a batch."""
        self.sums.add(objective, weights)
        self.is_new = False


class Learning:
    """The networks' changing values, the optimizer, and how far training is.

    epoch, batch: the epoch that is under way, and how many of its batches were read. step: steps taken in all.
    left_out: steps of the epoch that were not taken. stopped: no more epochs, though some are left.
    """

    def __init__(self, network: nn.Module, terms: nn.Module, weighting: Weighting, settings: Train) -> None:
        """All on their device, before the first step."""
        self.network, self.trainees = network, nn.ModuleList([network, terms, weighting])
        # One pass over each parameter, in place of one for each of the update's operations: some ten times as fast.
        groups = decay_groups(self.trainees, weighting, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
        self.averaged = Averaged(network, settings.average)
        self.epoch, self.batch, self.step, self.left_out = 0, 0, 0, 0
        self.sums, self.diagnostics = Sums(), Diagnostics()
        self.history: list[dict[str, Any]] = []
        self.best: Best | None = None
        self.stopped = False

    def begin_step(self) -> Step:
        """A new step, which no batch was read for."""
        return Step(Sums(), copy.deepcopy(self.diagnostics))

    def leave_out(self) -> None:
        """Do not take the step under way."""
        self.optimizer.zero_grad()
        self.left_out += 1

    def update(self, lr: float, under_way: Step) -> None:
        """Take the step under way, with this learning rate; the gradients are used up."""
        self.sums, self.diagnostics = Sums.together([self.sums, under_way.sums]), under_way.diagnostics
        order_gradients(learned(self.trainees).values())
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Take in an epoch's entry of the history, and keep the weights if it is the best."""
        self.history.append(entry)
        if self.best is None or entry["mean_score"] > self.best.value:
            values = {name: value.detach().cpu().clone() for name, value in changing(self.averaged.network).items()}
            self.best = Best(self.epoch, entry["mean_score"], values)
        self.epoch, self.batch, self.left_out = self.epoch + 1, 0, 0
        self.sums, self.diagnostics = Sums(), Diagnostics()

    def stale(self, patience: int | None) -> bool:
        """Whether so many epochs have passed without a better one."""
        return self.best is not None and patience is not None and self.epoch - 1 - self.best.epoch >= patience

    def take_best(self) -> Best:
        """Give the network the weights of the best epoch. There was one."""
        assert self.best is not None
        put_back(self.network, self.best.values)
        return self.best

    def common(self) -> Tensors:
        """What all processes hold alike: parameters, the optimizer's moments, the average, the best weights."""
        names = {id(value): name for name, value in self.trainees.named_parameters()}
        moments = {
            f"optimizer/{names[id(parameter)]}/{key}": value
            for parameter, own in self.optimizer.state.items()
            for key, value in own.items()
        }
        found = _under("network", learned(self.trainees)) | moments
        if self.averaged.started:
            found |= _under("average", changing(self.averaged.network))
        return found if self.best is None else found | _under("best", self.best.values)

    def own(self) -> Tensors:
        """What each process has its own of: buffers, such as the statistics of a batch norm or a memory of features."""
        return dict(self.trainees.named_buffers())

    def facts(self, sums: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The rest, as plain data. sums: what each process says of its own sums."""
        best = None if self.best is None else {"epoch": self.best.epoch, "value": self.best.value}
        position = {"epoch": self.epoch, "batch": self.batch, "left_out": self.left_out, "stopped": self.stopped}
        return {**position, "averaged": self.averaged.steps, "history": self.history, "best": best, "sums": list(sums)}

    def own_sums(self) -> dict[str, Any]:
        """What this process has added up in the epoch under way."""
        return {"sums": self.sums.plain(), "diagnostics": asdict(self.diagnostics)}

    def take_up(self, saved: Saved, process: int) -> None:
        """Go on from a checkpoint. process: the number of this one."""
        facts, parts = saved.facts, _parts(saved.tensors["common"])
        put_back(self.trainees, parts["network"] | saved.tensors[f"own-{process}"])
        self._take_moments(parts.get("optimizer", {}))
        if "average" in parts:
            self.averaged.take_up(parts["average"], facts["averaged"])
        if facts["best"] is not None:
            self.best = Best(**facts["best"], values=parts["best"])
        self.epoch, self.batch, self.step = facts["epoch"], facts["batch"], saved.step
        self.left_out, self.stopped, self.history = facts["left_out"], facts["stopped"], facts["history"]
        own = facts["sums"][process]
        self.sums, self.diagnostics = Sums.of(own["sums"]), Diagnostics(**own["diagnostics"])

    def _take_moments(self, moments: Mapping[str, Tensor]) -> None:
        parameters = dict(self.trainees.named_parameters())
        for path, value in moments.items():
            name, _, key = path.rpartition("/")
            like = parameters[name]
            # In the parameter's own order of memory, which the optimizer takes for granted.
            place = torch.empty_like(like if value.shape == like.shape else value, device=like.device)
            self.optimizer.state[like][key] = place.copy_(value)


def _under(prefix: str, values: Mapping[str, Tensor]) -> Tensors:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _parts(values: Mapping[str, Tensor]) -> dict[str, Tensors]:
    found: dict[str, Tensors] = {}
    for name, value in values.items():
        prefix, _, rest = name.partition("/")
        found.setdefault(prefix, {})[rest] = value
    return found


def decay_groups(trainees: nn.Module, weighting: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for the optimizer: matrices decay; vectors, scalars and the weighting's own do not."""
    own = {id(p) for p in weighting.parameters()}
    parameters = [p for p in trainees.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2 and id(p) not in own]
    others = [p for p in parameters if p.ndim < 2 or id(p) in own]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
