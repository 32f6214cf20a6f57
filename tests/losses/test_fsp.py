"""The matrix of two layers, number by number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from mmkd.losses import fsp

KEEP = torch.tensor([[True, True, False]])


def test_a_known_matrix() -> None:
    """Two positions: ((1, 2) x (3,) + (4, 0) x (1,)) / 2."""
    lower = torch.tensor([[[1.0, 2.0], [4.0, 0.0], [99.0, 99.0]]])
    upper = torch.tensor([[[3.0], [1.0], [99.0]]])
    assert fsp.flow(lower, upper, KEEP).tolist() == [[[3.5], [3.0]]]


def test_the_order_of_positions_plays_no_part() -> None:
    lower, upper = torch.randn(1, 3, 2, dtype=torch.float64), torch.randn(1, 3, 4, dtype=torch.float64)
    swapped = [1, 0, 2]
    torch.testing.assert_close(fsp.flow(lower[:, swapped], upper[:, swapped], KEEP), fsp.flow(lower, upper, KEEP))


@pytest.mark.parametrize("pairs", [[[0, 1]], [[0, 1], [1, 3], [1, 3]]])
def test_other_than_two_pairs_are_refused(pairs: list[list[int]]) -> None:
    with pytest.raises(ValidationError, match="pairs"):
        fsp.Config(teacher="bert", modality="text", pairs=pairs)


def test_a_lower_layer_on_another_grid_is_brought_to_the_upper_ones(scene: Callable, regridded: Callable) -> None:
    """The student's 2 x 8 cells go to the teacher's 2 x 2 as well as its 4 x 4 cells do."""
    config = fsp.Config(teacher="vit", modality="image", pairs=[[0, 0], [1, 2]])
    loss = fsp.Loss(config, scene().setting).double()
    value = regridded(scene(), (2, 8)).value(loss)
    assert value.isfinite()
    assert value != scene().value(loss)
