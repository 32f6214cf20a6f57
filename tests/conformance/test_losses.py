"""What every loss must hold, whatever its formula, and its formula. Runs over all kinds by discovery."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from conformance.discovery import Case, cases
from conformance.scene import Scene, make_scene
from mmkd.config.plugins import kinds

CASES = cases()
RANDOM_SCENES, SLOW_SCENES = 20, 10_000


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for leaf in found:
        torch.testing.assert_close(found[leaf], expected[leaf], rtol=1e-10, atol=1e-12)


def test_every_kind_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(kinds("losses"))


def test_equals_the_formula_of_its_paper(case: Case) -> None:
    """Value and gradient to 1e-10, against a loop over scalars; the gradients of the term's own parameters too."""
    if case.formula is None:
        pytest.fail(f"write tests/conformance/kinds/{case.kind}.py, with the formula as a loop over scalars")
    found, expected = make_scene(), make_scene()
    ours, theirs = case.loss(found), case.loss(expected)
    value, looped = found.value(ours), case.formula(theirs, expected)
    assert value.item() == pytest.approx(looped.item(), rel=1e-10, abs=1e-12)
    value.backward()
    looped.backward()
    for name, leaf in found.leaves.items():
        own, other = leaf.grad, expected.leaves[name].grad
        if own is None and other is None:
            continue
        zero = torch.zeros_like(leaf)
        torch.testing.assert_close(
            zero if own is None else own, zero if other is None else other, rtol=1e-9, atol=1e-11
        )
    for (name, own), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in (own, other)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")


def test_needs_name_all_that_it_reads(case: Case) -> None:
    """With everything else taken away from the teachers, the value is the same."""
    scene = make_scene()
    given = {}
    for needs in case.config.teacher_needs():
        full, before = scene.teachers[needs.teacher], given.get(needs.teacher)
        logits = {task: full.logits[task] for task in needs.tasks}
        hidden = {m: {n: layers[n] for n in needs.layers if n in layers} for m, layers in full.hidden.items()}
        pooled = full.pooled if needs.pooled else {}
        if before is not None:  # two needs of one teacher
            logits, pooled = {**before.logits, **logits}, {**before.pooled, **pooled}
            hidden = {m: {**before.hidden[m], **hidden[m]} for m in hidden}
        given[needs.teacher] = replace(full, logits=logits, pooled=pooled, hidden=hidden)
        assert needs.modality is None or needs.modality in full.has
    loss, again = case.loss(scene), case.loss(scene)
    assert seeded(replace(scene, teachers=given), loss) == seeded(scene, again)
    assert set(case.config.student_needs().looks) <= set(scene.student.looks)
    for modality, layer in case.config.student_needs().layers:
        assert (scene.setting.student.depth[modality] - 1 if layer is None else layer) in scene.student.hidden[modality]


def seeded(scene: Scene, loss: torch.nn.Module) -> Tensor:
    """The value, with the same random numbers each time."""
    torch.manual_seed(5)
    return scene.value(loss)


def seeded_gradients(scene: Scene, loss: torch.nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(5)
    return scene.gradients(loss)


def test_what_is_absent_changes_nothing(case: Case) -> None:
    """NaN, 0 or a million in all that is padded, cut, unlabelled or absent: same value, same gradients, 0 there."""
    plain = make_scene(filler=0.0)
    expected, value = seeded_gradients(plain, case.loss(plain)), seeded(plain, case.loss(plain))
    assert expected
    for filler in (math.nan, 1e6):
        other = make_scene(filler=filler)
        assert_same(seeded_gradients(other, case.loss(other)), expected)
        torch.testing.assert_close(seeded(other, case.loss(other)), value, rtol=1e-12, atol=0)
    for leaf, gradient in expected.items():
        absent = make_scene(filler=math.nan).leaves[leaf].isnan()
        assert absent.any()
        assert not gradient[absent].any()


def test_the_order_of_examples_changes_nothing(case: Case) -> None:
    if case.config.draws:
        pytest.skip("its random numbers go by the place in the batch")
    order = (5, 0, 6, 3, 2, 4, 1)
    plain, shuffled = make_scene(), make_scene(examples=order)
    torch.testing.assert_close(shuffled.value(case.loss(plain)), plain.value(case.loss(plain)), rtol=1e-11, atol=1e-14)
    expected = {leaf: gradient[list(order)] for leaf, gradient in plain.gradients(case.loss(plain)).items()}
    assert_same(shuffled.gradients(case.loss(plain)), expected)


def test_no_row_gives_zero_and_a_zero_gradient(case: Case) -> None:
    """Zero, and not absent: the optimizer and the weighting find a graph."""
    scene = make_scene()
    usual = scene.gradients(case.loss(scene))
    loss = case.loss(scene)
    empty = make_scene(silent=tuple(range(7)))
    assert empty.value(loss).item() == 0
    gradients = empty.gradients(loss)
    assert gradients.keys() == usual.keys()
    assert not any(gradient.any() for gradient in gradients.values())
    assert not any(p.grad is not None and p.grad.any() for p in loss.parameters())


def test_one_row_is_finite(case: Case) -> None:
    one = make_scene(silent=(1, 2, 3, 4, 5, 6))
    value = one.value(case.loss(one))
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in one.gradients(case.loss(one)).values())
    expected = case.fact("ONE_ROW", "positive")
    assert expected in ("positive", "zero", "finite")
    assert expected == "finite" or (value == 0 if expected == "zero" else value > 0)


@pytest.mark.parametrize("extreme", [{"scale": 120.0}, {"constant": True}, {"scale": 0.0}, {"scale": 1e-6}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_extremes_are_finite(case: Case, extreme: dict, dtype: torch.dtype) -> None:
    """Logits hundreds apart, all numbers equal, all 0, all tiny; in every precision; values at least float32."""
    wild = make_scene(dtype=dtype, **extreme)
    loss = case.loss(wild).float()
    value = wild.value(loss)
    assert value.dtype == torch.float32
    assert value.isfinite()
    least = case.fact("LEAST", 0.0)
    assert least is None or value >= least - 1e-5
    # A gradient above 1e6 would be inf in float16.
    assert all(gradient.isfinite().all() for gradient in wild.gradients(loss).values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in loss.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(case: Case, dtype: torch.dtype) -> None:
    """Half-precision inputs give what the same numbers give in float64, to float32's precision."""
    half, exact = make_scene(dtype=dtype), make_scene()
    found = seeded(half, case.loss(half).float())
    with torch.no_grad():
        for leaves, rounded in ((exact.leaves, half.leaves), (exact.taught, half.taught)):
            for leaf, values in leaves.items():
                values.copy_(rounded[leaf].double())
    expected = seeded(exact, case.loss(exact))
    torch.testing.assert_close(found.double(), expected, rtol=case.fact("HALF_RTOL", 1e-5), atol=1e-6)


def test_no_gradient_reaches_a_teacher(case: Case) -> None:
    scene = make_scene()
    scene.value(case.loss(scene)).backward()
    assert all(leaf.requires_grad and leaf.grad is None for leaf in scene.taught.values())


def test_a_shift_of_all_logits_changes_nothing(case: Case) -> None:
    """Adding a number to all logits of a row, another for each row, leaves its probabilities as they are."""
    if case.shifts is None:
        pytest.skip("reads no logits of one task, or values")
    plain, moved = make_scene(), make_scene()
    with torch.no_grad():
        for leaf in [*moved.leaves.values(), *moved.taught.values()]:
            leaf += torch.arange(7.0).view(-1, *[1] * (leaf.ndim - 1)) * 3 - 8
    found, expected = seeded(moved, case.loss(moved)), seeded(plain, case.loss(plain))
    if case.shifts:
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)
    else:
        assert abs(found - expected) > 1e-3 * abs(expected)


def test_agreement_is_zero(case: Case) -> None:
    """A student that says what the teacher says has nothing to learn: value 0, and no gradient."""
    if not case.config.zero_where_equal:
        pytest.skip("not 0 by its paper, or its parameters stand between student and teacher")
    scene = make_scene()
    (teacher,) = {needs.teacher for needs in case.config.teacher_needs()}
    with torch.no_grad():
        for name, leaf in scene.leaves.items():
            taught = scene.taught.get(name.replace("student", teacher, 1))
            if taught is not None and taught.shape == leaf.shape:
                both = ~(leaf.isnan() | taught.isnan())
                leaf[both] = taught[both]
    loss = case.loss(scene)
    assert abs(scene.value(loss).item()) < 1e-12
    # Where a distance is a root, the gradient of rounding is all that is left.
    assert all(gradient.nan_to_num().abs().max() < 1e-6 for gradient in scene.gradients(loss).values())


def test_the_gradient_keeps_its_size_when_the_temperature_changes(case: Case) -> None:
    key = case.fact("STEADY", None)
    if key is None:
        pytest.skip("has no such temperature")
    sizes = []
    for temperature in (50.0, 100.0):
        scene = make_scene()
        own = replace(case, config=case.config.model_copy(update={key: temperature}))
        gradients = scene.gradients(own.loss(scene)).values()
        sizes.append(math.sqrt(sum(float(gradient.nan_to_num().square().sum()) for gradient in gradients)))
    assert sizes[0] > 0
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_the_value_does_not_jump_where_a_coefficient_is_zero(case: Case) -> None:
    keys = [key for key in case.fact("COEFFICIENTS", ()) if isinstance(getattr(case.config, key), float | int)]
    if not keys:
        pytest.skip("has no such coefficient")
    for key in keys:
        values = []
        for coefficient in (0.0, 1e-9):
            scene = make_scene()
            own = replace(case, config=case.config.model_copy(update={key: coefficient}))
            values.append(seeded(scene, own.loss(scene)).item())
        assert values[1] == pytest.approx(values[0], abs=1e-6)


def test_the_gradient_is_that_of_finite_differences(case: Case) -> None:
    if case.fact("NOT_A_GRADIENT", None):
        pytest.skip(case.fact("NOT_A_GRADIENT", None))
    scene = make_scene(filler=0.0)
    loss = case.loss(scene)
    generator = torch.Generator().manual_seed(2)
    gradients = seeded_gradients(scene, loss)
    for name, gradient in gradients.items():
        leaf = scene.leaves[name]
        direction = torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype)
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                leaf += step * direction
                ends.append(seeded(scene, case.loss(scene)).item())
                leaf -= step * direction
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-7)


def check_random_scenes(case: Case, number: int) -> None:
    """Logits and features of any scale, any examples silent or missing from the batch: finite, with its gradient."""
    generator = torch.Generator().manual_seed(11)
    scene = make_scene()
    loss = case.loss(scene).float()
    for draw in range(number):
        scale = float(10 ** (torch.rand((), generator=generator) * 6 - 3))
        kept = torch.rand(7, generator=generator) < torch.rand((), generator=generator)
        silent = tuple(n for n in range(7) if not kept[n])
        scene = make_scene(dtype=torch.float32, silent=silent, scale=scale, seed=draw)
        value = scene.value(loss)
        assert value.isfinite(), f"draw {draw}: {value}"
        for name, gradient in scene.gradients(loss).items():
            assert gradient.isfinite().all(), f"draw {draw}: gradient of {name}"


def test_random_scenes_are_finite(case: Case) -> None:
    check_random_scenes(case, RANDOM_SCENES)


@pytest.mark.slow
def test_ten_thousand_random_scenes_are_finite(case: Case) -> None:
    check_random_scenes(case, SLOW_SCENES)
