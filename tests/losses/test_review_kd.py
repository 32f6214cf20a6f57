"""Sizes of an image's features, other grids, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from conformance.scene import Scene
from mmkd.losses import review_kd
from mmkd.types import Hidden

PAIRS = [[0, 0], [1, 2]]


def build(scene: Scene) -> review_kd.Loss:
    torch.manual_seed(0)
    config = review_kd.Config(teacher="vit", modality="image", pairs=PAIRS, width=2)
    return review_kd.Loss(config, scene.setting).double()


def features(count: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    made, teacher = torch.randn(2, 1, count, 1, generator=generator, dtype=torch.float64)
    return made, teacher, torch.ones(1, count, dtype=torch.bool)


def error(made: Tensor, teacher: Tensor, height: int, width: int, size: int) -> float:
    """Mean squared error of the means over blocks of an image of one channel."""
    errors = []
    for i in range(size):
        for j in range(size):
            rows, columns = (range(n * side // size, (n + 1) * side // size) for n, side in ((i, height), (j, width)))
            cells = [r * width + c for r in rows for c in columns]
            means = [sum(float(each[0, cell, 0]) for cell in cells) / len(cells) for each in (made, teacher)]
            errors.append((means[0] - means[1]) ** 2)
    return sum(errors) / len(errors)


@pytest.mark.parametrize(
    ("grid", "factors"),
    [
        ((8, 8), {4: 1 / 2, 2: 1 / 4, 1: 1 / 8}),
        ((4, 4), {2: 1 / 2, 1: 1 / 4}),
        ((4, 8), {2: 1 / 2, 1: 1 / 4}),
        ((2, 2), {1: 1 / 2}),
        ((1, 1), {}),
    ],
)
def test_sizes_below_the_grid_count_with_falling_factors(grid: tuple[int, int], factors: dict[int, float]) -> None:
    made, teacher, keep = features(grid[0] * grid[1])
    total = (made - teacher).square().mean().item()
    total += sum(factor * error(made, teacher, *grid, size) for size, factor in factors.items())
    expected = total / (1 + sum(factors.values()))
    assert review_kd.review_kd(made, teacher, keep, grid).item() == pytest.approx(expected)


def test_a_deeper_layer_on_a_smaller_grid_is_brought_to_the_lower_ones() -> None:
    values = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    found = review_kd.regridded(values, (2, 2), (2, 4))
    assert found.flatten().tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert review_kd.regridded(values, None, None) is values


def lower_grid(scene: Scene, grid: tuple[int, int] | None, count: int) -> Scene:
    """The scene with another grid of the teacher's lower layer."""
    vit = scene.teachers["vit"]
    values = torch.randn(7, count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lower = Hidden(values, torch.ones(7, count, dtype=torch.bool), grid)
    hidden = {"image": {**vit.hidden["image"], 0: lower}}
    return replace(scene, teachers={**scene.teachers, "vit": replace(vit, hidden=hidden)})


def test_layers_on_unlike_grids_are_joined(scene: Callable) -> None:
    """The student's deeper layer is taught by the teacher's lower one too, on its grid of 4 x 4."""
    found = lower_grid(scene(), (4, 4), 16)
    loss = build(found)
    torch.nn.init.zeros_(loss.outward[1].weight)  # so that the pair above teaches it nothing
    assert found.gradients(loss)["student.hidden_image"].nan_to_num().any()


def test_without_attention_to_it_a_deeper_layer_learns_nothing_of_a_lower_one(scene: Callable) -> None:
    found, loss = scene(), build(scene())
    torch.nn.init.zeros_(loss.outward[1].weight)
    torch.nn.init.zeros_(loss.attention[0].weight)
    with torch.no_grad():
        loss.attention[0].bias.copy_(torch.tensor([0.0, -800.0]))
    gradients = found.gradients(loss)
    assert not gradients["student.hidden_image"].any()
    assert gradients["student.lower_image"].any()


def test_an_image_without_a_grid_is_refused(scene: Callable) -> None:
    found = lower_grid(scene(), None, 16)
    layers = {n: replace(layer, grid=None) for n, layer in found.student.hidden["image"].items()}
    found = replace(
        found, student=replace(found.student, hidden={"image": {**layers, 1: scene().student.hidden["image"][1]}})
    )
    with pytest.raises(ValueError, match="have no grid"):
        found.value(build(found))


@pytest.mark.parametrize("pairs", [[[1, 2], [0, 0]], [[0, 0], [0, 2]]])
def test_pairs_go_from_low_to_high(pairs: list[list[int]]) -> None:
    with pytest.raises(ValidationError, match="from low to high"):
        review_kd.Config(teacher="vit", modality="image", pairs=pairs)


def test_the_function_by_itself_leaves_a_teacher_alone() -> None:
    made, teacher, keep = features(16)
    review_kd.review_kd(made.requires_grad_(), teacher.requires_grad_(), keep, (4, 4)).backward()
    assert made.grad is not None
    assert teacher.grad is None
