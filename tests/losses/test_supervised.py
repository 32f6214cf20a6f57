"""The supervised term against a loop over labelled rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmkd.losses import supervised
from mmkd.tasks import ordinal
from mmkd.types import rows_of

ROWS = {"sentiment": [(0,), (2,), (3,), (4,)], "risk": [(0,), (1,), (3,), (5,)]}
ROWS["ner"] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (3, 0), (3, 1), (3, 2), (3, 3), (5, 0)]
"""Labelled, and the student speaks: example 6 has a sentiment label and no modality; word 3 of example 0 was cut."""


@pytest.mark.parametrize("task", list(ROWS))
def test_equals_the_loop(task: str, scene: Callable) -> None:
    scene = scene()
    total = 0.0
    for row in ROWS[task]:
        logits, label = scene.student.logits[task][row].tolist(), int(scene.batch.labels[task][row])
        total -= math.log(math.exp(logits[label]) / sum(math.exp(value) for value in logits))
    found = scene.value(supervised.Loss(supervised.Config(task=task), scene.setting))
    assert found.item() == pytest.approx(total / len(ROWS[task]), rel=1e-10)


def test_gradient_is_probability_less_label(scene: Callable) -> None:
    """(softmax - one-hot) / rows."""
    scene = scene()
    gradient = scene.gradients(supervised.Loss(supervised.Config(task="risk"), scene.setting))["student.risk"]
    for (row,) in ROWS["risk"]:
        expected = scene.student.logits["risk"][row].detach().softmax(-1)
        expected[scene.batch.labels["risk"][row]] -= 1
        assert gradient[row].tolist() == pytest.approx((expected / 4).tolist(), rel=1e-10)


def test_it_stands_in_its_tasks_group() -> None:
    assert supervised.Config(task="risk").group == "risk"


def test_control_unlabelled_rows_counted(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    """Their label is -1, which the cross-entropy refuses."""
    monkeypatch.setattr(ordinal.Task, "labelled_rows", lambda task, batch: torch.ones_like(batch.has_text))
    with pytest.raises(IndexError, match="-1 is out of bounds"):
        test_equals_the_loop("risk", scene)


def test_control_rows_where_the_student_is_silent(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(supervised, "rows_of", lambda level, batch, student: rows_of(level, batch))
    with pytest.raises(AssertionError):
        test_equals_the_loop("sentiment", scene)
