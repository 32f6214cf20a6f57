"""The training loop: one visible function for the student, and for a teacher that needs its heads."""

from __future__ import annotations

import math
import shutil
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

from mmkd.changing import learned
from mmkd.config.experiment import Train
from mmkd.config.mixing import Mixing, Size
from mmkd.culprit import Moment, Search
from mmkd.data.base import DataError
from mmkd.data.batches import load
from mmkd.data.corpus import Corpus
from mmkd.data.sampling import batches_per_epoch, training_batches
from mmkd.encoders.vocabulary import learn_all, learn_rows
from mmkd.evaluate import evaluate
from mmkd.finite import Guard, require_finite
from mmkd.keeper import Keeper
from mmkd.learning import Learning
from mmkd.lessons import lessons
from mmkd.objective import Terms
from mmkd.passes import Passes
from mmkd.processes import average_over_processes, is_read_again, share_of, told_by_all, told_by_main
from mmkd.sums import Sums
from mmkd.tasks.base import Task
from mmkd.teachers.base import Speaker
from mmkd.tracking import numbers_of
from mmkd.weighting.base import Weighting

Report = Callable[[dict[str, Any]], bool]
"""Called with each epoch's entry of the history; True stops the run. Those of before an interruption, or of before the
stage under way, come again."""

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
    keeper: Keeper | None = None,
    say: Callable[[str], None] = print,
    until: int | None = None,
) -> Trained:
    """Train the network, and keep the weights of its best validation epoch.

    corpus_of: the training rows of an epoch, counted from 0: the same rows in every epoch, or views of them.
    new_words: whether an epoch may hold other words than the first. Otherwise, only the first's learn (`vocabulary`).
    keeper: saves the training on its way, and goes on from what was saved before, with the same result.
    All randomness derives from `seed` and the number of the epoch, step and process. progress: called with steps done,
    in all. In several processes, each returns the weights; the main one's are those that were evaluated.
    watch: may look at the time, and changes nothing. say: told each step that `non_finite: skip` leaves out.
    until: epochs after which to leave off, with the state saved; whoever takes it up goes on, under other settings too.
    Raises NonFinite when a number of a step is inf or NaN, as `non_finite` says; DataError when validation has no label
    for a task; and what the keeper raises.
    """
    _require_labels(validation, players.tasks)
    network, device = players.network, accelerator.device
    for module in (network, players.terms, players.weighting):
        module.to(device)
    corpus = corpus_of(0)
    if not new_words:
        learn_rows(network, corpus.sub_tokens(players.reader))
    learning = Learning(network, players.terms, players.weighting, settings)
    parameters = list(learned(learning.trainees).values())
    shared = [value for name, value in learned(network).items() if not name.startswith("heads.")]
    per_epoch = math.ceil(batches_per_epoch(corpus.sizes(), settings.batch_size, mixing) / settings.accumulate)
    steps = per_epoch * settings.epochs
    passes = Passes(network, players.terms, accelerator, settings.mixup, settings.adversarial)
    search = Search(network, players.terms, players.weighting, players.teachers, passes.student)
    guard = Guard(search, parameters, settings, accelerator, say)
    end = settings.epochs if until is None else min(until, settings.epochs)
    if keeper is not None and keeper.take_up(learning):
        progress(learning.step, steps)
    own_stream = [accelerator.process_index] if accelerator.process_index else []
    with _writer(logs, accelerator) as writer, lessons(players.teachers, settings.live, device) as taught:
        for entry in learning.history:
            log(writer, entry)
            report(entry)
        while learning.epoch < end and not learning.stopped:
            epoch = learning.epoch
            watch("loading")
            network.train()
            corpus = corpus if epoch == 0 else corpus_of(epoch)
            batches = training_batches(corpus.words(), corpus.sizes(), settings.batch_size, mixing, seed, epoch)
            shares = [share_of(rows, accelerator) for rows in batches][learning.batch :]
            under_way = learning.begin_step()
            for number, (batch, said) in enumerate(
                taught(load(corpus, shares, settings.workers)), start=learning.batch + 1
            ):
                own_seed, done, step = mix(seed, epoch, number, *own_stream), learning.step / steps, learning.step
                torch.manual_seed(own_seed)
                with guard.over(Moment(batch, said, done, step, own_seed)):
                    watch("student")
                    student = passes.student(batch)
                    watch("losses")  # in full precision: half of it would round projections and products of features
                    objective = players.terms(student, said, batch, done, step)
                    if settings.adversarial is not None:
                        watch("student")
                    objective, fused = passes.with_worst(student, objective, said, batch, done, step)
                    if settings.diagnose_every is not None and under_way.is_new and step % settings.diagnose_every == 0:
                        watch("diagnostics")
                        under_way.diagnostics.look(objective, shared, student, said, batch, players.tasks)
                    watch("backward")
                    weights = players.weighting.backward(objective.by_task, objective.rest, shared, fused)
                    require_finite(weights, players.weighting.config.kind, step, batch.ids)
                    watch("bookkeeping")
                    under_way.add(objective, weights)
                    if not is_read_again(batches[number - 1], accelerator):
                        under_way.sums.count(corpus.count(batch.rows.numpy(force=True)), batch)
                watch("optimizer")
                learning.batch = number
                if number % settings.accumulate == 0 or number == len(batches):
                    average_gradients(parameters, (number - 1) % settings.accumulate + 1)
                    guard.mark()
                    average_over_processes(parameters, accelerator)
                    if guard.lets_through():
                        learning.update(settings.lr * warmup_cosine(step, steps, settings.warmup), under_way)
                        learning.averaged.update(learning.step / steps)
                        progress(learning.step, steps)
                    else:
                        learning.leave_out()
                    under_way = learning.begin_step()
                    if keeper is not None:
                        keeper.visit(learning)
                watch("loading")
            players.weighting.end_epoch()
            sums = Sums.together(told_by_all(learning.sums, accelerator))
            entry = {"epoch": epoch, **sums.means(), **sums.seen(), "diagnostics": learning.diagnostics.means()}
            entry["skipped_steps"] = learning.left_out
            watch("evaluation")
            if accelerator.is_main_process:
                found = evaluate(learning.averaged.network, validation, players.tasks, device)
                entry |= {
                    "mean_score": found.mean_score(),
                    "validation": {t: {m: s.value for m, s in metrics.items()} for t, metrics in found.scores.items()},
                }
                log(writer, entry)
            watch("bookkeeping")
            entry = told_by_main(entry, accelerator)
            learning.end_epoch(entry)
            learning.stopped = report(entry) or learning.stale(settings.patience)
            if keeper is not None:
                ended = learning.stopped or learning.epoch == end
                keeper.visit(learning, ended, leaves_off=ended and end < settings.epochs)
    if end == settings.epochs:
        progress(steps, steps)
    best = learning.take_best()
    learn_all(network)
    network.eval()
    return Trained(best.epoch, best.value, network.state_dict(), learning.history)


def _writer(logs: Path, accelerator: Accelerator) -> AbstractContextManager[SummaryWriter | None]:
    """A new log, in place of what an interrupted run left there."""
    if accelerator.is_main_process:
        shutil.rmtree(logs, ignore_errors=True)
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


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: a line up from 0 over the fraction `warmup`, then half a cosine down to 0."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def log(writer: SummaryWriter | None, entry: Mapping[str, Any]) -> None:
    """Write an epoch's numbers for TensorBoard."""
    if writer is None:
        return
    for tag, value in numbers_of(entry).items():
        writer.add_scalar(tag, value, entry["epoch"])
