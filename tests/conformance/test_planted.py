"""Bugs of the field, planted one by one: the suite fails, and the property that is meant for the bug is among those.

Each plant changes the package as its bug would; without a plant, every property holds (test_losses.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conformance import test_losses as suite
from conformance.discovery import Case, cases_of
from mmkd.encoders import taps
from mmkd.losses import (
    _attention,
    _math,
    affinity,
    binary_kl,
    c2kd,
    cross_feature,
    dkd,
    factor_transfer,
    feature,
    gated_kl,
    graph_distil,
    hint,
    ickd,
    logit_kl,
    masked_feature,
    minilm_v2,
    ofa,
    regression,
    review_kd,
    self_distil,
    srrl,
    tinybert_attention,
)
from mmkd.tasks import classify, multilabel, regress
from mmkd.teachers.base import Teacher
from mmkd.types import rows_of
from teachers import test_all_kinds as all_teachers

Plant = Callable[[pytest.MonkeyPatch], None]
PROPERTIES: dict[str, Callable[[Case], None]] = {
    "formula": suite.test_equals_the_formula_of_its_paper,
    "needs": suite.test_needs_name_all_that_it_reads,
    "absent": suite.test_what_is_absent_changes_nothing,
    "order": suite.test_the_order_of_examples_changes_nothing,
    "no row": suite.test_no_row_gives_zero_and_a_zero_gradient,
    "one row": suite.test_one_row_is_finite,
    "half": partial(suite.test_half_precision_is_computed_in_float32, dtype=torch.bfloat16),
    "teacher": suite.test_no_gradient_reaches_a_teacher,
    "shift": suite.test_a_shift_of_all_logits_changes_nothing,
    "agreement": suite.test_agreement_is_zero,
    "steady": suite.test_the_gradient_keeps_its_size_when_the_temperature_changes,
    "jump": suite.test_the_value_does_not_jump_where_a_coefficient_is_zero,
    "slope": suite.test_the_gradient_is_that_of_finite_differences,
    **{
        f"extreme {name}": partial(suite.test_extremes_are_finite, extreme=extreme, dtype=torch.float32)
        for name, extreme in (("large", {"scale": 120.0}), ("constant", {"constant": True}), ("zero", {"scale": 0.0}))
    },
}


def failing(case: Case) -> set[str]:
    """The properties that a case does not have."""
    found = set()
    for name, check in PROPERTIES.items():
        try:
            check(case)
        except pytest.skip.Exception:
            continue
        except (AssertionError, RuntimeError, IndexError, KeyError, pytest.fail.Exception):
            found.add(name)
    return found


@functools.cache
def healthy(kind: str, name: str) -> bool:
    """Whether the case has every property, before anything is planted."""
    return failing(case_of(kind, name)) == set()


def case_of(kind: str, name: str) -> Case:
    return next(case for case in cases_of(kind) if case.name == name)


def replaced(owner: object, name: str, value: object) -> Plant:
    return lambda monkeypatch: monkeypatch.setattr(owner, name, value)


def everywhere(level: str, batch: object, *outputs: object) -> Tensor:
    """All rows, padding and silent ones too."""
    return torch.ones_like(rows_of(level, batch))


def of_student_alone(level: str, batch: object, student: object, *teachers: object) -> Tensor:
    return rows_of(level, batch, student)


def without_square(student: Tensor, teacher: Tensor, temperature: float, standardize: bool = False) -> Tensor:
    """KL without its T^2."""
    log_q, log_p = ((x.double() / temperature).log_softmax(-1) for x in (student, teacher.detach()))
    return _math.mean_or_zero(_math.kl_divergence(log_p, log_q))


def per_class(student: Tensor, teacher: Tensor, temperature: float, standardize: bool = False) -> Tensor:
    """`reduction="mean"` for "batchmean": over classes too."""
    return ORIGINAL_KL(student, teacher, temperature, standardize) / student.shape[-1]


def swapped(log_p: Tensor, log_q: Tensor) -> Tensor:
    return ORIGINAL_DIVERGENCE(log_q, log_p)


def cross_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    return -(log_p.exp() * log_q).sum(-1)


def of_probabilities(student: Tensor, teacher: Tensor, temperature: float, standardize: bool = False) -> Tensor:
    """The teacher's probabilities where its logits are asked for."""
    return ORIGINAL_KL(student, teacher.softmax(-1), temperature, standardize)


def ignoring_single_rows(student: Tensor, teacher: Tensor, temperature: float, standardize: bool = False) -> Tensor:
    """`if batch_size < 2: continue`."""
    return 0 * student.sum() if len(student) < 2 else ORIGINAL_KL(student, teacher, temperature, standardize)


def batch_sum(values: Tensor) -> Tensor:
    return values.sum()


def l1_unit(values: Tensor) -> Tensor:
    return values / values.abs().sum(-1, keepdim=True).clamp(min=_math.SMALLEST_NORM)


def multiplied_by_the_mask(loss: hint.Loss, student: object, teachers: dict, batch: object) -> Tensor:
    """0 * NaN is NaN: a mask as a factor in place of a selection."""
    target = teachers["bert"].hidden["text"][3]
    own = student.hidden["text"][loss.student_layer]
    keep = (own.mask & target.mask)[..., None]
    error = (loss.projection(own.values) - target.values.detach()).square() * keep
    return error.sum() / (keep.sum() * 6).clamp(min=1)


def of_the_teacher_alone(loss: cross_feature.Loss, student: object, teachers: dict, batch: object) -> Tensor:
    rows = teachers["vit"].has["image"]
    projected = loss.projection(student.pooled["text"][rows])
    return cross_feature.cross_feature(projected, teachers["vit"].pooled["image"][rows], "cosine")


def by_the_place(loss: feature.Loss, student: object, teachers: dict, batch: object) -> Tensor:
    """The teacher's rows by another order than the student's: what a cache that is keyed by place gives."""
    rows = student.has["text"] & teachers["bert"].has["text"]
    taught = teachers["bert"].pooled["text"][rows].roll(1, 0)
    return feature.feature(loss.projection(student.pooled["text"][rows]), taught)


def of_the_pooled_feature(loss: hint.Loss, student: object, teachers: dict, batch: object) -> Tensor:
    """Reads what it does not say that it needs."""
    rows = student.has["text"] & teachers["bert"].has["text"]
    own = student.hidden["text"][loss.student_layer].values[rows][:, 0]
    return hint.hint(loss.projection(own), teachers["bert"].pooled["text"][rows])


def of_the_layer_below(loss: hint.Loss, student: object, teachers: dict, batch: object) -> Tensor:
    """Off by one: embeddings counted as a layer."""
    own, target = student.hidden["text"][loss.student_layer], teachers["bert"].hidden["text"][1]
    keep = own.mask & target.mask
    return hint.hint(loss.projection(own.values[keep]), target.values[keep])


def of_the_whole_input(loss: masked_feature.Loss, student: object, teachers: dict, batch: object) -> Tensor:
    """The student's feature of what is not masked."""
    rows = student.has["image"] & teachers["vit"].has["image"]
    projected = loss.projection(student.pooled["image"][rows])
    return masked_feature.masked_feature(projected, teachers["vit"].pooled["image"][rows])


def off_at_zero(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, beta: float, temperature: float
) -> Tensor:
    """`if alpha == 0: skip`, with the other part's factor forgotten."""
    value = ORIGINAL_DKD(student, teacher, labels, alpha, beta, temperature)
    return value / temperature**2 if alpha == 0 else value


def with_a_gradient_to_the_gate(student: Tensor, logits: Tensor, log_weights: Tensor, temperature: float) -> Tensor:
    log_mixture = gated_kl.mixture(logits / temperature, log_weights)
    divergence = _math.kl_divergence(log_mixture, (student / temperature).log_softmax(-1))
    return temperature**2 * _math.mean_or_zero(divergence)


def without_the_teachers_logits(
    projected: Tensor, feature: Tensor, logits: Tensor, teacher: Tensor, features: float
) -> Tensor:
    """The head on both features, in place of what the teacher said."""
    return ORIGINAL_SRRL(projected, feature, logits, logits, features)


def every_row(task: object, batch: object) -> Tensor:
    return torch.ones_like(batch.has_text)


def gamma_of_every_class(student: Tensor, teacher: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """The power of the label's factor on the other classes too."""
    log_student, p = student.log_softmax(-1), teacher.detach().softmax(-1)
    same = torch.nn.functional.one_hot(labels, student.shape[-1])
    return -_math.mean_or_zero(((p + same) ** gamma * log_student).sum(-1))


def of_a_deepest_that_learns(shallow: Tensor, deepest: Tensor, temperature: float) -> Tensor:
    log_p, log_q = ((logits / temperature).log_softmax(-1) for logits in (deepest, shallow))
    return temperature**2 * _math.mean_or_zero(_math.kl_divergence(log_p, log_q))


def of_a_paraphraser_that_learns(student: Tensor, teacher: Tensor, p: int) -> Tensor:
    difference = _math.unit(student) - _math.unit(teacher)
    return _math.mean_or_zero(torch.linalg.vector_norm(difference, ord=p, dim=-1))


def maps_exchanged(own: Tensor, above: Tensor, attention: torch.nn.Module) -> Tensor:
    maps = attention(torch.cat([own, above], dim=-1)).sigmoid()
    return own * maps[..., 1:] + above * maps[..., :1]


def unscaled(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """No division by the root of a head's width."""
    return ORIGINAL_SCORES(query, key, heads) * (query.shape[-1] / heads) ** 0.5


def scaled_by_the_whole(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """The root of the width of all heads."""
    return ORIGINAL_SCORES(query, key, heads) / heads**0.5


def all_pairs(keep: Tensor, heads: int) -> Tensor:
    """Padding as a position like any other."""
    return torch.ones_like(ORIGINAL_PAIRS(keep, heads))


def heads_in_turn(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Every n-th number as a head, in place of a head's numbers side by side."""
    own, other = (x.unflatten(-1, (-1, heads)).transpose(-1, -2).flatten(-2) for x in (query, key))
    return ORIGINAL_SCORES(own, other, heads)


ORIGINAL_SCORES, ORIGINAL_PAIRS = taps.attention_scores, _attention.pairs_of
ORIGINAL_KL, ORIGINAL_DIVERGENCE, ORIGINAL_DKD = logit_kl.logit_kl, _math.kl_divergence, dkd.dkd
ORIGINAL_SRRL = srrl.srrl
PLANTS: dict[str, tuple[tuple[str, str], str, Plant]] = {
    "no T^2": (("logit_kl", "text"), "steady", replaced(logit_kl, "logit_kl", without_square)),
    "mean over classes for batchmean": (("logit_kl", "text"), "formula", replaced(logit_kl, "logit_kl", per_class)),
    "a sum for a mean": (("logit_kl", "text"), "formula", replaced(logit_kl, "mean_or_zero", batch_sum)),
    "KL's arguments swapped": (("logit_kl", "text"), "formula", replaced(logit_kl, "kl_divergence", swapped)),
    "a cross-entropy called KL": (
        ("logit_kl", "text"),
        "agreement",
        replaced(logit_kl, "kl_divergence", cross_entropy),
    ),
    "probabilities for logits": (("logit_kl", "text"), "agreement", replaced(logit_kl, "logit_kl", of_probabilities)),
    "single rows dropped": (("logit_kl", "text"), "one row", replaced(logit_kl, "logit_kl", ignoring_single_rows)),
    "padding counted": (("logit_kl", "words"), "absent", replaced(logit_kl, "rows_of", everywhere)),
    "words that one tokenizer dropped": (
        ("logit_kl", "words"),
        "absent",
        replaced(logit_kl, "rows_of", of_student_alone),
    ),
    "a mask as a factor": (("hint", "text"), "absent", replaced(hint.Loss, "forward", multiplied_by_the_mask)),
    "an absent modality counted": (
        ("cross_feature", "text"),
        "absent",
        replaced(cross_feature.Loss, "forward", of_the_teacher_alone),
    ),
    "unlabelled rows counted": (
        ("supervised", "sentiment"),
        "absent",
        replaced(classify.Task, "labelled_rows", every_row),
    ),
    "labels that are not there": (
        ("supervised", "topics"),
        "absent",
        replaced(multilabel.Task, "labelled_rows", every_row),
    ),
    "a bound without a label": (
        ("regression", "bounded"),
        "absent",
        replaced(regress.Task, "labelled_rows", every_row),
    ),
    "a gate that learns which teacher is nearest": (
        ("gated_kl", "two"),
        "formula",
        replaced(gated_kl, "gated_kl", with_a_gradient_to_the_gate),
    ),
    "a silent teacher's share": (("gated_kl", "two"), "absent", replaced(gated_kl, "rows_of", of_student_alone)),
    "a regression without the teacher": (
        ("srrl", "text"),
        "formula",
        replaced(srrl, "srrl", without_the_teachers_logits),
    ),
    "L1 for L2": (("affinity", "pairs"), "formula", replaced(affinity, "unit", l1_unit)),
    "gradient into the teacher": (("logit_kl", "text"), "teacher", replaced(Tensor, "detach", lambda values: values)),
    "gradient into the teacher's layer": (
        ("hint", "text"),
        "teacher",
        replaced(Tensor, "detach", lambda values: values),
    ),
    "a teacher's rows shifted": (("feature", "text"), "formula", replaced(feature.Loss, "forward", by_the_place)),
    "a feature that is not asked for": (
        ("hint", "text"),
        "needs",
        replaced(hint.Loss, "forward", of_the_pooled_feature),
    ),
    "layers shifted": (("hint", "text"), "needs", replaced(hint.Loss, "forward", of_the_layer_below)),
    "nothing masked": (
        ("masked_feature", "image"),
        "formula",
        replaced(masked_feature.Loss, "forward", of_the_whole_input),
    ),
    "a jump at alpha 0": (("dkd", "text"), "jump", replaced(dkd, "dkd", off_at_zero)),
    "a plain mean": (("hint", "text"), "no row", replaced(hint, "mean_or_zero", torch.mean)),
    "a zero outside the graph": (
        ("hint", "text"),
        "no row",
        replaced(hint, "mean_or_zero", lambda v: v.mean() if v.numel() else torch.zeros((), requires_grad=True)),
    ),
    "half precision kept": (("logit_kl", "text"), "half", replaced(logit_kl, "full_precision", lambda values: values)),
    "half precision of labels kept": (
        ("binary_kl", "text"),
        "half",
        replaced(binary_kl, "full_precision", lambda values: values),
    ),
    "half precision of values kept": (
        ("regression", "text"),
        "half",
        replaced(regression, "full_precision", lambda values: values),
    ),
    "log of a softmax": (
        ("logit_kl", "words"),
        "extreme large",
        replaced(Tensor, "log_softmax", lambda values, dim: values.softmax(dim).log()),
    ),
    "log of a sigmoid": (
        ("binary_kl", "text"),
        "extreme large",
        replaced(binary_kl.functional, "logsigmoid", lambda values: values.sigmoid().log()),
    ),
    "a deviation of 0": (
        ("logit_kl", "standardize"),
        "extreme constant",
        replaced(logit_kl, "SMALLEST_DEVIATION", 0.0),
    ),
    "gamma on every class": (("ofa", "image"), "formula", replaced(ofa, "ofa", gamma_of_every_class)),
    "a deepest exit that learns": (
        ("self_distil", "text"),
        "formula",
        replaced(self_distil, "self_distil", of_a_deepest_that_learns),
    ),
    "a paraphraser that makes itself easy": (
        ("factor_transfer", "text"),
        "formula",
        replaced(factor_transfer, "factor_transfer", of_a_paraphraser_that_learns),
    ),
    "padding in a product of channels": (
        ("ickd", "text"),
        "absent",
        replaced(ickd, "blanked", lambda values, _: values),
    ),
    "attention to the wrong layer": (("review_kd", "text"), "formula", replaced(review_kd, "joined", maps_exchanged)),
    "the label among the others": (
        ("c2kd", "some alike"),
        "formula",
        replaced(c2kd, "without_label", lambda logits, labels: logits),
    ),
    "every row alike": (
        ("c2kd", "none alike"),
        "formula",
        replaced(c2kd, "rank_correlation", lambda one, other: torch.ones(len(one))),
    ),
    "a mean strength of no row": (
        ("graph_distil", "branches alone"),
        "no row",
        replaced(graph_distil, "unevenness", lambda strengths: (strengths.mean(0) - 0.5).square().sum()),
    ),
    "gradient into a teacher that is fused": (
        ("augmented_feature", "two teachers"),
        "teacher",
        replaced(Tensor, "detach", lambda values: values),
    ),
    "scores that are not scaled": (
        ("tinybert_attention", "text"),
        "formula",
        replaced(tinybert_attention, "attention_scores", unscaled),
    ),
    "scores of padding": (
        ("tinybert_attention", "text"),
        "formula",
        replaced(tinybert_attention, "pairs_of", all_pairs),
    ),
    "heads cut across": (
        ("tinybert_attention", "text"),
        "formula",
        replaced(tinybert_attention, "attention_scores", heads_in_turn),
    ),
    "gradient into the teacher's scores": (
        ("tinybert_attention", "text"),
        "teacher",
        replaced(Tensor, "detach", lambda values: values),
    ),
    "relations scaled by the whole width": (
        ("minilm_v2", "text"),
        "formula",
        replaced(minilm_v2, "attention_scores", scaled_by_the_whole),
    ),
    "relations to padding": (("minilm_v2", "text"), "formula", replaced(minilm_v2, "pairs_of", all_pairs)),
    "what is padded is looked at": (
        ("minilm_v2", "text"),
        "absent",
        replaced(_attention.Positions, "blanked", lambda both: both),
    ),
    "a norm of 0": (("affinity", "pairs"), "extreme zero", replaced(_math, "SMALLEST_NORM", 0.0)),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_the_suite_finds_a_planted_bug(plant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (kind, name), meant_for_it, apply = PLANTS[plant]
    case = case_of(kind, name)
    assert healthy(kind, name)
    apply(monkeypatch)
    assert meant_for_it in failing(case)


def test_the_suite_finds_a_teacher_in_training_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Teacher, "freeze", lambda teacher: teacher.requires_grad_(False))
    with pytest.raises(AssertionError):
        all_teachers.test_a_frozen_teacher_neither_learns_nor_changes(tmp_path, "hf_text")


def test_control_a_kind_that_nobody_wrote_a_formula_for() -> None:
    """A new file is covered without touching the suite, and is asked for its formula."""
    case = Case("logit_kl", "guessed", case_of("logit_kl", "text").config, None)
    assert failing(case) == {"formula"}
