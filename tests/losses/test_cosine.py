"""What the cosine of hidden features sees: the direction alone."""

from __future__ import annotations

import pytest
import torch

from mmkd.losses.cosine import cosine


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (40.0, 0.0), (-0.5, 2.0)])
def test_the_length_plays_no_part(factor: float, expected: float) -> None:
    teacher = torch.tensor([[3.0, 4.0], [-1.0, 2.0]], dtype=torch.float64)
    assert cosine(factor * teacher, teacher).item() == pytest.approx(expected, abs=1e-12)


def test_a_right_angle_is_one() -> None:
    assert cosine(torch.tensor([[0.0, 2.0]]), torch.tensor([[5.0, 0.0]])).item() == pytest.approx(1.0)
