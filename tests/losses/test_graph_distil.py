"""Edges: where they lead, what learns along them, and what holds their strengths together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mmkd.losses import graph_distil


def build(scene: Callable, **keys: object) -> graph_distil.Loss:
    torch.manual_seed(3)
    config = graph_distil.Config(**{"task": "sentiment", **keys})
    return graph_distil.Loss(config, scene().setting).double()


def test_edges_lead_to_the_students_branches_alone(scene: Callable) -> None:
    assert build(scene).edges == [(1, 0), (0, 1)]
    assert build(scene, teachers=["bert", "vit"]).edges == [(1, 0), (2, 0), (3, 0), (0, 1), (2, 1), (3, 1)]


def test_strengths_at_the_prior_are_not_uneven() -> None:
    assert graph_distil.unevenness(torch.tensor([[0.2, 0.8], [0.8, 0.2]])) == 0
    assert graph_distil.unevenness(torch.tensor([[0.0, 1.0], [0.0, 1.0]])) == pytest.approx(0.5)
    assert graph_distil.unevenness(torch.zeros(0, 2)) == 0


def test_the_strengths_learn_to_follow_the_near_teacher_and_the_prior_holds_them(scene: Callable) -> None:
    """Of two edges to a vertex the one with the least distance wins, unless the prior asks for equal ones."""
    distances = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    found = {}
    for prior in (0.0, 10.0):
        scores = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([scores], lr=0.1)
        for _ in range(2000):
            optimizer.zero_grad()
            strengths = scores.softmax(-1)
            value = graph_distil.graph_distil(distances, strengths) + prior * graph_distil.unevenness(strengths)
            value.backward()
            optimizer.step()
        found[prior] = scores.softmax(-1)[0, 0].item()
    assert found[0.0] > 0.95
    # d/dw of w + 3 (1 - w) + 10 * 2 (w - 1/2)^2 is 0 at w = 1/2 + 2/40
    assert found[10.0] == pytest.approx(0.55, abs=1e-4)


def test_where_an_edge_comes_from_nothing_is_learned(scene: Callable) -> None:
    """By the one edge from text to image, the text's feature learns nothing."""
    found, loss = scene(), build(scene, prior=0.0)
    loss.edges = [(0, 1)]
    with_edge = found.gradients(loss)["student.pooled_text"].clone()
    loss.config = loss.config.model_copy(update={"distillation": 0.0})
    torch.testing.assert_close(found.gradients(loss)["student.pooled_text"], with_edge, rtol=0, atol=0)


def test_a_shift_of_a_teachers_logits_over_classes_changes_nothing(scene: Callable) -> None:
    loss, found = build(scene, teachers=["bert"]), scene()
    bert = found.teachers["bert"]
    moved = replace(bert, logits={**bert.logits, "sentiment": bert.logits["sentiment"] + 5})
    shifted = replace(found, teachers={**found.teachers, "bert": moved})
    torch.testing.assert_close(shifted.value(loss), found.value(loss))


def test_a_teacher_without_a_row_leaves_none(scene: Callable) -> None:
    """A row counts where all speak."""
    loss, found = build(scene, teachers=["bert"]), scene()
    silent = replace(found.teachers["bert"], speaks=torch.zeros(7, dtype=torch.bool))
    assert replace(found, teachers={**found.teachers, "bert": silent}).value(loss) == 0


def test_words_are_refused(scene: Callable) -> None:
    with pytest.raises(ValueError, match="`ner` is over words"):
        build(scene, task="ner")
