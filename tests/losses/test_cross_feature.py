"""The cross-modal feature term against a loop over rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mmkd.losses import cross_feature as module
from mmkd.losses.cross_feature import cross_feature
from mmkd.types import OutputShape

ROWS = {("vit", "text"): [0, 1, 2, 5], ("bert", "image"): [0, 1, 2, 5], ("vit", "fused"): [0, 1, 2, 4, 5]}
ROWS["bert", "fused"] = [0, 1, 2, 3, 5]
OWN = {"vit": "image", "bert": "text"}


def distance(own: list[float], taught: list[float], kind: str) -> float:
    if kind == "mse":
        return sum((x - y) ** 2 for x, y in zip(own, taught, strict=True)) / len(own)
    dot = sum(x * y for x, y in zip(own, taught, strict=True))
    return 1 - dot / math.sqrt(sum(x * x for x in own)) / math.sqrt(sum(y * y for y in taught))


@pytest.mark.parametrize(("teacher", "to"), list(ROWS))
@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_equals_the_loop(teacher: str, to: str, kind: str, scene: Callable) -> None:
    scene = scene()
    torch.manual_seed(0)
    loss = module.Loss(module.Config(teacher=teacher, to=to, distance=kind), scene.setting).double()
    weight, bias = loss.projection.weight.tolist(), loss.projection.bias.tolist()
    feature = scene.student.fused if to == "fused" else scene.student.pooled[to]
    total = 0.0
    for row in ROWS[teacher, to]:
        x = feature[row].tolist()
        projected = [sum(w * v for w, v in zip(line, x, strict=True)) + b for line, b in zip(weight, bias, strict=True)]
        total += distance(projected, scene.teachers[teacher].pooled[OWN[teacher]][row].tolist(), kind)
    assert scene.value(loss).item() == pytest.approx(total / len(ROWS[teacher, to]), rel=1e-10)


@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_gradient_is_that_of_the_formula(kind: str) -> None:
    """mse: 2 (x - y) / (R D). cosine: -(y / |y| - cos x / |x|) / (|x| R)."""
    x, y = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    (found,) = torch.autograd.grad(cross_feature(x, y, kind), x)
    for row in range(4):
        own, taught = x[row].tolist(), y[row].tolist()
        long, far = math.hypot(*own), math.hypot(*taught)
        cosine = sum(a * b for a, b in zip(own, taught, strict=True)) / long / far
        expected = [
            2 * (a - b) / 12 if kind == "mse" else -(b / far - cosine * a / long) / long / 4
            for a, b in zip(own, taught, strict=True)
        ]
        assert found[row].tolist() == pytest.approx(expected, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_agreement_is_zero_with_zero_gradient(kind: str) -> None:
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = cross_feature(x, x.detach(), kind)
    value.backward()
    assert abs(value.item()) < 1e-15
    assert x.grad.abs().max() < 1e-15


def test_cosine_ignores_length_and_mse_does_not() -> None:
    x, y = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cross_feature(5 * x, 0.2 * y, "cosine"), cross_feature(x, y, "cosine"))
    assert abs(cross_feature(5 * x, y, "mse") - cross_feature(x, y, "mse")) > 0.1


def test_a_teacher_of_the_same_modality_is_refused(scene: Callable) -> None:
    with pytest.raises(ValueError, match="another than `to: text`"):
        module.Loss(module.Config(teacher="bert", to="text"), scene().setting)


def test_a_teacher_of_both_modalities_is_refused(scene: Callable) -> None:
    setting = scene().setting
    both = OutputShape(pooled={"text": 4, "image": 4}, hidden={}, depth={})
    with pytest.raises(ValueError, match=r"\['image', 'text'\]; expected one modality"):
        module.Loss(module.Config(teacher="clip", to="fused"), replace(setting, teachers={"clip": both}))


def test_needs_follow_the_direction() -> None:
    needs = {to: module.Config(teacher="t", to=to).teacher_needs()[0].modality for to in ("text", "image", "fused")}
    assert needs == {"text": "image", "image": "text", "fused": None}
    assert module.Config(teacher="t", to="text").student_needs().modalities == ("text",)
    assert module.Config(teacher="t", to="fused").student_needs().modalities == ()


def test_control_a_sum_over_rows(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(module, "mean_or_zero", torch.sum)
    with pytest.raises(AssertionError):
        test_equals_the_loop("vit", "fused", "cosine", scene)


def test_control_rows_of_the_teacher_alone(scene: Callable) -> None:
    """Counting example 4, which has no text, shows in the value."""
    assert 4 not in ROWS["vit", "text"]
    filled = scene(filler=0.5)
    rows = filled.teachers["vit"].has["image"]
    torch.manual_seed(0)
    loss = module.Loss(module.Config(teacher="vit", to="text"), filled.setting).double()
    wrong = cross_feature(
        loss.projection(filled.student.pooled["text"][rows]), filled.teachers["vit"].pooled["image"][rows], "cosine"
    )
    assert abs(wrong - filled.value(loss)) > 1e-3
