"""Ensembles: re-computed row by row from the formulas, over members that do not always speak."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from mmkd.data.corpus import Corpus, Readers
from mmkd.tasks import multilabel, regress
from mmkd.tasks.base import Task
from mmkd.teachers import ensemble
from mmkd.teachers.base import Speaker
from mmkd.types import Batch, Outputs, OutputShape
from tiny_project import TASKS, everything, listed_corpus, random_rows

MORE: dict[str, Task] = {
    "parts": multilabel.Task(multilabel.Config(), "parts", ["x", "y"]),
    "price": regress.Task(regress.Config(), "price", []),
    **TASKS,
}


class Said(Speaker):
    """Says given things about a batch."""

    def __init__(self, outputs: Outputs) -> None:
        super().__init__()
        self.name, self.shape, self.outputs = "said", OutputShape({}, {}, {}), outputs

    def forward(self, batch: Batch) -> Outputs:
        return self.outputs


@pytest.fixture
def corpus(tmp_path: Any) -> Corpus:
    return listed_corpus(random_rows(12), tmp_path)


def outputs_of(batch: Batch, tasks: Mapping[str, int], seed: int) -> Outputs:
    """Random logits of each task with K; each row is spoken about with a chance of 2 in 3."""
    generator = torch.Generator().manual_seed(seed)
    examples, words = batch.word_mask.shape
    speaks = torch.rand(examples, generator=generator) < 2 / 3
    speaks[0] = False  # nobody speaks about this one
    logits = {
        task: 3 * torch.randn((examples, words, k) if task == "ner" else (examples, k), generator=generator)
        for task, k in tasks.items()
    }
    heard = batch.word_mask & speaks[:, None] & (torch.rand(examples, words, generator=generator) < 2 / 3)
    return Outputs(logits, speaks, heard)


def joined(batch: Batch, members: Mapping[str, Outputs], tasks: tuple[str, ...], **keys: Any) -> Outputs:
    weights = keys.pop("weights", dict.fromkeys(members, 1.0))
    config = ensemble.Config(tasks=tasks, members=weights, **keys)
    own = {task: MORE[task] for task in tasks}
    teacher = ensemble.Teacher(
        config, "all", own, Readers({}, {}), {name: Said(said) for name, said in members.items()}
    )
    return teacher(batch)


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def sigmoid(row: list[float]) -> list[float]:
    return [1 / (1 + math.exp(-value)) for value in row]


def three(batch: Batch, *tasks: str) -> dict[str, Outputs]:
    sizes = {task: max(1, len(MORE[task].labels)) for task in tasks}
    return {name: outputs_of(batch, sizes, seed) for seed, name in enumerate("abc")}


def expected(said: Mapping[str, Outputs], task: str, place: tuple[int, ...], weights: Mapping[str, float], of) -> Any:
    """The weighted mean of `of(logits)` over those that speak at the place; None where none does."""
    heard = [n for n, one in said.items() if bool((one.words if len(place) == 2 else one.speaks)[place])]
    if not heard:
        return None
    total = sum(weights[name] for name in heard)
    rows = {name: of(said[name].logits[task][place].tolist()) for name in heard}
    return [sum(weights[n] / total * rows[n][k] for n in heard) for k in range(len(rows[heard[0]]))]


def places(batch: Batch, task: str) -> list[tuple[int, ...]]:
    if MORE[task].level == "example":
        return [(row,) for row in range(len(batch.ids))]
    return [tuple(each) for each in batch.word_mask.nonzero().tolist()]


WEIGHTS = {"a": 1.0, "b": 0.5, "c": 2.0}


@pytest.mark.parametrize("task", ["mood", "ner", "parts", "price"])
@pytest.mark.parametrize("over", ["probabilities", "logits"])
@pytest.mark.parametrize("combine", ["mean", "weighted"])
def test_the_mean_is_over_those_that_speak(corpus: Corpus, task: str, over: str, combine: str):
    batch = everything(corpus)
    said = three(batch, task)
    weights = WEIGHTS if combine == "weighted" else dict.fromkeys("abc", 1.0)
    found = joined(batch, said, (task,), combine=combine, over=over, weights=weights)
    form = MORE[task].config.logits
    of = list if over == "logits" or form == "value" else softmax if form == "classes" else sigmoid
    silent = 0
    for place in places(batch, task):
        wanted = expected(said, task, place, weights, of)
        speaks = found.words if len(place) == 2 else found.speaks
        assert bool(speaks[place]) == (wanted is not None)
        silent += wanted is None
        if wanted is not None:
            assert of(found.logits[task][place].tolist()) == pytest.approx(wanted, abs=1e-5)
    assert silent > 0  # the rows that nobody speaks about were met


@pytest.mark.parametrize("task", ["mood", "ner"])
def test_confidence_is_that_of_the_paper_where_there_are_labels(corpus: Corpus, task: str):
    """CA-MKD: w = (1 - exp(CE) / sum of exp(CE)) / (M - 1)."""
    batch = everything(corpus)
    said = three(batch, task)
    found = joined(batch, said, (task,), combine="confidence", weights=WEIGHTS)
    several = 0
    for place in places(batch, task):
        heard = [n for n, one in said.items() if bool((one.words if len(place) == 2 else one.speaks)[place])]
        if not heard:
            continue
        weights = WEIGHTS
        if bool(batch.has_label[task][place[0]]) and len(heard) > 1:
            label = int(batch.labels[task][place])
            odds = {n: 1 / softmax(said[n].logits[task][place].tolist())[label] for n in heard}  # exp(CE)
            weights = {n: (1 - odds[n] / sum(odds.values())) / (len(heard) - 1) for n in heard}
            assert sum(weights.values()) == pytest.approx(1)
            several += 1
        wanted = expected(said, task, place, weights, softmax)
        assert softmax(found.logits[task][place].tolist()) == pytest.approx(wanted, abs=1e-5)
    assert several > 2


def test_without_labels_confidence_is_the_weighted_mean(tmp_path: Any):
    batch = everything(listed_corpus(random_rows(12, labels=False), tmp_path))
    said = three(batch, "mood")
    confident = joined(batch, said, ("mood",), combine="confidence", weights=WEIGHTS).logits["mood"]
    weighted = joined(batch, said, ("mood",), combine="weighted", weights=WEIGHTS).logits["mood"]
    assert torch.equal(confident, weighted)


def test_a_member_without_the_task_has_no_part_in_it(corpus: Corpus):
    batch = everything(corpus)
    text, image = outputs_of(batch, {"mood": 3, "ner": 3}, 0), outputs_of(batch, {"mood": 3}, 1)
    found = joined(batch, {"a": text, "b": image}, ("mood", "ner"))
    rows = text.words
    assert torch.allclose(found.logits["ner"][rows].softmax(-1), text.logits["ner"][rows].softmax(-1), atol=1e-6)


def test_one_member_says_what_it_says_alone(corpus: Corpus):
    batch = everything(corpus)
    alone = outputs_of(batch, {"mood": 3}, 0)
    for combine in ("mean", "weighted", "confidence"):
        logits: Tensor = joined(batch, {"a": alone}, ("mood",), combine=combine).logits["mood"][alone.speaks]
        assert torch.allclose(logits.softmax(-1), alone.logits["mood"][alone.speaks].softmax(-1), atol=1e-6)


def test_sure_members_leave_no_infinity(corpus: Corpus):
    """A probability of exactly 0 in float32 has a finite logarithm here."""
    batch = everything(corpus)
    sure = outputs_of(batch, {"mood": 3}, 0)
    sure.logits["mood"].mul_(1e3)
    for combine in ("mean", "confidence"):
        assert joined(batch, {"a": sure, "b": sure}, ("mood",), combine=combine).logits["mood"].isfinite().all()


def test_mean_with_unequal_weights_is_refused():
    with pytest.raises(ValueError, match="expected equal weights, or `combine: weighted`"):
        ensemble.Config(tasks=["mood"], members=WEIGHTS, combine="mean")


def test_confidence_in_values_is_refused(corpus: Corpus):
    batch = everything(corpus)
    with pytest.raises(ValueError, match="`confidence` needs probabilities"):
        joined(batch, three(batch, "price"), ("price",), combine="confidence", weights=WEIGHTS)
