"""The margin and the partial distance, number by number."""

from __future__ import annotations

import pytest
import torch

from mmkd.losses.ofd import margins, ofd


def test_a_margin_is_the_mean_of_the_negative_values() -> None:
    values = torch.tensor([[-1.0, 2.0, -3.0], [-3.0, 0.0, 4.0], [5.0, 1.0, -5.0]])
    assert margins(values).tolist() == [-2.0, 0.0, -4.0]


@pytest.mark.parametrize(("student", "expected"), [(-9.0, 0.0), (-1.0, 0.0), (0.5, 2.25), (2.0, 9.0)])
def test_below_a_negative_teacher_a_student_is_free(student: float, expected: float) -> None:
    """Teacher 1 and -1, so the margin is -1; the student is 1 where the teacher is."""
    own, teacher = (torch.tensor([[1.0], [second]]) for second in (student, -1.0))
    assert ofd(own, teacher).item() == pytest.approx(expected / 2)


def test_below_a_positive_teacher_a_student_is_not() -> None:
    own, teacher = torch.tensor([[-9.0], [-9.0]]), torch.tensor([[1.0], [-1.0]])
    assert ofd(own, teacher).item() == pytest.approx(100 / 2)


def test_a_teacher_below_its_margin_is_raised_to_it() -> None:
    """Teacher -1 and -3, so the margin is -2: a student of -2 is free at both, one of 0 is drawn to -1 and -2."""
    teacher = torch.tensor([[-1.0], [-3.0]])
    assert ofd(torch.tensor([[-2.0], [-2.0]]), teacher).item() == 0
    assert ofd(torch.tensor([[0.0], [0.0]]), teacher).item() == pytest.approx((1 + 4) / 2)
