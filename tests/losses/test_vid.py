"""The Gaussian of variational information distillation: its limits and the variance that it learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmkd.losses import vid

MEAN = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
TEACHER = torch.tensor([[2.0, 2.0], [0.0, 1.0]], dtype=torch.float64)


def test_a_variance_of_one_is_half_the_squared_error() -> None:
    value = vid.vid(MEAN, torch.ones(2, dtype=torch.float64), TEACHER)
    assert value.item() == pytest.approx((1 + 0 + 9 + 4) / 4 / 2)


def test_the_best_variance_is_the_mean_squared_error_of_its_channel() -> None:
    variance = torch.tensor([(1 + 9) / 2, (0 + 4) / 2], dtype=torch.float64, requires_grad=True)
    vid.vid(MEAN, variance, TEACHER).backward()
    assert variance.grad.abs().max() < 1e-15


def test_a_channel_that_is_known_well_makes_it_negative() -> None:
    assert vid.vid(MEAN, torch.full((2,), 0.01, dtype=torch.float64), MEAN).item() < 0


@pytest.mark.parametrize("start", [1e-3, 0.5, 5.0, 60.0])
def test_the_variance_starts_where_the_config_says(scene: Callable, start: float) -> None:
    config = vid.Config(teacher="bert", layer=3, modality="text", start_variance=start)
    alpha = vid.Loss(config, scene().setting).alpha
    torch.testing.assert_close(torch.nn.functional.softplus(alpha) + 1e-5, torch.full((6,), start), rtol=1e-4, atol=0)
