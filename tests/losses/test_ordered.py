"""The losses of ordered classes, `ordinal` and `emd`: what they make of the order."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from mmkd.losses import emd as emd_module
from mmkd.losses import ordinal as ordinal_module
from mmkd.losses.binary_kl import binary_kl
from mmkd.losses.emd import emd
from mmkd.losses.logit_kl import logit_kl
from mmkd.losses.ordinal import ordinal


def sure_of(label: int, margin: float = 8.0) -> torch.Tensor:
    return margin * torch.eye(5, dtype=torch.float64)[[label]]


@pytest.mark.parametrize("loss", [lambda s, t: ordinal(s, t, 1.0), emd], ids=["ordinal", "emd"])
def test_the_further_the_worse(loss: Callable) -> None:
    """And twice as far costs about twice as much: a threshold, or a step of one class, more."""
    values = [loss(sure_of(label), sure_of(0)).item() for label in range(5)]
    assert values[0] < 1e-12
    assert values == sorted(values)
    assert values[4] == pytest.approx(4 * values[1], rel=0.15)
    hinton = [logit_kl(sure_of(label), sure_of(0), 1.0).item() for label in (1, 4)]
    assert hinton[0] == pytest.approx(hinton[1])


def test_sure_classes_are_as_far_apart_as_their_numbers() -> None:
    assert emd(sure_of(3, 500.0), sure_of(1, 500.0)).item() == pytest.approx(2)


def test_two_ordered_classes_are_one_label() -> None:
    """P(y <= 0) = sigmoid(z_0 - z_1)."""
    student, teacher = torch.randn(2, 8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for temperature in (1.0, 3.0):
        differences = [logits[:, :1] - logits[:, 1:] for logits in (student, teacher)]
        expected = binary_kl(*differences, temperature)
        torch.testing.assert_close(ordinal(student, teacher, temperature), expected, rtol=1e-10, atol=1e-13)


def test_a_student_that_is_surely_wrong_has_a_gradient() -> None:
    student = sure_of(4, 500.0).requires_grad_()
    ordinal(student, sure_of(0), 1.0).backward()
    assert student.grad.abs().max() > 0.1


@pytest.mark.parametrize("module", [ordinal_module, emd_module], ids=["ordinal", "emd"])
def test_classes_without_an_order_are_refused(module: ModuleType, scene: Callable) -> None:
    config = module.Config(task="sentiment", teacher="bert")
    with pytest.raises(ValueError, match=r"sentiment.*classify.*expected one whose classes have an order"):
        module.Loss(config, scene().setting)
