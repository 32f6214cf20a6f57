"""The temperature and the student pull in opposite directions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmkd.losses import ctkd as module
from mmkd.losses.ctkd import ctkd, reversed_gradient
from mmkd.losses.logit_kl import logit_kl


def build(scene: Callable, **keys: float) -> module.Loss:
    return module.Loss(module.Config(task="sentiment", teacher="bert", **keys), scene().setting).double()


def test_it_is_hintons_loss_at_its_temperature(scene: Callable) -> None:
    loss = build(scene)
    assert loss.temperature.item() == pytest.approx(15.62, abs=0.01)
    student, teacher = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = logit_kl(student, teacher, loss.temperature.item())
    torch.testing.assert_close(ctkd(student, teacher, loss.temperature), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("start", [-3.0, 0.0, 1.0])
def test_a_step_down_the_gradient_raises_the_value(start: float, scene: Callable) -> None:
    """By a step of the parameter alone, whichever way the temperature has to go."""
    loss, seen = build(scene), scene()
    with torch.no_grad():
        loss.raw.fill_(start)
    before = seen.value(loss)
    before.backward()
    assert loss.raw.grad != 0
    with torch.no_grad():
        loss.raw -= 1e-2 * loss.raw.grad / loss.raw.grad.abs()
    assert seen.value(loss) > before


def test_without_strength_the_temperature_stays(scene: Callable) -> None:
    loss = build(scene, strength=0.0)
    scene().value(loss).backward()
    assert loss.raw.grad == 0


def test_the_number_is_the_same() -> None:
    value = torch.tensor(3.3, requires_grad=True)
    found = reversed_gradient(value, 0.7)
    found.backward()
    assert found == value
    torch.testing.assert_close(value.grad, torch.tensor(-0.7))
