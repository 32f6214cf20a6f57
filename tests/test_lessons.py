"""Lessons: the same words from a process of its own, ahead of the student, and nothing left behind."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import mmkd.lessons as subject
from lab import failing
from mmkd.config.live import Live
from mmkd.data.batches import load
from mmkd.data.corpus import Corpus, Readers
from mmkd.lessons import Ahead, LiveTeacherError, lessons
from mmkd.teachers import hf_text
from mmkd.teachers.base import Speaker, Teacher
from mmkd.types import Batch, Outputs
from tiny_project import TASKS, TEXT, listed_corpus, random_rows

CPU = torch.device("cpu")
OWN_PROCESS = Live(process=True)


def corpus_of(folder: Path) -> Corpus:
    return listed_corpus(random_rows(20), folder, "bert")


def teacher_of(corpus: Corpus) -> Teacher:
    torch.manual_seed(0)
    config = hf_text.Config(**{**TEXT, "tasks": ["mood", "ner"], "layers": [0]})
    readers = Readers({"bert": corpus.readers.text["bert"]}, {})
    teacher = hf_text.Teacher(config, "bert", {name: TASKS[name] for name in config.tasks}, readers)
    teacher.freeze()
    return teacher


def rows_of(corpus: Corpus) -> list[np.ndarray]:
    return [np.arange(start, min(start + 3, len(corpus))) for start in range(0, len(corpus), 3)]


def said_by(outputs: Outputs) -> list[Tensor]:
    hidden = outputs.hidden["text"][0]
    return [
        *outputs.logits.values(),
        outputs.speaks,
        outputs.words,
        *outputs.pooled.values(),
        hidden.values,
        hidden.mask,
    ]


def lessons_of(teacher: Teacher, corpus: Corpus) -> Iterator[tuple[Batch, dict[str, Outputs]]]:
    with lessons({"bert": teacher}, Live(), CPU) as taught:
        yield from taught(load(corpus, rows_of(corpus)))


def test_a_process_of_its_own_says_the_same_bit_by_bit_ahead_of_the_student_in_every_epoch(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    teacher, given = teacher_of(corpus), []
    list(lessons_of(teacher, corpus))  # a network that was used holds hooks, which cannot be sent to a process

    def batches() -> Iterator[Batch]:
        for batch in load(corpus, rows_of(corpus)):
            given.append(batch.ids)
            yield batch

    with lessons({"bert": teacher}, Live(process=True, ahead=3), CPU) as taught:
        for _ in range(2):
            given.clear()
            for number, (batch, said) in enumerate(taught(batches()), start=1):
                assert batch.ids == corpus.batch(rows_of(corpus)[number - 1]).ids
                assert len(given) == min(number + 3, len(rows_of(corpus)))
                one, other = said_by(said["bert"]), said_by(teacher(batch))
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
            assert number == len(rows_of(corpus))


class Remembers(Speaker):
    """No network: says the rows that it was asked about."""

    def forward(self, batch: Batch) -> Outputs:
        return Outputs({"row": batch.rows}, batch.has_text, batch.word_mask)


def test_what_is_no_network_is_asked_here(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    with lessons({"bert": teacher_of(corpus), "file": Remembers()}, OWN_PROCESS, CPU) as taught:
        for batch, said in taught(load(corpus, rows_of(corpus))):
            assert set(said) == {"bert", "file"}
            assert torch.equal(said["file"].logits["row"], batch.rows)


def test_what_goes_wrong_there_is_said_here_and_the_process_ends(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    teacher = failing.Teacher(failing.Config(tasks=()), "failing", {}, Readers({}, {}))
    with (
        pytest.raises(LiveTeacherError, match=r"(?s)failed in its own process.*no more words"),
        lessons({"failing": teacher}, OWN_PROCESS, CPU) as taught,
    ):
        assert isinstance(taught, Ahead)
        process = taught._process
        list(taught(load(corpus, rows_of(corpus))))
    assert not process.is_alive()


def test_a_process_that_was_killed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subject, "POLL", 0.1)
    corpus = corpus_of(tmp_path)
    with lessons({"bert": teacher_of(corpus)}, OWN_PROCESS, CPU) as taught:
        assert isinstance(taught, Ahead)
        following = taught(load(corpus, rows_of(corpus)))
        next(following)
        os.kill(taught._process.pid or 0, signal.SIGKILL)
        with pytest.raises(LiveTeacherError, match="exit code -9"):
            list(following)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([FileNotFoundError(2, "no such file"), {}, "no more words"], "failed in its own process:\nno more words"),
        ([ConnectionResetError(104, "reset"), queue.Empty()], "was lost on its way: .*reset"),
    ],
)
def test_an_answer_whose_process_ended_first_is_not_taken_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[object], message: str
):
    """Tensors are fetched from the process that made them, which may have failed at a later batch and ended."""
    corpus, waiting = corpus_of(tmp_path), iter(answers)

    def get(timeout: float) -> object:
        said = next(waiting)
        if isinstance(said, Exception):
            raise said
        return said

    with lessons({"bert": teacher_of(corpus)}, OWN_PROCESS, CPU) as taught:
        assert isinstance(taught, Ahead)
        monkeypatch.setattr(taught._answers, "get", get)
        with pytest.raises(LiveTeacherError, match=f"(?s){message}"):
            list(taught(load(corpus, rows_of(corpus))))


def test_teachers_are_asked_without_gradient(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    teacher = teacher_of(corpus)
    teacher.requires_grad_(True)
    for _, said in lessons_of(teacher, corpus):
        assert not any(values.requires_grad for values in said_by(said["bert"]))
    assert teacher(corpus.batch(rows_of(corpus)[0])).logits["mood"].requires_grad  # the control
