"""The feature term within a modality against a loop over rows and elements."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmkd.losses import feature as module
from mmkd.losses.feature import feature

ROWS = {("bert", "text"): [0, 1, 2, 3, 5], ("vit", "image"): [0, 1, 2, 4, 5]}


@pytest.mark.parametrize(("teacher", "modality"), list(ROWS))
def test_equals_the_loop(teacher: str, modality: str, scene: Callable) -> None:
    scene = scene()
    torch.manual_seed(0)
    loss = module.Loss(module.Config(teacher=teacher, modality=modality), scene.setting).double()
    weight, bias = loss.projection.weight.tolist(), loss.projection.bias.tolist()
    total = count = 0
    for row in ROWS[teacher, modality]:
        own = scene.student.pooled[modality][row].tolist()
        taught = scene.teachers[teacher].pooled[modality][row].tolist()
        for line, b, goal in zip(weight, bias, taught, strict=True):
            total += (sum(w * v for w, v in zip(line, own, strict=True)) + b - goal) ** 2
            count += 1
    assert scene.value(loss).item() == pytest.approx(total / count, rel=1e-10)


def test_gradient_is_that_of_the_formula() -> None:
    """2 (x - y) / (R D)."""
    x, y = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (found,) = torch.autograd.grad(feature(x.requires_grad_(), y), x)
    for row in range(4):
        expected = [2 * (a - b) / 12 for a, b in zip(x[row].tolist(), y[row].tolist(), strict=True)]
        assert found[row].tolist() == pytest.approx(expected, rel=1e-10)


def test_needs_name_the_modality() -> None:
    config = module.Config(teacher="t", modality="image")
    (needs,) = config.teacher_needs()
    assert (needs.teacher, needs.pooled, needs.modality) == ("t", True, "image")
    assert config.student_needs().modalities == ("image",)


def test_control_a_sum_over_elements(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(module, "mean_or_zero", torch.sum)
    with pytest.raises(AssertionError):
        test_equals_the_loop("vit", "image", scene)


def test_control_rows_of_the_teacher_alone(scene: Callable) -> None:
    """Counting example 4, whose student has no image, shows in the value."""
    filled = scene(filler=0.5)
    filled.student.has["image"][4] = False
    torch.manual_seed(0)
    loss = module.Loss(module.Config(teacher="vit", modality="image"), filled.setting).double()
    rows = filled.teachers["vit"].has["image"]
    wrong = feature(loss.projection(filled.student.pooled["image"][rows]), filled.teachers["vit"].pooled["image"][rows])
    assert abs(wrong - filled.value(loss)) > 1e-3
