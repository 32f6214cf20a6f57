"""The affinity term against a scalar loop over pairs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmkd.losses import affinity as module
from mmkd.losses._math import kl_divergence
from mmkd.losses.affinity import affinity, similarities


def cosine(a: list[Tensor], b: list[Tensor]) -> Tensor:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / torch.sqrt(sum(x * x for x in a)) / torch.sqrt(sum(y * y for y in b))


def divergence(target: list[Tensor], own: list[Tensor]) -> Tensor:
    p = [torch.exp(x) / sum(torch.exp(y) for y in target) for x in target]
    q = [torch.exp(x) / sum(torch.exp(y) for y in own) for x in own]
    return sum(a * torch.log(a / b) for a, b in zip(p, q, strict=True))


def loop(text: Tensor, image: Tensor, teacher_text: Tensor, teacher_image: Tensor, temperature: float) -> Tensor:
    """Text i over the images, against text i over the texts of its teacher; image i likewise; pair by pair."""
    t, v, tt, tv = ([list(row.unbind()) for row in part] for part in (text, image, teacher_text, teacher_image))
    rows, total = range(len(t)), torch.zeros((), dtype=torch.float64)
    for i in rows:
        to_images = [cosine(t[i], v[j]) / temperature for j in rows]
        to_texts = [cosine(t[j], v[i]) / temperature for j in rows]
        total = total + divergence([cosine(tt[i], tt[j]) / temperature for j in rows], to_images)
        total = total + divergence([cosine(tv[i], tv[j]) / temperature for j in rows], to_texts)
    return total / (2 * len(t))


def features(rows: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(rows, width, generator=generator, dtype=torch.float64) for width in (3, 3, 5, 2)]
    return [part.requires_grad_(place < 2) for place, part in enumerate(parts)]


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_equals_the_loop(temperature: float) -> None:
    parts = features()
    found, expected = affinity(*parts, temperature), loop(*parts, temperature)
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    for a, b in zip(torch.autograd.grad(found, parts[:2]), torch.autograd.grad(expected, parts[:2]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_term_takes_rows_that_all_have(scene: Callable) -> None:
    scene = scene()
    rows = [0, 1, 2, 5]
    loss = module.Loss(module.Config(text="bert", image="vit", temperature=0.4), scene.setting)
    parts = (scene.student.pooled["text"], scene.student.pooled["image"])
    taught = (scene.teachers["bert"].pooled["text"], scene.teachers["vit"].pooled["image"])
    expected = loop(*(part[rows] for part in (*parts, *taught)), 0.4)
    assert scene.value(loss).item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize(
    ("owner", "modality"), [("student", "text"), ("student", "image"), ("bert", "text"), ("vit", "image")]
)
def test_each_network_and_modality_can_take_a_row_away(owner: str, modality: str, scene: Callable) -> None:
    """Example 0 lacks one modality for one network alone: it is no row, whichever it is."""
    scene = scene()
    network = scene.student if owner == "student" else scene.teachers[owner]
    network.has[modality][0] = False
    rows = [1, 2, 5]
    loss = module.Loss(module.Config(text="bert", image="vit", temperature=0.4), scene.setting)
    parts = (scene.student.pooled["text"], scene.student.pooled["image"])
    taught = (scene.teachers["bert"].pooled["text"], scene.teachers["vit"].pooled["image"])
    expected = loop(*(part[rows] for part in (*parts, *taught)), 0.4)
    assert scene.value(loss).item() == pytest.approx(expected.item(), rel=1e-10)


def test_a_student_with_the_teachers_geometry_is_zero() -> None:
    """Texts and images at the same places, as both teachers see them: nothing to learn."""
    places = features()[2]
    text, image = places.clone().requires_grad_(), places.clone().requires_grad_()
    value = affinity(text, image, places, 2 * places, 0.2)
    value.backward()
    assert abs(value.item()) < 1e-14
    assert max(text.grad.abs().max(), image.grad.abs().max()) < 1e-13


def test_length_of_a_vector_does_not_count() -> None:
    parts = features()
    sizes = torch.tensor([[0.1], [3.0], [20.0], [1.0]], dtype=torch.float64)
    torch.testing.assert_close(affinity(*(sizes * part for part in parts), 0.3), affinity(*parts, 0.3))


def test_each_direction_learns_from_its_own_teacher() -> None:
    """Exchanging the modalities, teachers included, changes nothing; exchanging the teachers alone does."""
    text, image, teacher_text, teacher_image = features()
    value = affinity(text, image, teacher_text, teacher_image, 0.3)
    torch.testing.assert_close(affinity(image, text, teacher_image, teacher_text, 0.3), value)
    assert abs(affinity(text, image, teacher_image, teacher_text, 0.3) - value) > 1e-3


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_zero_with_zero_gradient(rows: int) -> None:
    parts = features(rows)
    value = affinity(*parts, 0.1)
    value.backward()
    assert value == 0
    assert not any(part.grad.any() for part in parts[:2])


def test_equal_vectors_give_even_distributions() -> None:
    """Student texts all alike: each text is spread evenly, so KL = log R - entropy of the target; by hand for R = 2."""
    same = torch.tensor([[1.0, 2.0], [1.0, 2.0]], dtype=torch.float64)
    taught = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    p = 1 / (1 + math.exp(-1))
    expected = math.log(2) + p * math.log(p) + (1 - p) * math.log(1 - p)
    assert affinity(same, same, taught, taught, 1.0).item() == pytest.approx(expected, rel=1e-12)


def untransposed(
    text: Tensor, image: Tensor, teacher_text: Tensor, teacher_image: Tensor, temperature: float
) -> Tensor:
    own = (similarities(text, image) / temperature).log_softmax(-1)
    targets = (similarities(part, part) / temperature for part in (teacher_text, teacher_image))
    return sum(kl_divergence(target.log_softmax(-1), own).mean() for target in targets) / 2


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(untransposed, id="not transposed"),
        pytest.param(lambda t, v, tt, tv, tau: module.affinity(t, v, tv, tt, tau), id="teachers exchanged"),
        pytest.param(lambda t, v, tt, tv, tau: 2 * module.affinity(t, v, tt, tv, tau), id="sum of directions"),
        pytest.param(lambda t, v, tt, tv, tau: module.affinity(t, v, tt, tv, 1.0), id="without temperature"),
    ],
)
def test_control_known_mistakes_are_told_apart(broken: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "affinity", broken)
    with pytest.raises(AssertionError):
        test_equals_the_loop(0.5)


def test_control_without_unit_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unit", lambda values: values)
    with pytest.raises(AssertionError):
        test_length_of_a_vector_does_not_count()
