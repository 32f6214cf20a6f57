"""Hinton's loss against a scalar loop, and what the paper says of its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmkd.losses import logit_kl as module
from mmkd.losses.logit_kl import logit_kl, standardized
from mmkd.objective import Terms

TEMPERATURES = (0.5, 1.0, 4.0, 20.0)


def softmax(row: list[float], temperature: float) -> list[float]:
    weights = [math.exp(value / temperature) for value in row]
    return [weight / sum(weights) for weight in weights]


def z_scores(row: list[float]) -> list[float]:
    mean = sum(row) / len(row)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row))
    return [(value - mean) / deviation for value in row]


def loop(student: list[list[float]], teacher: list[list[float]], temperature: float) -> tuple[float, list[list[float]]]:
    """T^2 KL by the definition, mean over rows, and its gradient T (q - p) / R (the paper's eq. 2 times T^2)."""
    total, gradient = 0.0, []
    for own, taught in zip(student, teacher, strict=True):
        q, p = softmax(own, temperature), softmax(taught, temperature)
        total += temperature**2 * sum(p[k] * math.log(p[k] / q[k]) for k in range(len(p)))
        gradient.append([temperature * (q[k] - p[k]) / len(student) for k in range(len(p))])
    return total / len(student), gradient


def logits(rows: int = 8, classes: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, rows, classes, generator=generator, dtype=torch.float64) * 3
    return student.requires_grad_(), teacher


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equals_the_loop(temperature: float) -> None:
    student, teacher = logits()
    value, gradient = loop(student.tolist(), teacher.tolist(), temperature)
    found = logit_kl(student, teacher, temperature)
    assert found.item() == pytest.approx(value, rel=1e-10)
    found.backward()
    torch.testing.assert_close(student.grad, torch.tensor(gradient, dtype=torch.float64), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_standardized_equals_the_loop(temperature: float) -> None:
    """The gradient by the chain rule through z = (x - mean) / std: (g - mean(g) - z mean(g z)) / std."""
    student, teacher = logits()
    z_student, z_teacher = map(z_scores, student.tolist()), map(z_scores, teacher.tolist())
    value, upstream = loop(list(z_student), list(z_teacher), temperature)
    found = logit_kl(student, teacher, temperature, standardize=True)
    found.backward()
    assert found.item() == pytest.approx(value, rel=1e-10)
    for row, g, gradient in zip(student.tolist(), upstream, student.grad.tolist(), strict=True):
        z, count = z_scores(row), len(row)
        deviation = math.sqrt(sum((x - sum(row) / count) ** 2 for x in row) / count)
        projection = sum(g[k] * z[k] for k in range(count)) / count
        expected = [(g[k] - sum(g) / count - z[k] * projection) / deviation for k in range(count)]
        assert gradient == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_the_term_takes_the_rows_of_both(task: str, scene: Callable) -> None:
    """Rows chosen by hand from the scene's description."""
    scene = scene()
    rows = {"sentiment": [(n,) for n in (0, 1, 2, 3, 5)], "ner": [(0, 0), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1)]}
    rows["ner"] += [(3, 0), (3, 1), (3, 2), (3, 3), (5, 0)]
    config = module.Config(task=task, teacher="bert", temperature=2)
    student = [scene.student.logits[task][row].tolist() for row in rows[task]]
    teacher = [scene.teachers["bert"].logits[task][row].tolist() for row in rows[task]]
    expected, _ = loop(student, teacher, 2)
    assert scene.value(module.Loss(config, scene.setting)).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("standardize", [False, True])
def test_agreement_is_zero_with_zero_gradient(standardize: bool) -> None:
    student, _ = logits()
    value = logit_kl(student, student.detach(), 4.0, standardize)
    value.backward()
    assert abs(value.item()) < 1e-14
    assert student.grad.abs().max() < 1e-14


def test_standardized_ignores_the_students_scale_and_shift() -> None:
    student, teacher = logits()
    value = logit_kl(student, teacher, 4.0, standardize=True)
    torch.testing.assert_close(logit_kl(3.7 * student - 5, teacher, 4.0, standardize=True), value, rtol=1e-10, atol=0)
    rows = standardized(student)
    torch.testing.assert_close(rows.mean(-1), torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(rows.std(-1, correction=0), torch.ones(8, dtype=torch.float64), rtol=1e-10, atol=0)


def test_gradient_keeps_its_size_when_the_temperature_changes() -> None:
    """For T much above the logits it tends to (s - t) / (K R) for centred logits, whatever T (section 2.1)."""
    student, teacher = (part - part.mean(-1, keepdim=True) for part in logits())
    student = student.detach().requires_grad_()
    limit = (student.detach() - teacher) / (7 * 8)
    for temperature in (1e3, 1e4, 1e5):
        (gradient,) = torch.autograd.grad(logit_kl(student, teacher, temperature), student)
        torch.testing.assert_close(gradient, limit, rtol=0, atol=10 / temperature)


def test_value_is_continuous_in_the_temperature() -> None:
    student, teacher = logits()
    near = logit_kl(student, teacher, 4 + 1e-9)
    torch.testing.assert_close(near, logit_kl(student, teacher, 4.0), rtol=0, atol=1e-7)


def test_is_not_symmetric_and_never_negative() -> None:
    for seed in range(20):
        student, teacher = logits(seed=seed)
        assert logit_kl(student, teacher, 2.0) > 0
        assert abs(logit_kl(student, teacher, 2.0) - logit_kl(teacher, student, 2.0)) > 1e-3


def test_standardized_row_of_equal_logits_is_zero() -> None:
    equal = torch.full((2, 5), 3.0)
    assert not standardized(equal).any()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda s, t, temperature: module.logit_kl(s, t, temperature) / temperature**2, id="without T^2"),
        pytest.param(lambda s, t, temperature: module.logit_kl(s, t, temperature) / s.shape[1], id="mean over classes"),
        pytest.param(lambda s, t, temperature: module.logit_kl(s, t, temperature) * len(s), id="sum over rows"),
        pytest.param(lambda s, t, temperature: module.logit_kl(t, s, temperature), id="arguments swapped"),
        pytest.param(
            lambda s, t, temperature: (
                -(temperature**2) * ((t / temperature).softmax(-1) * (s / temperature).log_softmax(-1)).sum(-1).mean()
            ),
            id="cross-entropy",
        ),
    ],
)
def test_control_known_mistakes_are_told_apart(broken: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants that public code has: the comparison with the loop fails on each."""
    monkeypatch.setitem(globals(), "logit_kl", broken)
    with pytest.raises(AssertionError):
        test_equals_the_loop(4.0)


@pytest.mark.parametrize("power", [0, 1])
def test_control_gradient_without_the_square(power: int, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = lambda s, t, temperature: module.logit_kl(s, t, temperature) * temperature ** (power - 2)  # noqa: E731
    monkeypatch.setitem(globals(), "logit_kl", broken)
    with pytest.raises(AssertionError):
        test_gradient_keeps_its_size_when_the_temperature_changes()


def test_control_sample_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divided by K - 1, as torch.std does by default."""
    sample = lambda x: (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)  # noqa: E731
    monkeypatch.setattr(module, "standardized", sample)
    with pytest.raises(AssertionError):
        test_standardized_equals_the_loop(1.0)


def test_a_schedule_moves_the_temperature_with_the_run(scene: Callable) -> None:
    """As the objective tells the progress; at its ends the value is that of the fixed temperatures."""
    scene = scene()
    annealed = {"kind": "linear", "from": 8.0, "to": 2.0}
    loss = module.Loss(module.Config(task="sentiment", teacher="bert", temperature=annealed), scene.setting)
    terms = Terms({"taught": loss})
    for progress, temperature in ((0.0, 8.0), (0.5, 5.0), (1.0, 2.0)):
        config = module.Config(task="sentiment", teacher="bert", temperature=temperature)
        fixed = scene.value(module.Loss(config, scene.setting)).item()
        found = terms(scene.student, scene.teachers, scene.batch, progress, step=0)
        assert found.by_task["sentiment"].item() == pytest.approx(fixed, rel=1e-12)
