"""The divergence of independent labels against a scalar loop, its neighbours in the literature, and its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmkd.losses import binary_kl as module
from mmkd.losses.binary_kl import binary_kl
from mmkd.losses.logit_kl import logit_kl

TEMPERATURES = (0.5, 1.0, 4.0, 20.0)


def sigmoid(value: float, temperature: float) -> float:
    return 1 / (1 + math.exp(-value / temperature))


def loop(student: list[list[float]], teacher: list[list[float]], temperature: float) -> tuple[float, list[list[float]]]:
    """T^2 KL of two Bernoullis by the definition, mean over rows and labels, and its gradient T (q - p) / (R K)."""
    total, gradient, count = 0.0, [], len(student) * len(student[0])
    for own, taught in zip(student, teacher, strict=True):
        row = []
        for one, other in zip(own, taught, strict=True):
            q, p = sigmoid(one, temperature), sigmoid(other, temperature)
            total += temperature**2 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
            row.append(temperature * (q - p) / count)
        gradient.append(row)
    return total / count, gradient


def logits(rows: int = 8, labels: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, rows, labels, generator=generator, dtype=torch.float64) * 3
    return student.requires_grad_(), teacher


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equals_the_loop(temperature: float) -> None:
    student, teacher = logits()
    value, gradient = loop(student.tolist(), teacher.tolist(), temperature)
    found = binary_kl(student, teacher, temperature)
    assert found.item() == pytest.approx(value, rel=1e-10)
    found.backward()
    torch.testing.assert_close(student.grad, torch.tensor(gradient, dtype=torch.float64), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_is_that_of_finite_differences(temperature: float) -> None:
    student, teacher = logits(rows=3)
    assert torch.autograd.gradcheck(lambda values: binary_kl(values, teacher, temperature), student)


@pytest.mark.parametrize(("teacher", "rows"), [("bert", (0, 1, 2, 3, 5)), ("vit", (0, 1, 2, 4, 5))])
def test_the_term_takes_the_rows_of_both(teacher: str, rows: tuple[int, ...], scene: Callable) -> None:
    """Rows chosen by hand from the scene's description; labels play no part."""
    scene = scene()
    config = module.Config(task="topics", teacher=teacher, temperature=2)
    own = [scene.student.logits["topics"][row].tolist() for row in rows]
    taught = [scene.teachers[teacher].logits["topics"][row].tolist() for row in rows]
    expected, _ = loop(own, taught, 2)
    assert scene.value(module.Loss(config, scene.setting)).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_one_label_is_two_classes(temperature: float) -> None:
    """sigmoid(z) is the first of softmax(z, 0)."""
    student, teacher = logits(labels=1)
    pairs = [torch.cat([one, torch.zeros_like(one)], dim=1) for one in (student, teacher)]
    torch.testing.assert_close(
        binary_kl(student, teacher, temperature), logit_kl(*pairs, temperature), rtol=1e-10, atol=0
    )


def clipped(student: Tensor, teacher: Tensor) -> Tensor:
    """The logit loss of Yang et al.'s code (penghui-yang/L2D, mld.py), its sum over labels made a mean."""
    q, p = student.sigmoid().clamp(1e-8, 1 - 1e-8), teacher.sigmoid().clamp(1e-8, 1 - 1e-8)
    holds = functional.kl_div(q.log(), p, reduction="none")
    fails = functional.kl_div((1 - q).log(), 1 - p, reduction="none")
    return (holds + fails).mean()


def test_equals_multi_label_distillation_where_that_does_not_clip() -> None:
    student, teacher = logits()
    torch.testing.assert_close(binary_kl(student, teacher, 1.0), clipped(student, teacher), rtol=1e-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [30.0, 120.0, 1e4])
def test_a_student_that_is_surely_wrong_learns_at_full_speed(distance: float, dtype: torch.dtype) -> None:
    """The divergence tends to the distance of the student's logit from 0, its gradient to 1 for each label."""
    teacher = torch.tensor([[distance, -distance]], dtype=dtype)
    student = (-teacher).requires_grad_()
    value = binary_kl(student, teacher, 1.0)
    value.backward()
    assert value.item() == pytest.approx(distance, rel=1e-6)
    assert student.grad.tolist() == [[pytest.approx(-0.5), pytest.approx(0.5)]]


def test_agreement_is_zero_with_zero_gradient() -> None:
    student, _ = logits()
    value = binary_kl(student, student.detach(), 4.0)
    value.backward()
    assert value.item() == 0
    assert student.grad.abs().max() < 1e-14


def test_labels_do_not_compete() -> None:
    """Another label's logit changes a label's gradient not at all."""
    student, teacher = logits()
    (before,) = torch.autograd.grad(binary_kl(student, teacher, 2.0), student)
    moved = student.detach().clone()
    moved[:, 0] += 5
    (after,) = torch.autograd.grad(binary_kl(moved.requires_grad_(), teacher, 2.0), moved)
    assert torch.equal(before[:, 1:], after[:, 1:])
    assert not torch.equal(before[:, 0], after[:, 0])


def test_gradient_keeps_its_size_when_the_temperature_changes() -> None:
    """For T much above the logits it tends to (s - t) / (4 R K), since the slope of the sigmoid at 0 is 1/4."""
    student, teacher = logits()
    limit = (student.detach() - teacher) / (4 * 8 * 5)
    for temperature in (1e3, 1e4, 1e5):
        (gradient,) = torch.autograd.grad(binary_kl(student, teacher, temperature), student)
        torch.testing.assert_close(gradient, limit, rtol=0, atol=1 / temperature)


def test_is_not_symmetric_and_never_negative() -> None:
    for seed in range(20):
        student, teacher = logits(seed=seed)
        assert binary_kl(student, teacher, 2.0) > 0
        assert abs(binary_kl(student, teacher, 2.0) - binary_kl(teacher, student, 2.0)) > 1e-3


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda s, t, temperature: module.binary_kl(s, t, temperature) / temperature**2, id="without T^2"),
        pytest.param(lambda s, t, temperature: module.binary_kl(s, t, temperature) * s.shape[1], id="sum over labels"),
        pytest.param(lambda s, t, temperature: module.binary_kl(s, t, temperature) * len(s), id="sum over rows"),
        pytest.param(lambda s, t, temperature: module.binary_kl(t, s, temperature), id="arguments swapped"),
        pytest.param(lambda s, t, temperature: logit_kl(s, t, temperature), id="a softmax over the labels"),
        pytest.param(
            lambda s, t, temperature: (
                temperature**2
                * functional.binary_cross_entropy_with_logits(s / temperature, (t / temperature).sigmoid())
            ),
            id="cross-entropy",
        ),
    ],
)
def test_control_known_mistakes_are_told_apart(broken: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants that public code has: the comparison with the loop fails on each."""
    monkeypatch.setitem(globals(), "binary_kl", broken)
    with pytest.raises(AssertionError):
        test_equals_the_loop(4.0)


def test_control_clipped_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "binary_kl", lambda student, teacher, temperature: clipped(student, teacher))
    with pytest.raises(AssertionError):
        test_a_student_that_is_surely_wrong_learns_at_full_speed(30.0, torch.float64)


def test_control_labels_that_compete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "binary_kl", logit_kl)
    with pytest.raises(AssertionError):
        test_labels_do_not_compete()
