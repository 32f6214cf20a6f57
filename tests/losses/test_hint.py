"""FitNets' loss against a loop over positions, and how image grids are brought together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mmkd.losses import _positions, hint
from mmkd.types import Hidden


def squared_error(loss: hint.Loss, own: list[list[float]], taught: list[list[float]]) -> float:
    """Projection and mean squared error, number by number."""
    weight, bias = loss.projection.weight.tolist(), loss.projection.bias.tolist()
    errors = [
        (sum(w * x for w, x in zip(weight[d], x_row, strict=True)) + bias[d] - y_row[d]) ** 2
        for x_row, y_row in zip(own, taught, strict=True)
        for d in range(len(bias))
    ]
    return sum(errors) / len(errors)


def build(scene: Callable, **keys: object) -> hint.Loss:
    torch.manual_seed(0)
    return hint.Loss(hint.Config(**keys), scene().setting).double()


def test_words_that_both_kept(scene: Callable) -> None:
    loss, scene = build(scene, teacher="bert", layer=3, modality="text"), scene()
    kept = [(0, 0), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (3, 3), (5, 0)]
    own = [scene.student.hidden["text"][1].values[place].tolist() for place in kept]
    taught = [scene.teachers["bert"].hidden["text"][3].values[place].tolist() for place in kept]
    assert scene.value(loss).item() == pytest.approx(squared_error(loss, own, taught), rel=1e-10)


def test_image_cells_are_averaged_to_the_teachers_grid(scene: Callable) -> None:
    """The student's 4 x 4 cells onto the teacher's 2 x 2: means of blocks of four, computed one by one."""
    loss, scene = build(scene, teacher="vit", layer=2, modality="image"), scene()
    own, taught = [], []
    for example in (0, 1, 2, 4, 5):
        cells = scene.student.hidden["image"][1].values[example].tolist()
        target = scene.teachers["vit"].hidden["image"][2].values[example].tolist()
        for row in range(2):
            for column in range(2):
                block = [cells[4 * (2 * row + i) + 2 * column + j] for i in range(2) for j in range(2)]
                own.append([sum(cell[d] for cell in block) / 4 for d in range(3)])
                taught.append(target[2 * row + column])
    assert scene.value(loss).item() == pytest.approx(squared_error(loss, own, taught), rel=1e-10)


def test_gradient_is_that_of_the_formula(scene: Callable) -> None:
    """2 (W x + b - y) W / (number of elements), written out for the words."""
    loss, scene = build(scene, teacher="bert", layer=3, modality="text"), scene()
    gradient = scene.gradients(loss)["student.hidden_text"]
    keep = scene.student.words & scene.teachers["bert"].words
    weight, bias = loss.projection.weight.detach(), loss.projection.bias.detach()
    taught = scene.teachers["bert"].hidden["text"][3].values.detach()
    for b, w in keep.nonzero().tolist():
        x = scene.leaves["student.hidden_text"][b, w].detach()
        expected = 2 * (weight @ x + bias - taught[b, w]) @ weight / (int(keep.sum()) * len(bias))
        torch.testing.assert_close(gradient[b, w], expected, rtol=1e-10, atol=1e-14)


def test_a_projected_student_that_equals_the_teacher_is_zero() -> None:
    values = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = hint.hint(values, values.detach())
    value.backward()
    assert value == 0
    assert not values.grad.any()


def test_a_coarser_student_repeats_its_cells() -> None:
    values = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    student = Hidden(values, torch.ones(1, 4, dtype=torch.bool), (2, 2))
    teacher = Hidden(torch.zeros(1, 16, 1), torch.ones(1, 16, dtype=torch.bool), (4, 4))
    expected = [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]
    assert _positions.aligned(student, teacher).values.flatten().tolist() == expected


def test_rows_and_columns_of_a_grid_are_not_confused() -> None:
    """Two rows of four cells, brought to 2 x 2, average neighbours in a row."""
    student = Hidden(torch.arange(8.0).view(1, 8, 1), torch.ones(1, 8, dtype=torch.bool), (2, 4))
    teacher = Hidden(torch.zeros(1, 4, 1), torch.ones(1, 4, dtype=torch.bool), (2, 2))
    assert _positions.aligned(student, teacher).values.flatten().tolist() == [0.5, 2.5, 4.5, 6.5]


def test_equal_grids_are_left_alone(scene: Callable) -> None:
    layer = scene().student.hidden["image"][1]
    assert _positions.aligned(layer, replace(layer)) is layer


def test_a_cell_that_is_not_there_is_not_averaged() -> None:
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    student = Hidden(torch.ones(2, 4, 1), mask, (2, 2))
    teacher = Hidden(torch.zeros(2, 1, 1), torch.ones(2, 1, dtype=torch.bool), (1, 1))
    assert _positions.aligned(student, teacher).mask.tolist() == [[False], [True]]


def test_other_positions_without_a_grid_are_refused() -> None:
    student = Hidden(torch.zeros(1, 3, 2), torch.ones(1, 3, dtype=torch.bool))
    teacher = Hidden(torch.zeros(1, 4, 2), torch.ones(1, 4, dtype=torch.bool), (2, 2))
    with pytest.raises(ValueError, match="3 positions, the teacher 4"):
        _positions.aligned(student, teacher)


def test_the_projection_belongs_to_the_term(scene: Callable) -> None:
    loss = build(scene, teacher="vit", layer=2, modality="image")
    assert {name: tuple(value.shape) for name, value in loss.state_dict().items()} == {
        "projection.weight": (2, 3),
        "projection.bias": (2,),
    }


def test_control_the_sum_in_place_of_the_mean(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(hint, "mean_or_zero", torch.sum)
    with pytest.raises(AssertionError):
        test_words_that_both_kept(scene)


def test_control_words_of_one_tokenizer_only(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    """With the teacher's own mask ignored, words that only the student kept come in."""
    right = _positions.aligned

    def wrong(student: Hidden, teacher: Hidden) -> Hidden:
        if student.grid is None:
            teacher.mask.logical_or_(student.mask)
        return right(student, teacher)

    monkeypatch.setattr(_positions, "aligned", wrong)
    with pytest.raises(AssertionError):
        test_words_that_both_kept(scene)
