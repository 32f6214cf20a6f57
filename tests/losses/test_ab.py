"""The hinge on the teacher's sign, number by number."""

from __future__ import annotations

import pytest
import torch

from mmkd.losses.ab import ab


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(1.0, 0.1, 0.0), (0.5, 0.1, 0.25), (-1.0, 0.1, 4.0), (-1.0, -7.0, 0.0), (0.5, -7.0, 2.25), (0.5, 0.0, 2.25)],
)
def test_known_values(student: float, teacher: float, expected: float) -> None:
    assert ab(torch.tensor([[student]]), torch.tensor([[teacher]]), 1.0).item() == pytest.approx(expected)


def test_the_size_of_the_teachers_values_plays_no_part() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 3, generator=generator) for _ in range(2))
    assert ab(student, teacher, 1.0) == ab(student, teacher * 100, 1.0)
