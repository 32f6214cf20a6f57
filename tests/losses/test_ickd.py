"""Cells of a grid, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from mmkd.losses import ickd
from mmkd.losses._positions import Positions


def build(scene: Callable, **keys: object) -> ickd.Loss:
    return ickd.Loss(ickd.Config(**{"teacher": "vit", "layer": 2, "modality": "image", **keys}), scene().setting)


def positions(grid: tuple[int, int] | None) -> Positions:
    return Positions(torch.zeros(1, 12, 3), torch.zeros(1, 12, 2), torch.ones(1, 12, dtype=torch.bool), grid)


def test_a_grid_is_cut_into_cells(scene: Callable) -> None:
    """3 x 4 positions in 2 x 3 cells: rows 0 and 1 lie in the upper ones, columns 0 and 1 in the left ones."""
    found = build(scene, cells=[2, 3]).cells(positions((3, 4)))
    assert found.view(3, 4).tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 4, 5]]


@pytest.mark.parametrize("grid", [(1, 12), (6, 2), None])
def test_more_cells_than_positions_are_refused(scene: Callable, grid: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match="expected at least `cells`, 2 x 3"):
        build(scene, cells=[2, 3]).cells(positions(grid))


def test_cells_of_text_are_refused() -> None:
    with pytest.raises(ValidationError, match="words have no grid"):
        ickd.Config(teacher="bert", layer=3, modality="text", cells=[2, 1])


def test_a_known_matrix() -> None:
    """Two positions: ((1, 2) and (3, 0)) give the products (10, 2) and (2, 4), over 2; a third is not kept."""
    values = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [9.0, 9.0]]])
    keep = torch.tensor([[True, True, False]])
    found = ickd.products(values, keep, torch.zeros(3, dtype=torch.long), 1)
    assert found.tolist() == [[[[5.0, 1.0], [1.0, 2.0]]]]


def test_how_large_the_features_are_plays_no_part() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 1, 4, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ickd.ickd(7 * student, teacher), ickd.ickd(student, teacher))
    assert ickd.ickd(7 * teacher, teacher) < 1e-12


def test_the_function_by_itself_leaves_a_teacher_alone() -> None:
    student, teacher = (torch.rand(2, 1, 3, 3, requires_grad=True) for _ in range(2))
    ickd.ickd(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_a_cell_of_which_nothing_is_kept_is_zero() -> None:
    keep = torch.tensor([[True, False]])
    found = ickd.products(torch.full((1, 2, 1), 2.0), keep, torch.tensor([0, 1]), 2)
    assert found.flatten().tolist() == [4.0, 0.0]
