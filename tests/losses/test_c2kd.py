"""Rank correlation, what learns from what, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy.stats import kendalltau

from mmkd.losses import c2kd

KEYS = {"task": "risk", "teacher": "vit", "modality": "image", "to": "text"}


def build(scene: Callable, **keys: object) -> c2kd.Loss:
    torch.manual_seed(3)
    return c2kd.Loss(c2kd.Config(**{**KEYS, **keys}), scene().setting).double()


def test_rank_correlation_is_kendalls() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 20, 5, generator=generator, dtype=torch.float64)
    expected = [kendalltau(a, b).statistic for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    assert c2kd.rank_correlation(one, other).tolist() == pytest.approx(expected)


def test_ranks_that_are_equal_count_nothing() -> None:
    one = torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0]])
    assert c2kd.rank_correlation(one, one[:1].expand(3, 3)).tolist() == [1.0, 0.0, -1.0]


def test_what_the_student_learns_within_does_not_depend_on_the_selection(scene: Callable) -> None:
    """Rows that are not alike still teach the student's own logits by its proxy."""
    gradients = [scene().gradients(build(scene, threshold=threshold)) for threshold in (-1.0, 0.99)]
    torch.testing.assert_close(gradients[0]["student.risk"], gradients[1]["student.risk"])
    assert gradients[0]["student.risk"].nan_to_num().any()


def test_two_classes_are_refused(scene: Callable) -> None:
    setting = scene().setting
    risk = setting.tasks["risk"]
    two = type(risk)(risk.config, "risk", ["low", "high"])
    with pytest.raises(ValueError, match="`risk` is over examples, with 2 classes"):
        c2kd.Loss(c2kd.Config(**KEYS), replace(setting, tasks={**setting.tasks, "risk": two}))


def test_words_are_refused(scene: Callable) -> None:
    with pytest.raises(ValueError, match="`ner` is over words"):
        build(scene, task="ner")
