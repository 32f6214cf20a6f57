"""What relations between the examples of a batch must hold: rkd, sp, cc and pkt, beside their papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmkd.losses.cc import correlation, correlation_congruence
from mmkd.losses.pkt import probabilistic_transfer
from mmkd.losses.rkd import angle_loss, distance_loss, normalised_distances
from mmkd.losses.sp import similarity, similarity_preserving


def congruence(student: Tensor, teacher: Tensor) -> Tensor:
    return correlation_congruence(student, teacher, 2, 0.4)


RELATIONS = [distance_loss, angle_loss, similarity_preserving, congruence, probabilistic_transfer]


def features(rows: int = 5, width: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_rotated_and_scaled_copy_of_the_teacher_has_nothing_to_learn(relation: object) -> None:
    """Widths may differ: relations need no projection."""
    teacher = features()
    rotation = torch.linalg.qr(features(4, 4, 2)).Q[:3]
    student = (7 * teacher @ rotation).requires_grad_()
    value = relation(student, teacher)
    value.backward()
    assert abs(value.item()) < 1e-14
    assert student.grad.abs().max() < 1e-7
    assert relation(features(seed=3), teacher) > 1e-3


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("small", [1e-3, 1e-2, 1e3])
def test_the_size_of_features_does_not_count(relation: object, small: float) -> None:
    student, teacher = features(), features(seed=2)
    torch.testing.assert_close(relation(small * student, teacher), relation(student, teacher))


@pytest.mark.parametrize("relation", [distance_loss, angle_loss])
def test_where_the_origin_lies_does_not_count(relation: object) -> None:
    student, teacher = features(), features(seed=2)
    torch.testing.assert_close(relation(student + 3, teacher), relation(student, teacher))


@pytest.mark.parametrize(
    ("relation", "least"), [(distance_loss, 2), (angle_loss, 3), (similarity_preserving, 2), (congruence, 2)]
)
def test_too_few_rows_are_zero_with_zero_gradient(relation: object, least: int) -> None:
    for rows in range(least):
        student = features(rows).requires_grad_()
        value = relation(student, features(rows, seed=2))
        value.backward()
        assert abs(value.item()) < 1e-30
        assert student.grad.abs().sum() < 1e-14


@pytest.mark.parametrize("relation", RELATIONS)
def test_equal_examples_are_finite(relation: object) -> None:
    student = torch.ones(4, 3).requires_grad_()
    value = relation(student, torch.ones(4, 3))
    value.backward()
    assert value == 0
    assert student.grad.isfinite().all()


def test_distances_have_mean_one() -> None:
    """Ordered pairs of distinct examples: 5 x 4 of them."""
    found = normalised_distances(features())
    assert found.shape == (20,)
    assert found.mean().item() == pytest.approx(1)


def test_angles_by_hand() -> None:
    """An equilateral and a flat triangle. Cosines at the six ordered triples: all 1/2, against 1, -1 and 1, twice."""
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]], dtype=torch.float64)
    teacher = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    assert angle_loss(student, teacher).item() == pytest.approx((2 * 0.5**2 / 2 + 1.0) / 3)


def test_similarity_rows_have_length_one() -> None:
    torch.testing.assert_close(similarity(features()).square().sum(-1), torch.ones(5, dtype=torch.float64))


def test_the_series_goes_to_the_gaussian_kernel() -> None:
    directions = torch.nn.functional.normalize(features(), dim=-1)
    exact = (-0.4 * (directions[:, None] - directions[None]).square().sum(-1)).exp()
    torch.testing.assert_close(correlation(features(), 30, 0.4), exact)
    assert (correlation(features(), 2, 0.4) - exact).abs().max() > 1e-3


def test_two_neighbours_are_no_choice() -> None:
    assert probabilistic_transfer(features(2), features(2, seed=2)) == 0
