"""Numbers of one sign at each place, with the probability that the purity says."""

from __future__ import annotations

import pytest
import torch

from mmkd.weighting.graddrop import Config, Weighting, one_sign

GRADIENTS = torch.tensor(((-4.0, 1.0, 0.0, 2.0), (6.0, 1.0, 0.0, -2.0), (1.0, -3.0, 0.0, 0.0)), dtype=torch.float64)


def test_which_are_kept() -> None:
    """Purities 7/11, 2/5, - and 1/2, against numbers just below and just above."""
    low = one_sign(GRADIENTS, torch.tensor((0.63, 0.39, 0.5, 0.49)))
    high = one_sign(GRADIENTS, torch.tensor((0.64, 0.41, 0.5, 0.5)))
    assert torch.equal(low, GRADIENTS > 0)
    assert torch.equal(high, GRADIENTS < 0)


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1 - 1e-9])
def test_one_sign_alone_is_always_kept(drawn: float) -> None:
    gradients = torch.tensor(((1.0, -1.0), (2.0, -5.0)), dtype=torch.float64)
    assert one_sign(gradients, torch.full((2,), drawn, dtype=torch.float64)).all()


def test_over_many_steps_signs_are_kept_as_often_as_they_are_pure() -> None:
    """And new numbers are drawn in every step: 4000 of them, within four standard errors."""
    weighting = Weighting(Config(), ["a", "b", "c"])
    positive = torch.zeros(4, dtype=torch.float64)
    for _ in range(4000):
        update, _ = weighting._keep(GRADIENTS)
        weighting.steps += 1
        positive += update > 0
    assert (positive / 4000).tolist() == pytest.approx([7 / 11, 2 / 5, 0, 1 / 2], abs=4 * 0.5 / 4000**0.5)


def test_what_is_reported_is_the_share_of_the_square_that_was_kept() -> None:
    weighting = Weighting(Config(), ["a", "b", "c"])
    update, shares = weighting._keep(GRADIENTS)
    for row, share in zip(GRADIENTS.tolist(), shares.tolist(), strict=True):
        kept = [x for x, total in zip(row, update.tolist(), strict=True) if x * total > 0]
        assert share == pytest.approx(sum(x * x for x in kept) / sum(x * x for x in row))
