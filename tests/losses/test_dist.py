"""What a correlation does not see, and batches with too few rows for one."""

from __future__ import annotations

import torch

from mmkd.losses.dist import dist


def test_probabilities_that_are_scaled_and_moved_agree() -> None:
    """0.4 p + 0.2 in each of three classes is a distribution too, and costs nothing, by rows and by columns."""
    teacher = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student = (0.4 * teacher.softmax(-1) + 0.2).log()
    assert dist(student, teacher, 1.0, 1.0, 1.0).abs() < 1e-12
    assert dist(-student, teacher, 1.0, 1.0, 1.0) > 1


def test_one_row_has_no_correlation_over_rows() -> None:
    student, teacher = torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert dist(student, teacher, 0.0, 2.0, 1.0) == 0
    assert dist(student, teacher, 1.0, 2.0, 1.0) == dist(student, teacher, 1.0, 0.0, 1.0) > 0


def test_a_sure_teacher_that_is_met_costs_nothing_and_one_that_is_not_does() -> None:
    """Of three classes the teacher gives none of the rows to the last: its column hardly varies."""
    teacher = torch.tensor([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0], [21.0, 0.0, 0.0], [0.0, 22.0, 0.0]])
    student = teacher.clone().requires_grad_()
    value = dist(student, teacher, 1.0, 1.0, 1.0)
    value.backward()
    assert value == 0 and student.grad is not None and student.grad.abs().max() == 0
    assert dist(teacher.roll(1, 0), teacher, 1.0, 1.0, 1.0) > 1
