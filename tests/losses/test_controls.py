"""The losses without a teacher, `label_smoothing` and `tf_kd`: how they belong together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmkd.losses.label_smoothing import label_smoothing
from mmkd.losses.logit_kl import logit_kl
from mmkd.losses.tf_kd import tf_kd


def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 5, generator=generator, dtype=torch.float64) * 2
    return logits.requires_grad_(), torch.randint(5, (8,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_is_distillation_from_a_uniform_teacher(smoothing: float) -> None:
    """(1 - s) H(label, q) + s (KL(uniform || q) + log K)."""
    student, labels = rows()
    uniform = logit_kl(student, torch.zeros_like(student), 1.0) + torch.tensor(5.0).log()
    expected = (1 - smoothing) * functional.cross_entropy(student, labels) + smoothing * uniform
    torch.testing.assert_close(label_smoothing(student, labels, smoothing), expected, rtol=1e-6, atol=0)


def test_the_virtual_teacher_at_temperature_one_is_label_smoothing() -> None:
    """But for its entropy: probability 0.9 of the label is a smoothing of 0.1 K / (K - 1)."""
    student, labels = rows()
    found, expected = tf_kd(student, labels, 0.9, 1.0), label_smoothing(student, labels, 0.1 * 5 / 4)
    gradients = [torch.autograd.grad(value, student)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)
    assert found < expected


def test_a_student_that_says_what_the_virtual_teacher_says_is_done() -> None:
    _, labels = rows()
    student = torch.full((8, 5), 0.025, dtype=torch.float64).scatter(-1, labels[:, None], 0.9).log()
    assert tf_kd(student, labels, 0.9, 20.0).abs() < 1e-12
