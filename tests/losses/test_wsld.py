"""The weight of a row."""

from __future__ import annotations

import math

import torch

from mmkd.losses.logit_kl import logit_kl
from mmkd.losses.wsld import weights, wsld


def test_rows_that_the_student_knows_better_than_the_teacher_count_less() -> None:
    sure, unsure = [4.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    student, teacher = torch.tensor([sure, unsure, unsure]), torch.tensor([unsure, sure, unsure])
    low, high, equal = weights(student, teacher, torch.zeros(3, dtype=torch.long)).tolist()
    assert low < 0.04 < equal < 1 - 1e-6 < high
    assert math.isclose(equal, 1 - math.exp(-1), rel_tol=1e-6)


def test_a_teacher_without_doubt_has_a_weight() -> None:
    """Its cross-entropy is 0: 1 for a student with doubt, 0 for one without."""
    sure, unsure = [500.0, 0.0], [1.0, 0.0]
    found = weights(torch.tensor([unsure, sure]), torch.tensor([sure, sure]), torch.tensor([0, 0]))
    assert found.tolist() == [1.0, 0.0]


def test_with_equal_weights_the_gradient_is_hintons() -> None:
    """One row: the weight is a factor, and a cross-entropy and a divergence have one gradient."""
    student, teacher = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student.requires_grad_()
    labels = torch.tensor([2])
    weight = weights(student.detach(), teacher, labels)
    (found,) = torch.autograd.grad(wsld(student, teacher, labels, 2.0), student)
    (hinton,) = torch.autograd.grad(logit_kl(student, teacher, 2.0), student)
    torch.testing.assert_close(found, weight * hinton, rtol=1e-10, atol=1e-13)
