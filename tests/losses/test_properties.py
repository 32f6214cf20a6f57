"""What every loss must hold, whatever its formula; each property with a control that it can fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import LossConfig, TaskLossConfig
from mmkd.config.plugins import kinds
from mmkd.losses import _math, affinity, binary_kl, cross_feature, feature, hint, logit_kl, regression, supervised
from mmkd.tasks import multilabel, regress
from mmkd.types import rows_of

CASES: dict[str, tuple[object, LossConfig]] = {
    "supervised_classify": (supervised, supervised.Config(task="sentiment")),
    "supervised_ordinal": (supervised, supervised.Config(task="risk")),
    "supervised_tag": (supervised, supervised.Config(task="ner")),
    "supervised_multilabel": (supervised, supervised.Config(task="topics")),
    "supervised_regress": (supervised, supervised.Config(task="stress")),
    "logit_kl_text": (logit_kl, logit_kl.Config(task="sentiment", teacher="bert")),
    "logit_kl_image": (logit_kl, logit_kl.Config(task="risk", teacher="vit", temperature=2)),
    "logit_kl_words": (logit_kl, logit_kl.Config(task="ner", teacher="bert", temperature=1)),
    "logit_kl_standardize": (logit_kl, logit_kl.Config(task="risk", teacher="bert", standardize=True)),
    "binary_kl_text": (binary_kl, binary_kl.Config(task="topics", teacher="bert")),
    "binary_kl_image": (binary_kl, binary_kl.Config(task="topics", teacher="vit", temperature=3)),
    "regression_text": (regression, regression.Config(task="stress", teacher="bert")),
    "regression_huber": (regression, regression.Config(task="stress", teacher="vit", delta=0.5)),
    "regression_bounded": (regression, regression.Config(task="stress", teacher="bert", teacher_bounded=True)),
    "regression_bounded_huber": (
        regression,
        regression.Config(task="stress", teacher="vit", delta=0.5, teacher_bounded=True, margin=0.7),
    ),
    "hint_text": (hint, hint.Config(teacher="bert", layer=3, modality="text")),
    "hint_image": (hint, hint.Config(teacher="vit", layer=2, modality="image", student_layer=1)),
    "feature_text": (feature, feature.Config(teacher="bert", modality="text")),
    "feature_image": (feature, feature.Config(teacher="vit", modality="image")),
    "cross_feature_text": (cross_feature, cross_feature.Config(teacher="vit", to="text")),
    "cross_feature_image": (cross_feature, cross_feature.Config(teacher="bert", to="image", distance="mse")),
    "cross_feature_fused": (cross_feature, cross_feature.Config(teacher="vit", to="fused")),
    "affinity": (affinity, affinity.Config(text="bert", image="vit", temperature=0.3)),
}
OVER_CLASSES = ("sentiment", "risk", "ner")
SHIFT_INVARIANT = [
    name for name, (_, config) in CASES.items() if isinstance(config, TaskLossConfig) and config.task in OVER_CLASSES
]


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def build(name: str, scene: Callable) -> nn.Module:
    module, config = CASES[name]
    torch.manual_seed(3)
    return module.Loss(config, scene().setting).double()


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for leaf in found:
        torch.testing.assert_close(found[leaf], expected[leaf], rtol=1e-10, atol=1e-12)


def test_every_loss_is_here() -> None:
    here = {config.kind for _, config in CASES.values()}
    assert here == set(kinds("losses"))


def test_needs_name_what_the_loss_reads(name: str, scene: Callable) -> None:
    """With everything else taken away from the teachers, the value is the same."""
    scene = scene()
    _, config = CASES[name]
    given = {}
    for needs in config.teacher_needs():
        full = scene.teachers[needs.teacher]
        given[needs.teacher] = replace(
            full,
            logits={task: full.logits[task] for task in needs.tasks},
            pooled=full.pooled if needs.pooled else {},
            hidden={m: {n: layers[n] for n in needs.layers} for m, layers in full.hidden.items()},
        )
        assert needs.modality is None or needs.modality in full.has
    loss = build(name, lambda: scene)
    assert replace(scene, teachers=given).value(loss) == scene.value(loss)
    for modality, layer in config.student_needs().layers:
        assert (scene.setting.student.depth[modality] - 1 if layer is None else layer) in scene.student.hidden[modality]


def test_what_is_absent_changes_nothing(name: str, scene: Callable) -> None:
    """NaN, 0 or a million in all that is padded, cut, unlabelled or absent: same value, same gradients, 0 there."""
    loss = build(name, scene)
    plain = scene(filler=0.0)
    expected, value = plain.gradients(loss), plain.value(loss)
    assert expected
    for filler in (math.nan, 1e6):
        other = scene(filler=filler)
        assert_same(other.gradients(loss), expected)
        torch.testing.assert_close(other.value(loss), value, rtol=1e-12, atol=0)
    for leaf, gradient in expected.items():
        absent = scene(filler=math.nan).leaves[leaf].isnan()
        assert absent.any()
        assert not gradient[absent].any()


def test_order_of_examples_changes_nothing(name: str, scene: Callable) -> None:
    order = (5, 0, 6, 3, 2, 4, 1)
    loss = build(name, scene)
    plain, shuffled = scene(), scene(examples=order)
    torch.testing.assert_close(shuffled.value(loss), plain.value(loss), rtol=1e-12, atol=0)
    expected = {leaf: gradient[list(order)] for leaf, gradient in plain.gradients(loss).items()}
    assert_same(shuffled.gradients(loss), expected)


def test_no_row_is_zero_with_zero_gradient(name: str, scene: Callable) -> None:
    """Zero, and not absent: the optimizer and the weighting find a graph."""
    loss = build(name, scene)
    usual = scene().gradients(loss)
    loss.zero_grad()
    empty = scene(silent=tuple(range(7)))
    assert empty.value(loss).item() == 0
    gradients = empty.gradients(loss)
    assert gradients.keys() == usual.keys()
    assert not any(gradient.any() for gradient in gradients.values())
    assert not any(parameter.grad.any() for parameter in loss.parameters())


def test_one_row_is_finite(name: str, scene: Callable) -> None:
    loss = build(name, scene)
    one = scene(silent=(1, 2, 3, 4, 5, 6))
    assert one.value(loss).isfinite()
    assert all(gradient.isfinite().all() for gradient in one.gradients(loss).values())
    if name == "affinity":
        assert one.value(loss) == 0
    else:
        assert one.value(loss) > 0


@pytest.mark.parametrize("extreme", [{"scale": 120.0}, {"constant": True}, {"scale": 0.0}, {"scale": 1e-6}])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_are_finite(name: str, extreme: dict, dtype: torch.dtype, scene: Callable) -> None:
    """Logits hundreds apart, all numbers equal, all 0, all tiny; in every precision; values at least float32."""
    loss = build(name, scene).float()
    wild = scene(dtype=dtype, **extreme)
    value = wild.value(loss)
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert value >= -1e-5
    gradients = wild.gradients(loss)
    # A gradient above 1e6 would be inf in float16.
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype, scene: Callable) -> None:
    """Half-precision inputs give what the same numbers give in float64, to float32's precision."""
    loss = build(name, scene).float()
    half = scene(dtype=dtype)
    found = half.value(loss)
    exact = scene()
    with torch.no_grad():
        for leaves, rounded in ((exact.leaves, half.leaves), (exact.taught, half.taught)):
            for leaf, values in leaves.items():
                values.copy_(rounded[leaf].double())
    torch.testing.assert_close(found.double(), exact.value(loss.double()), rtol=1e-5, atol=1e-6)


def test_no_gradient_reaches_a_teacher(name: str, scene: Callable) -> None:
    scene = scene()
    scene.value(build(name, lambda: scene)).backward()
    assert all(leaf.requires_grad and leaf.grad is None for leaf in scene.taught.values())


@pytest.mark.parametrize("shifted", SHIFT_INVARIANT)
def test_a_shift_of_all_logits_changes_nothing(shifted: str, scene: Callable) -> None:
    """Adding a number to all logits of a row, another for each row, leaves its probabilities as they are."""
    loss = build(shifted, scene)
    plain, moved = scene(), scene()
    with torch.no_grad():
        for leaf in [*moved.leaves.values(), *moved.taught.values()]:
            leaf += torch.arange(7.0).view(-1, *[1] * (leaf.ndim - 1)) * 3 - 8
    torch.testing.assert_close(moved.value(loss), plain.value(loss), rtol=1e-10, atol=0)


@pytest.mark.parametrize("moved", ["supervised_multilabel", "binary_kl_text", "supervised_regress"])
def test_a_shift_of_labels_or_values_changes_the_value(moved: str, scene: Callable) -> None:
    """No softmax here: labels do not rule one another out, and a value is where it is."""
    fails(test_a_shift_of_all_logits_changes_nothing, moved, scene)


# Controls: with a guard taken out, the property's own test fails.


def fails(test: Callable, *arguments: object, **named: object) -> None:
    with pytest.raises(AssertionError):
        test(*arguments, **named)


def test_control_padding_counted_as_rows(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    everything = lambda level, batch, *outputs: torch.ones_like(rows_of(level, batch))  # noqa: E731
    monkeypatch.setattr(logit_kl, "rows_of", everything)
    fails(test_what_is_absent_changes_nothing, "logit_kl_words", scene)


def test_control_words_that_one_tokenizer_dropped(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(logit_kl, "rows_of", lambda level, batch, student, teacher: rows_of(level, batch, student))
    fails(test_what_is_absent_changes_nothing, "logit_kl_words", scene)


def test_control_multiplying_by_the_mask(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    """0 * NaN is NaN: a mask as a factor instead of a selection."""

    def forward(loss: hint.Loss, student: object, teachers: dict, batch: object) -> Tensor:
        target = teachers["bert"].hidden["text"][3]
        own = student.hidden["text"][loss.student_layer]
        keep = (own.mask & target.mask)[..., None]
        error = (loss.projection(own.values) - target.values).square() * keep
        return error.sum() / (keep.sum() * 6).clamp(min=1)

    monkeypatch.setattr(hint.Loss, "forward", forward)
    fails(test_what_is_absent_changes_nothing, "hint_text", scene)


def test_control_a_plain_mean(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(hint, "mean_or_zero", torch.mean)
    fails(test_no_row_is_zero_with_zero_gradient, "hint_text", scene)


def test_control_a_constant_zero(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    """A 0 that is no part of the graph."""
    zero = lambda values: values.mean() if values.numel() else torch.zeros((), requires_grad=True)  # noqa: E731
    monkeypatch.setattr(hint, "mean_or_zero", zero)
    fails(test_no_row_is_zero_with_zero_gradient, "hint_text", scene)


@pytest.mark.parametrize(
    "attached",
    ["logit_kl_text", "hint_text", "cross_feature_text", "binary_kl_text", "regression_text"],
)
def test_control_teacher_not_detached(attached: str, monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(Tensor, "detach", lambda values: values)
    fails(test_no_gradient_reaches_a_teacher, attached, scene)


def test_control_teachers_of_affinity_not_detached(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(Tensor, "detach", lambda values: values)
    fails(test_no_gradient_reaches_a_teacher, "affinity", scene)


def test_control_half_precision_kept(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(logit_kl, "full_precision", lambda values: values)
    fails(test_half_precision_is_computed_in_float32, "logit_kl_text", torch.bfloat16, scene)


@pytest.mark.parametrize(("module", "kept"), [(binary_kl, "binary_kl_text"), (regression, "regression_text")])
def test_control_half_precision_of_labels_and_values_kept(
    module: object, kept: str, monkeypatch: pytest.MonkeyPatch, scene: Callable
) -> None:
    monkeypatch.setattr(module, "full_precision", lambda values: values)
    fails(test_half_precision_is_computed_in_float32, kept, torch.bfloat16, scene)


@pytest.mark.parametrize(
    ("task", "name"), [(multilabel.Task, "supervised_multilabel"), (regress.Task, "supervised_regress")]
)
def test_control_a_row_without_a_label(task: type, name: str, monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(task, "labelled_rows", lambda task, batch: torch.ones_like(batch.has_text))
    fails(test_what_is_absent_changes_nothing, name, scene)


def test_control_a_bound_without_a_label(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    """The teacher speaks and the row has no label: the error against it is none."""
    monkeypatch.setattr(regress.Task, "labelled_rows", lambda task, batch: torch.ones_like(batch.has_text))
    fails(test_what_is_absent_changes_nothing, "regression_bounded", scene)


@pytest.mark.parametrize("name", ["binary_kl_text", "regression_text", "regression_bounded"])
def test_control_a_plain_mean_of_labels_and_values(name: str, monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(CASES[name][0], "mean_or_zero", torch.mean)
    fails(test_no_row_is_zero_with_zero_gradient, name, scene)


@pytest.mark.parametrize("name", ["binary_kl_text", "regression_text"])
def test_control_rows_where_the_teacher_is_silent(name: str, monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(
        CASES[name][0], "rows_of", lambda level, batch, student, teacher: rows_of(level, batch, student)
    )
    fails(test_what_is_absent_changes_nothing, name, scene)


def test_control_logs_of_sigmoids(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    """log(sigmoid) instead of logsigmoid."""
    monkeypatch.setattr(binary_kl.functional, "logsigmoid", lambda values: values.sigmoid().log())
    fails(test_extremes_are_finite, "binary_kl_text", {"scale": 120.0}, torch.float32, scene)


def test_control_deviation_without_floor(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(logit_kl, "SMALLEST_DEVIATION", 0.0)
    fails(test_extremes_are_finite, "logit_kl_standardize", {"constant": True}, torch.float32, scene)


def test_control_norm_without_floor(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    monkeypatch.setattr(_math, "SMALLEST_NORM", 0.0)
    fails(test_extremes_are_finite, "affinity", {"scale": 0.0}, torch.float32, scene)


def test_control_logs_of_probabilities(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    """log(softmax) instead of log_softmax."""
    monkeypatch.setattr(Tensor, "log_softmax", lambda values, dim: values.softmax(dim).log())
    name = "logit_kl_words"
    fails(test_extremes_are_finite, name, {"scale": 120.0}, torch.float32, scene)


def test_control_an_example_that_lacks_the_modality(monkeypatch: pytest.MonkeyPatch, scene: Callable) -> None:
    def forward(loss: cross_feature.Loss, student: object, teachers: dict, batch: object) -> Tensor:
        rows = teachers["vit"].has["image"]
        return cross_feature.cross_feature(
            loss.projection(student.pooled["text"][rows]), teachers["vit"].pooled["image"][rows], "cosine"
        )

    monkeypatch.setattr(cross_feature.Loss, "forward", forward)
    fails(test_what_is_absent_changes_nothing, "cross_feature_text", scene)
