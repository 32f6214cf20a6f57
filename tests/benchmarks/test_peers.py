"""The peer arms of the benchmark train on every row, with the loss that the benchmark names."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.peers import hf_trainer, plain, textbrewer, torchdistill
from benchmarks.peers.networks import Sizes, build, collate, distillation_loss, inputs_of, rows_of
from benchmarks.workload import Workload

SMALL = Sizes(
    vocabulary=200,
    teacher_layers=1,
    teacher_width=16,
    teacher_heads=2,
    teacher_inner=32,
    image_teacher="test_vit",
    student_layers=1,
    student_width=8,
    student_heads=2,
    student_inner=16,
    image_student="test_efficientnet",
)
ROWS = 20


@pytest.fixture(scope="module")
def workload() -> Workload:
    generator = np.random.default_rng(3)
    lengths = generator.integers(4, 30, ROWS)
    ids = [np.concatenate([[101], generator.integers(103, 200, length - 2), [102]]) for length in lengths]
    ner = [np.concatenate([[-100], generator.integers(0, 9, length - 2), [-100]]) for length in lengths]
    images = generator.integers(0, 256, (ROWS, 3, 96, 96), np.uint8)
    return Workload(ids, images, generator.integers(0, 3, ROWS), generator.integers(0, 4, ROWS), ner)


def naive_loss(student: Any, taught: Any, batch: dict[str, torch.Tensor]) -> float:
    """The loss as its definition reads, row by row and word by word."""

    def cross_entropy(logits: torch.Tensor, label: int) -> float:
        return float(-torch.log_softmax(logits, -1)[label])

    def divergence(mine: torch.Tensor, theirs: torch.Tensor) -> float:
        p, q = torch.softmax(theirs / 2, -1).tolist(), torch.softmax(mine / 2, -1).tolist()
        return 4 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    rows = range(len(batch["sentiment"]))
    total = 0.0
    for task in ("sentiment", "risk"):
        mine = getattr(student, task)
        total += np.mean([cross_entropy(mine[row], int(batch[task][row])) for row in rows])
        teachers = [taught.text] if taught.image is None else [taught.text, taught.image]
        for teacher in teachers:
            total += np.mean([divergence(mine[row], getattr(teacher, task)[row]) for row in rows])
    words = [(row, word) for row in rows for word in range(int(batch["attention_mask"][row].sum()))]
    tagged = [(row, word) for row, word in words if batch["ner"][row, word] != -100]
    total += np.mean([cross_entropy(student.ner[place], int(batch["ner"][place])) for place in tagged])
    total += np.mean([divergence(student.ner[place], taught.text.ner[place]) for place in words])
    total += np.mean([float((student.hidden[place] - taught.text.hidden[place]).pow(2).mean()) for place in words])
    if taught.image is not None:
        total += float((student.pooled - taught.image.pooled).pow(2).mean())
    return float(total)


@pytest.mark.parametrize("text_only", [False, True])
@pytest.mark.parametrize("length", [None, 40])
def test_the_loss_is_its_definition_whatever_the_padding(
    workload: Workload, text_only: bool, length: int | None
) -> None:
    student, teachers = build(SMALL, 5, text_only)
    student.eval()
    batch = collate(rows_of(workload, text_only)[:5], length)
    with torch.no_grad():
        out, taught = student(**inputs_of(batch)), teachers(**inputs_of(batch))
        loss = float(distillation_loss(out, taught, batch))
    assert loss == pytest.approx(naive_loss(out, taught, batch), rel=1e-5)
    wrong = batch | {"sentiment": (batch["sentiment"] + 1) % 3}
    assert loss != pytest.approx(naive_loss(out, taught, wrong), rel=1e-5)


def test_the_shapes_of_the_benchmark() -> None:
    with torch.device("meta"):
        student, teachers = build(Sizes(), 0)
    assert student.to_teacher_words.out_features == 768
    assert (student.to_teacher_image.in_features, student.to_teacher_image.out_features) == (1024, 384)
    assert sum(parameter.numel() for parameter in student.parameters()) == pytest.approx(16.8e6, rel=0.03)
    assert teachers.text.encoder.config.num_hidden_layers == 12
    assert not any(parameter.requires_grad for parameter in teachers.parameters())


def test_buckets_hold_each_row_once_and_pad_less() -> None:
    lengths = np.random.default_rng(0).integers(4, 128, 500).tolist()

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[place] for place in batch) for batch in batches)

    buckets = plain.bucketed_batches(lengths, 8, np.random.default_rng(1))
    shuffled = plain.random_batches(lengths, 8, np.random.default_rng(1))
    assert sorted(chain(*buckets)) == sorted(chain(*shuffled)) == list(range(500))
    assert padded(buckets) < 1.2 * sum(lengths) < padded(shuffled)


PLAIN = {
    "student alone": plain.student_alone_bucketed,
    "live random": plain.live_random,
    "tutorial": plain.tutorial,
    "trainer grouped": hf_trainer.grouped,
    "trainer default": hf_trainer.default,
}
BOXES = {"box live": torchdistill.live, "box live padded": torchdistill.live_padded, "box cached": torchdistill.cached}
BREWERS = {"brewer live": textbrewer.live, "brewer cached": textbrewer.cached}
ARMS: dict[str, Callable[..., Any]] = {**PLAIN, **BOXES, **BREWERS}
by_name = pytest.mark.parametrize("name", ARMS)
importing = pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")


def made(workload: Workload, name: str) -> Any:
    """An arm of small shape; skips where its library is not installed."""
    if name in BOXES:
        pytest.importorskip("torchdistill")
    if name in BREWERS:
        pytest.importorskip("textbrewer")
    return ARMS[name](workload, 7, batch_size=8, sizes=SMALL)


def teacher_entropy(batch: dict[str, torch.Tensor], taught: Any) -> float:
    """Entropy of the softened text teacher, in nats: mean of rows for sentiment and risk, of words for entities."""

    def entropy(logits: torch.Tensor) -> float:
        chances = torch.softmax(logits / 2, -1)
        return float(-(chances * chances.log()).sum(-1).mean())

    words = taught.ner[batch["attention_mask"].bool()]
    return entropy(taught.sentiment) + entropy(taught.risk) + entropy(words)


@importing
@by_name
def test_an_epoch_trains_on_every_row_and_moves_only_the_student(workload: Workload, name: str) -> None:
    arm = made(workload, name)
    fresh, teachers = build(SMALL, 7, text_only=name in BREWERS)
    seen: list[bytes] = []

    def note(module: torch.nn.Module, args: tuple[()], kwargs: dict[str, torch.Tensor]) -> None:
        for row, mask in zip(kwargs["input_ids"], kwargs["attention_mask"], strict=True):
            seen.append(row[mask.bool()].numpy().tobytes())

    arm.student.register_forward_pre_hook(note, with_kwargs=True)
    with pytest.raises(RuntimeError, match="epoch"):
        _ = arm.first_loss
    assert arm.epoch(0) == ROWS
    first = arm.first_loss
    assert arm.epoch(1) == ROWS
    assert arm.first_loss == first
    every = sorted(ids.tobytes() for ids in workload.ids)
    assert sorted(seen[:ROWS]) == sorted(seen[ROWS:]) == every
    assert seen[:ROWS] != seen[ROWS:], "both epochs had the same order"
    assert not torch.equal(arm.student.ner.weight, fresh.ner.weight)
    if arm.teachers is not None:
        assert all(map(torch.equal, arm.teachers.state_dict().values(), teachers.state_dict().values()))


@importing
@by_name
def test_the_first_loss_is_that_of_the_plain_networks(workload: Workload, name: str) -> None:
    arm = made(workload, name)
    seen: list[torch.Tensor] = []

    def note(module: torch.nn.Module, args: tuple[()], kwargs: dict[str, torch.Tensor]) -> None:
        seen.append(kwargs["input_ids"].clone())
        torch.manual_seed(11)  # the same dropout here and below

    arm.student.register_forward_pre_hook(note, with_kwargs=True)
    arm.epoch(0)
    text_only = name in BREWERS
    known = {ids.tobytes(): row for row, ids in enumerate(workload.ids)}
    places = [known[ids[ids != 0].numpy().tobytes()] for ids in seen[0]]
    rows = rows_of(workload, text_only)
    batch = collate([rows[place] for place in places], seen[0].shape[1])
    student, teachers = build(SMALL, 7, text_only)
    torch.manual_seed(11)
    with torch.no_grad():
        out = student(**inputs_of(batch))
        taught = None if arm.teachers is None else teachers(**inputs_of(batch))
        expected = float(distillation_loss(out, taught, batch))
        if text_only:
            expected += 4 * teacher_entropy(batch, taught.text)
    assert arm.first_loss == pytest.approx(expected, rel=1e-5)


@importing
@pytest.mark.parametrize(
    ("name", "runs"), [("box live", 3), ("box cached", 0), ("brewer live", 3), ("brewer cached", 0)]
)
def test_a_cached_arm_asks_its_teachers_once(workload: Workload, name: str, runs: int) -> None:
    arm = made(workload, name)
    asked: list[int] = []
    arm.teachers.text.register_forward_pre_hook(lambda *_: asked.append(1))
    arm.epoch(0)
    assert len(asked) == 3
    arm.epoch(1)
    assert len(asked) == 3 + runs
