"""The training loop: one visible function for the student, and for a teacher that needs its heads."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from mmkd.averaging import Averaged
from mmkd.config.experiment import Train
from mmkd.config.mixing import Mixing, Size
from mmkd.culprit import Moment, Search
from mmkd.data.base import DataError
from mmkd.data.batches import load
from mmkd.data.corpus import Corpus
from mmkd.data.sampling import batches_per_epoch, training_batches
from mmkd.diagnostics import Diagnostics
from mmkd.encoders.vocabulary import learn_all, learn_rows
from mmkd.evaluate import evaluate
from mmkd.finite import Guard, require_finite
from mmkd.lessons import lessons
from mmkd.objective import Objective, Terms
from mmkd.processes import average_over_processes, is_read_again, share_of, told_by_all, told_by_main
from mmkd.tasks.base import Task
from mmkd.teachers.base import Speaker
from mmkd.types import Batch
from mmkd.weighting.base import Weighting

Report = Callable[[dict[str, Any]], bool]
"""Called with each epoch's entry of the history; True stops the run."""

Watch = Callable[[str], None]
"""Told each phase of the loop as it begins: loading, student, losses, diagnostics, backward, optimizer, evaluation,
bookkeeping."""


BY_SIZE = Size()
"""Every row once per epoch."""


@dataclass(frozen=True)
class Trained:
    """The epoch that validation chose. weights: the network's, by name. history: one entry per epoch."""

    epoch: int
    value: float
    weights: dict[str, Tensor]
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Players:
    """Who takes part in training: the network that learns, those who teach it, and how terms are balanced.

    reader: the name under which the network's inputs stand in a batch.
    """

    network: nn.Module
    teachers: Mapping[str, Speaker]
    terms: Terms
    weighting: Weighting
    tasks: Mapping[str, Task]
    reader: str = "student"


def train(
    players: Players,
    corpus_of: Callable[[int], Corpus],
    validation: Corpus,
    settings: Train,
    seed: int,
    accelerator: Accelerator,
    logs: Path,
    mixing: Mixing = BY_SIZE,
    report: Report = lambda entry: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    watch: Watch = lambda phase: None,
    new_words: bool = False,
    say: Callable[[str], None] = print,
) -> Trained:
    """Train the network, and keep the weights of its best validation epoch.

    corpus_of: the training rows of an epoch, counted from 0: the same rows in every epoch, or views of them.
    new_words: whether an epoch may hold other words than the first. Otherwise, only the first's learn (`vocabulary`).
    All randomness derives from `seed` and the number of the epoch, step and process. progress: called with steps done,
    in all. In several processes, each returns the weights; the main one's are those that were evaluated.
    watch: may look at the time, and changes nothing. say: told each step that `non_finite: skip` leaves out.
    Raises NonFinite when a number of a step is inf or NaN, as `non_finite` says; DataError when validation has no label
    for a task.
    """
    _require_labels(validation, players.tasks)
    network, device = players.network, accelerator.device
    trainees = nn.ModuleList([network, players.terms, players.weighting]).to(device)
    corpus = corpus_of(0)
    if not new_words:
        learn_rows(network, corpus.sub_tokens(players.reader))
    parameters = [p for p in trainees.parameters() if p.requires_grad]
    shared = [p for name, p in network.named_parameters() if not name.startswith("heads.") and p.requires_grad]
    per_epoch = math.ceil(batches_per_epoch(corpus.sizes(), settings.batch_size, mixing) / settings.accumulate)
    # One pass over each parameter, in place of one for each of the update's operations: some ten times as fast.
    groups = decay_groups(trainees, players.weighting, settings.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
    schedule = warmup_cosine(optimizer, per_epoch * settings.epochs, settings.warmup)
    averaged = Averaged(network, settings.average)
    search = Search(network, players.terms, players.weighting, players.teachers, accelerator.autocast)
    guard = Guard(search, parameters, settings, accelerator, say)
    best: Trained | None = None
    history: list[dict[str, Any]] = []
    step, looked = 0, -1
    own_stream = [accelerator.process_index] if accelerator.process_index else []
    with _writer(logs, accelerator) as writer, lessons(players.teachers, settings.live, device) as taught:
        for epoch in range(settings.epochs):
            watch("loading")
            network.train()
            sums, counted, diagnostics, looks = Sums(), Sums(), Diagnostics(), Diagnostics()
            guard.new_epoch()
            corpus = corpus if epoch == 0 else corpus_of(epoch)
            batches = training_batches(corpus.words(), corpus.sizes(), settings.batch_size, mixing, seed, epoch)
            shares = [share_of(rows, accelerator) for rows in batches]
            for number, (batch, said) in enumerate(taught(load(corpus, shares, settings.workers)), start=1):
                own_seed = mix(seed, epoch, number, *own_stream)
                torch.manual_seed(own_seed)
                done = step / (per_epoch * settings.epochs)
                with guard.over(Moment(batch, said, done, step, own_seed)):
                    watch("student")
                    with accelerator.autocast():
                        student = network(batch)
                    watch("losses")  # in full precision: half of it would round projections and products of features
                    objective = players.terms(student, said, batch, done, step)
                    if settings.diagnose_every is not None and looked != step and step % settings.diagnose_every == 0:
                        watch("diagnostics")
                        looks = copy.deepcopy(diagnostics)
                        looks.look(objective, shared, student, said, batch, players.tasks)
                        looked = step
                    watch("backward")
                    representation = [student.fused] if student.fused is not None else []
                    weights = players.weighting.backward(objective.by_task, objective.rest, shared, representation)
                    require_finite(weights, players.weighting.config.kind, step, batch.ids)
                    watch("bookkeeping")
                    counted.add(objective, weights)
                    if not is_read_again(batches[number - 1], accelerator):
                        counted.count(corpus.count(batch.rows.numpy(force=True)), batch)
                watch("optimizer")
                if number % settings.accumulate == 0 or number == len(batches):
                    average_gradients(parameters, (number - 1) % settings.accumulate + 1)
                    guard.mark()
                    average_over_processes(parameters, accelerator)
                    if guard.lets_through():
                        optimizer.step()
                        schedule.step()
                        step += 1
                        averaged.update(step / (per_epoch * settings.epochs))
                        progress(step, per_epoch * settings.epochs)
                        sums, diagnostics = Sums.together([sums, counted]), looks
                    else:
                        looked = -1
                    optimizer.zero_grad()
                    counted, looks = Sums(), diagnostics
                watch("loading")
            players.weighting.end_epoch()
            sums = Sums.together(told_by_all(sums, accelerator))
            entry: dict[str, Any] = {"epoch": epoch, **sums.means(), **sums.seen(), "diagnostics": diagnostics.means()}
            entry["skipped_steps"] = len(guard.left_out)
            watch("evaluation")
            if accelerator.is_main_process:
                found = evaluate(averaged.network, validation, players.tasks, device)
                entry |= {
                    "mean_score": found.mean_score(),
                    "validation": {t: {m: s.value for m, s in metrics.items()} for t, metrics in found.scores.items()},
                }
                log(writer, entry)
            watch("bookkeeping")
            entry = told_by_main(entry, accelerator)
            history.append(entry)
            if best is None or entry["mean_score"] > best.value:
                weights_now = {
                    name: value.detach().cpu().clone() for name, value in averaged.network.state_dict().items()
                }
                best = Trained(epoch, entry["mean_score"], weights_now, history)
            stale = settings.patience is not None and epoch - best.epoch >= settings.patience
            if report(entry) or stale:
                break
    assert best is not None  # epochs > 0
    progress(per_epoch * settings.epochs, per_epoch * settings.epochs)
    learn_all(network)
    network.load_state_dict(best.weights)
    network.eval()
    return best


def _writer(logs: Path, accelerator: Accelerator) -> AbstractContextManager[SummaryWriter | None]:
    return SummaryWriter(str(logs)) if accelerator.is_main_process else nullcontext()


def _require_labels(validation: Corpus, tasks: Iterable[str]) -> None:
    for task in tasks:
        if not validation.labelled(task):
            raise DataError(
                None,
                None,
                f"tasks.{task}",
                "no row of the validation splits is labelled for it; expected some to select by",
            )


def average_gradients(parameters: Sequence[nn.Parameter], batches: int) -> None:
    """From the sum over batches to their mean: the last step of an epoch may have fewer batches than the others.

    Not the losses are divided but the gradients, which hold a weighting's own terms too.
    """
    if batches > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= batches


def mix(*numbers: int) -> int:
    """A seed that depends on every number, and on nothing else."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def decay_groups(trainees: nn.Module, weighting: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for the optimizer: matrices decay; vectors, scalars and the weighting's own do not."""
    own = {id(p) for p in weighting.parameters()}
    parameters = [p for p in trainees.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2 and id(p) not in own]
    others = [p for p in parameters if p.ndim < 2 or id(p) in own]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def warmup_cosine(optimizer: torch.optim.Optimizer, steps: int, warmup: float) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate: a line up from 0 over the fraction `warmup` of the steps, then half a cosine down to 0."""
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class Sums:
    """Adds up an epoch's term values and weights, for their means."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._sums: dict[str, dict[str, float]] = {"terms": {}, "weights": {}}
        self._counts: dict[str, dict[str, int]] = {"terms": {}, "weights": {}}
        self._seen: dict[str, dict[str, int]] = {"rows": {}, "labelled": {}}

    def add(self, objective: Objective, weights: Mapping[str, float]) -> None:
        """Add a batch."""
        for sort, values in (("terms", objective.values), ("weights", weights)):
            for name, value in values.items():
                self._sums[sort][name] = self._sums[sort].get(name, 0.0) + value
                self._counts[sort][name] = self._counts[sort].get(name, 0) + 1

    def count(self, rows: Mapping[str, int], batch: Batch) -> None:
        """Add the rows of a batch by data set, and by task those that have its label."""
        labelled = {task: int(has.sum()) for task, has in batch.has_label.items()}
        for sort, values in (("rows", rows), ("labelled", labelled)):
            for name, number in values.items():
                self._seen[sort][name] = self._seen[sort].get(name, 0) + number

    def seen(self) -> dict[str, dict[str, int]]:
        """Rows that were read: `rows` by data set, `labelled` by task."""
        return self._seen

    @classmethod
    def together(cls, parts: Sequence[Sums]) -> Sums:
        """What several processes have added up."""
        found = cls()
        for part in parts:
            for kept in ("_sums", "_counts", "_seen"):
                for sort, numbers in getattr(part, kept).items():
                    total = getattr(found, kept)[sort]
                    total |= {name: total.get(name, 0) + number for name, number in numbers.items()}
        return found

    def means(self) -> dict[str, dict[str, float]]:
        """Mean over the batches in which a name occurred: `terms` by term, `weights` by task."""
        return {
            sort: {name: total / self._counts[sort][name] for name, total in values.items()}
            for sort, values in self._sums.items()
        }


def log(writer: SummaryWriter | None, entry: Mapping[str, Any]) -> None:
    """Write an epoch's numbers for TensorBoard."""
    if writer is None:
        return
    epoch = entry["epoch"]
    writer.add_scalar("validation/mean_score", entry["mean_score"], epoch)
    for task, metrics in entry["validation"].items():
        for metric, value in metrics.items():
            writer.add_scalar(f"validation/{task}.{metric}", value, epoch)
    for sort, numbers in {"terms": entry["terms"], "weights": entry["weights"], **entry["diagnostics"]}.items():
        for name, value in numbers.items():
            writer.add_scalar(f"{sort}/{name}", value, epoch)
