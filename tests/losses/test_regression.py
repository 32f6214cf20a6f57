"""Distillation of values against a scalar loop, and the bound of Chen et al. by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from scipy.special import huber
from torch import Tensor

from mmkd.losses import regression as module
from mmkd.losses.regression import bounded_regression, regression

DELTAS = (None, 0.3, 1.0, 50.0)


def error(value: float, target: float, delta: float | None) -> tuple[float, float]:
    """The error of one row and its slope: the square, or beyond delta the line that goes on with the same slope."""
    far = value - target
    if delta is None or abs(far) <= delta:
        return far * far, 2 * far
    return 2 * delta * abs(far) - delta * delta, 2 * delta * (1 if far > 0 else -1)


def loop(student: list[float], teacher: list[float], delta: float | None) -> tuple[float, list[float]]:
    rows = [error(own, taught, delta) for own, taught in zip(student, teacher, strict=True)]
    return sum(value for value, _ in rows) / len(rows), [slope / len(rows) for _, slope in rows]


def bounded_loop(
    student: list[float], teacher: list[float], labels: list[float], margin: float, delta: float | None
) -> tuple[float, list[float]]:
    """Chen et al.: the student's error where, with the margin, it is above the teacher's, and otherwise 0."""
    total, slopes = 0.0, []
    for own, taught, label in zip(student, teacher, labels, strict=True):
        value, slope = error(own, label, delta)
        counts = value + margin > error(taught, label, delta)[0]
        total += value if counts else 0
        slopes.append(slope / len(student) if counts else 0.0)
    return total / len(student), slopes


def values(rows: int = 40, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher, labels = torch.randn(3, rows, generator=generator, dtype=torch.float64) * 2
    return student.requires_grad_(), teacher, labels


def assert_value_and_gradient(found: Tensor, leaf: Tensor, expected: tuple[float, list[float]]) -> None:
    value, gradient = expected
    assert found.item() == pytest.approx(value, rel=1e-10)
    found.backward()
    torch.testing.assert_close(leaf.grad, torch.tensor(gradient, dtype=torch.float64), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("delta", DELTAS)
def test_equals_the_loop(delta: float | None) -> None:
    student, teacher, _ = values()
    expected = loop(student.tolist(), teacher.tolist(), delta)
    assert_value_and_gradient(regression(student, teacher, delta), student, expected)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("margin", [0.0, 0.5, 3.0])
def test_bounded_equals_the_loop(margin: float, delta: float | None) -> None:
    student, teacher, labels = values()
    expected = bounded_loop(student.tolist(), teacher.tolist(), labels.tolist(), margin, delta)
    assert 0 < sum(slope == 0 for slope in expected[1]) < 40
    assert_value_and_gradient(bounded_regression(student, teacher, labels, margin, delta), student, expected)


@pytest.mark.parametrize("delta", DELTAS)
def test_gradient_is_that_of_finite_differences(delta: float | None) -> None:
    student, teacher, labels = values(rows=6)
    assert torch.autograd.gradcheck(lambda own: regression(own, teacher, delta), student)
    assert torch.autograd.gradcheck(lambda own: bounded_regression(own, teacher, labels, 0.5, delta), student)


def test_is_twice_hubers_loss() -> None:
    student, teacher, _ = values()
    expected = 2 * huber(0.7, (student - teacher).detach().numpy()).mean()
    assert regression(student, teacher, 0.7).item() == pytest.approx(expected, rel=1e-12)


def test_a_large_delta_is_the_squared_error() -> None:
    """No jump by a half, as between Huber's loss and the square."""
    student, teacher, _ = values()
    assert torch.equal(regression(student, teacher, 1e6), regression(student, teacher))


@pytest.mark.parametrize(
    ("student", "teacher", "margin", "cost"),
    [
        (1.0, 2.0, 0.0, 0.0),  # better than the teacher
        (2.0, 1.0, 0.0, 4.0),  # worse: its own error, 2^2, and not that against the teacher
        (-2.0, 1.0, 0.0, 4.0),
        (1.0, 1.0, 0.0, 0.0),  # as good: nothing without a margin
        (1.0, -1.0, 0.1, 1.0),  # as good: better is asked for with one
        (1.0, 2.0, 3.0, 0.0),  # better by the margin, 4 - 1 = 3
        (1.0, 2.0, 3.5, 1.0),  # better, but not by the margin
    ],
)
def test_the_teacher_is_a_bound(student: float, teacher: float, margin: float, cost: float) -> None:
    """The label is 0, the errors are squares."""
    own, taught, labels = (torch.tensor([value]) for value in (student, teacher, 0.0))
    assert bounded_regression(own, taught, labels, margin).item() == cost


ROWS = {("bert", False): (0, 1, 2, 3, 5), ("vit", False): (0, 1, 2, 4, 5)}
ROWS |= {("bert", True): (0, 1, 3), ("vit", True): (0, 1, 4)}
"""Both speak; with the bound, labelled too: example 6 has a label and no modality."""


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("teacher", ["bert", "vit"])
def test_the_term_takes_the_rows_of_both(teacher: str, bounded: bool, scene: Callable) -> None:
    scene = scene()
    rows = list(ROWS[teacher, bounded])
    margin = 100.0 if bounded else 0.0
    config = module.Config(task="stress", teacher=teacher, delta=0.4, teacher_bounded=bounded, margin=margin)
    own = scene.student.logits["stress"][rows, 0].tolist()
    taught = scene.teachers[teacher].logits["stress"][rows, 0].tolist()
    labels = scene.batch.labels["stress"][rows].tolist()
    expected, _ = bounded_loop(own, taught, labels, margin, 0.4) if bounded else loop(own, taught, 0.4)
    assert scene.value(module.Loss(config, scene.setting)).item() == pytest.approx(expected, rel=1e-10)


def test_a_bound_without_any_label_is_zero_with_zero_gradient(scene: Callable) -> None:
    """Rows that only the teacher speaks on, as those of a transfer split."""
    scene = scene()
    nowhere = torch.zeros_like(scene.batch.has_text)
    scene = replace(scene, batch=replace(scene.batch, has_label={**scene.batch.has_label, "stress": nowhere}))
    loss = module.Loss(module.Config(task="stress", teacher="bert", teacher_bounded=True), scene.setting)
    assert scene.value(loss) == 0
    assert not scene.gradients(loss)["student.stress"].any()


@pytest.mark.parametrize("bounded", [False, True])
def test_agreement_is_zero_with_zero_gradient(bounded: bool) -> None:
    student, _, labels = values()
    teacher = student.detach()
    value = bounded_regression(student, teacher, labels) if bounded else regression(student, teacher)
    value.backward()
    assert value == 0
    assert not student.grad.any()


def test_squares_of_half_precision_do_not_overflow() -> None:
    """300 and -300 are 600 apart; float16 ends at 65504, 600^2 is 360000."""
    own, taught = torch.tensor([300.0], dtype=torch.float16), torch.tensor([-300.0], dtype=torch.float16)
    assert regression(own, taught) == 360000
    assert bounded_regression(own, own + 1, taught) == 0
    assert bounded_regression(own + 1, own, taught) == 601**2


def test_a_margin_needs_the_bound() -> None:
    assert module.Config(task="stress", teacher="bert", teacher_bounded=True, margin=1).margin == 1
    with pytest.raises(ValidationError, match="`margin` goes with `teacher_bounded: true`"):
        module.Config(task="stress", teacher="bert", margin=1)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda s, t, delta: module.regression(s, t, delta) / 2, id="Huber's half"),
        pytest.param(lambda s, t, delta: module.regression(s, t, delta) * len(s), id="sum over rows"),
        pytest.param(lambda s, t, delta: module.regression(s, t), id="delta left out"),
        pytest.param(lambda s, t, delta: torch.nn.functional.smooth_l1_loss(s, t, beta=delta), id="smooth L1"),
    ],
)
def test_control_known_mistakes_are_told_apart(broken: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "regression", broken)
    with pytest.raises(AssertionError):
        test_equals_the_loop(0.3)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda s, t, y, m, d: module.bounded_regression(s, t, y, 0.0, d), id="margin left out"),
        pytest.param(lambda s, t, y, m, d: module.bounded_regression(s, t, y, -m, d), id="margin's sign"),
        pytest.param(lambda s, t, y, m, d: module.bounded_regression(t, s, y, m, d), id="arguments swapped"),
        pytest.param(lambda s, t, y, m, d: module.regression(s, y, d), id="no bound"),
        pytest.param(
            lambda s, t, y, m, d: torch.relu(module.error(s, y, d) + m - module.error(t, y, d)).mean(), id="hinge"
        ),
    ],
)
def test_control_known_mistakes_of_the_bound_are_told_apart(broken: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "bounded_regression", broken)
    with pytest.raises(AssertionError):
        test_bounded_equals_the_loop(0.5, None)
