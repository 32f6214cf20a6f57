"""The task over unordered classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmkd.tasks import classify
from mmkd.types import Batch


def task(labels: tuple[str, ...] = ("negative", "neutral", "positive")) -> classify.Task:
    return classify.Task(classify.Config(), "sentiment", labels)


def test_loss_equals_the_loop() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, 1, 1, 0])
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    expected = -sum(math.log(math.exp(x[y]) / sum(map(math.exp, x))) for x, y in rows) / 5
    assert task().loss(logits, labels).item() == pytest.approx(expected, rel=1e-12)


def test_loss_of_no_row_is_zero_with_zero_gradient() -> None:
    logits = torch.zeros(0, 3, requires_grad=True)
    value = task().loss(logits, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value == 0
    assert logits.grad is not None


def test_loss_of_half_precision_is_float32() -> None:
    logits = torch.tensor([[300.0, 0.0, -300.0]], dtype=torch.float16)
    assert task().loss(logits, torch.tensor([2])) == 600
    assert task().loss(logits, torch.tensor([2])).dtype == torch.float32


def test_scores_in_order_with_the_tasks_own_first() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
    scores = task().score([np.int64(0), np.int64(1), np.int64(0), np.int64(2)], list(probabilities))
    assert list(scores) == ["macro_f1", "accuracy", "ece", "auroc"]
    # Class 0: 1 of 1 found, of 2; class 1: 1 of 2; class 2: 1 of 1.
    assert scores["macro_f1"].value == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert scores["accuracy"].value == 0.75
    assert {score.n for score in scores.values()} == {4}


def test_auroc_is_left_out_where_a_class_is_absent() -> None:
    assert "auroc" not in task().score([np.int64(0), np.int64(1)], [np.array([0.5, 0.3, 0.2])] * 2)


def test_predict_over_any_leading_shape() -> None:
    probabilities = np.array([[[0.1, 0.9, 0.0]], [[0.4, 0.3, 0.3]]])
    assert task().predict(probabilities).tolist() == [[1], [0]]


def test_head_shape() -> None:
    assert task().head(8)(torch.zeros(2, 8)).shape == (2, 3)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least two"):
        task(("only",))


def test_labelled_rows_are_those_with_a_label() -> None:
    flags = torch.tensor([True, False])
    batch = Batch(("a", "b"), "c", torch.arange(2), torch.ones(2, 3, dtype=torch.bool), {}, {}, flags, flags, {}, {})
    batch.has_label["sentiment"] = flags  # type: ignore[index]
    assert task().labelled_rows(batch).tolist() == [True, False]
