"""Mixtures by hand: who is mixed with whom, and that each target counts by its share and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from conformance.scene import make_scene
from mmkd.config.adversarial import Adversarial
from mmkd.config.experiment import Train
from mmkd.config.mixup import Mixup
from mmkd.losses import feature, logit_kl, mutual, supervised
from mmkd.mixup import mixtures, partners, rectangle, reordered
from mmkd.objective import Terms, learns_from_mixtures
from mmkd.student.student import READER
from mmkd.train import train
from mmkd.types import Batch, Mixed, Outputs
from test_train import corpus_of, players_of
from tiny_project import everything, same_weights

LOSSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "labels": (supervised, {"task": "sentiment"}),
    "taught": (logit_kl, {"task": "risk", "teacher": "vit", "temperature": 2.0}),
    "words": (supervised, {"task": "ner"}),
    "words_taught": (logit_kl, {"task": "ner", "teacher": "bert"}),
    "branches": (mutual, {"task": "sentiment"}),
    "pooled": (feature, {"teacher": "bert", "modality": "text"}),
}
MIXED_TERMS = {"labels", "taught"}


def terms() -> Terms:
    torch.manual_seed(3)
    setting = make_scene().setting
    return Terms({n: module.Loss(module.Config(**keys), setting) for n, (module, keys) in LOSSES.items()}).double()


def test_partners_are_a_permutation_of_the_rows_and_the_rest_stay() -> None:
    rows = torch.tensor([1, 0, 1, 1, 0, 1, 1], dtype=torch.bool)
    torch.manual_seed(0)
    found = [partners(rows).tolist() for _ in range(30)]
    for order in found:
        assert sorted(order) == list(range(7))
        assert [order[1], order[4]] == [1, 4]
    assert {order[0] for order in found} == {0, 2, 3, 5, 6}


def test_a_rectangle_has_the_images_form_and_at_most_the_area() -> None:
    torch.manual_seed(0)
    found = [rectangle(40, 20, 0.25) for _ in range(200)]
    for inside in found:
        rows, columns = inside.any(1), inside.any(0)
        assert int(inside.sum()) == int(rows.sum()) * int(columns.sum())  # whole
        assert rows.sum() <= 21  # half of 40, and what rounding adds
        assert columns.sum() <= 11
    assert max(float(inside.float().mean()) for inside in found) == pytest.approx(0.25, abs=0.03)
    assert torch.stack(found).any(0).all()  # anywhere, corners too


def mixed_scene() -> tuple[Any, Mixed, list[int]]:
    """Logits of mixtures that are numbers of their own, and who is mixed with whom."""
    scene, other, order = make_scene(), make_scene(filler=0.0, seed=11), [2, 1, 5, 0, 4, 3, 6]
    own = replace(other.student, pooled={}, hidden={}, speaks=scene.student.speaks, words=scene.student.words)
    return scene, Mixed(own, 0.3, torch.tensor(order)), order


def divergence(p: Tensor, q: Tensor, temperature: float) -> Tensor:
    a, b = (p / temperature).softmax(-1), (q / temperature).softmax(-1)
    return temperature**2 * (a * (a / b).log()).sum()


def test_terms_over_examples_count_each_target_by_its_share() -> None:
    """Row by row from the scene's description; all other terms are those of the batch as it is."""
    scene, mixed, order = mixed_scene()
    own = terms()
    found = own(replace(scene.student, mixed=mixed), scene.teachers, scene.batch, 0.0, 0)
    plain = terms()(scene.student, scene.teachers, scene.batch, 0.0, 0)
    assert found.values.keys() == plain.values.keys() == LOSSES.keys()
    for name in LOSSES.keys() - MIXED_TERMS:
        assert found.values[name] == plain.values[name]

    labelled, there = [0, 2, 3, 4], [0, 1, 2, 4, 5]  # with a label of sentiment; with an image
    logits = {task: mixed.outputs.logits[task].detach() for task in ("sentiment", "risk")}
    label, taught = scene.batch.labels["sentiment"], scene.teachers["vit"].logits["risk"].detach()
    expected = {}
    for name, rows, value in (
        ("labels", labelled, lambda place, of: -logits["sentiment"][place].log_softmax(-1)[label[of]]),
        ("taught", there, lambda place, of: divergence(taught[of], logits["risk"][place], 2.0)),
    ):
        first = [value(n, n) for n in rows]
        second = [value(n, order[n]) for n in range(7) if order[n] in rows]
        expected[name] = float(0.3 * sum(first) / len(first) + 0.7 * sum(second) / len(second))
    assert {name: found.values[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_a_divergence_has_the_gradient_of_the_mixed_teacher() -> None:
    """share KL(a || q) + (1 - share) KL(b || q) is KL(mixed || q) but for a number without q."""
    generator = torch.Generator().manual_seed(0)
    a, b, q = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    slopes = []
    mix = 0.3 * a.softmax(-1) + 0.7 * b.softmax(-1)
    for teachers in (((0.3, a), (0.7, b)), ((1.0, mix.log()),)):
        student = q.clone().requires_grad_()
        sum(share * logit_kl.logit_kl(student, teacher, 1.0) for share, teacher in teachers).backward()
        slopes.append(student.grad)
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


def test_which_terms_learn_from_mixtures() -> None:
    assert {name for name, loss in terms().losses.items() if learns_from_mixtures(loss)} == MIXED_TERMS


def test_reordered_targets_go_with_their_examples() -> None:
    batch, order = make_scene(filler=0.0).batch, torch.tensor([2, 1, 0, 3, 6, 5, 4])
    found = reordered(batch, order)
    other = make_scene(filler=0.0, examples=tuple(order.tolist())).batch
    assert found.ids == other.ids
    for name in ("rows", "word_mask", "has_text", "has_image"):
        assert torch.equal(getattr(found, name), getattr(other, name))
    for task in batch.labels:
        assert torch.equal(found.labels[task], other.labels[task])
        assert torch.equal(found.has_label[task], other.has_label[task])


def of_batch(folder: Path, of: str, alpha: float = 1.0) -> tuple[Any, Batch, Outputs, Mixed | None, list[Batch]]:
    corpus = corpus_of(folder)
    network, batch = players_of(corpus, steady=True).network, everything(corpus)
    network.eval()
    seen: list[Batch] = []

    def speak(other: Batch) -> Outputs:
        seen.append(other)
        found: Outputs = network(other)
        return found

    torch.manual_seed(1)
    student = network(batch)
    mixed = mixtures(Mixup.model_validate({"of": of, "alpha": alpha}), network, student, batch, speak)
    return network, batch, student, mixed, seen


def test_fused_features_are_mixed_and_go_through_the_heads(tmp_path: Path) -> None:
    network, _, student, mixed, seen = of_batch(tmp_path, "features")
    assert not seen
    assert 0 < mixed.share < 1
    partner = student.fused[mixed.order]
    fused = torch.stack([mixed.share * a + (1 - mixed.share) * b for a, b in zip(student.fused, partner, strict=True)])
    torch.testing.assert_close(mixed.outputs.logits["mood"], network.heads["mood"](fused))
    assert set(mixed.outputs.logits) == {"mood", "risk"}
    assert not mixed.outputs.pooled
    assert not mixed.outputs.hidden


@pytest.mark.parametrize("of", ["pixels", "patches"])
def test_images_are_mixed_where_there_is_no_text(tmp_path: Path, of: str) -> None:
    _, batch, student, mixed, (other,) = of_batch(tmp_path, of)
    alone = batch.has_image & ~batch.has_text
    moved = mixed.order != torch.arange(len(alone))
    assert moved.any()
    assert not (moved & ~alone).any()
    before, after = batch.images[READER].float(), other.images[READER]
    torch.testing.assert_close(after[~moved], before[~moved])
    partner = before[mixed.order]
    if of == "pixels":
        torch.testing.assert_close(after, mixed.share * before + (1 - mixed.share) * partner)
    else:
        assert ((after == before) | (after == partner)).all()
        apart = (before != partner).flatten(1).all(1)  # where it can be seen from whom a pixel is
        assert apart.any()
        taken = (after == partner)[apart].float().mean((1, 2, 3))
        assert (1 - taken).tolist() == pytest.approx([mixed.share] * int(apart.sum()))
    for task in ("mood", "risk"):
        torch.testing.assert_close(mixed.outputs.logits[task][~moved], student.logits[task][~moved])
        assert not torch.allclose(mixed.outputs.logits[task][moved], student.logits[task][moved], atol=1e-7)


def test_where_no_two_images_stand_alone_there_is_no_second_pass(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    network, batch = players_of(corpus, steady=True).network, everything(corpus)
    batch = replace(batch, has_text=torch.ones_like(batch.has_text))
    config = Mixup(of="pixels")
    assert mixtures(config, network, network(batch), batch, lambda other: pytest.fail("read again")) is None


def run(folder: Path, **settings: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    corpus = corpus_of(folder)
    chosen = Train(**{"epochs": 1, "batch_size": 10, **settings})
    players = players_of(corpus, taught=True)
    found = train(players, lambda epoch: corpus, corpus, chosen, 0, Accelerator(cpu=True), folder / "logs")
    return found.weights, found.history[0]


@pytest.mark.parametrize("of", ["features", "pixels", "patches"])
def test_a_run_with_mixtures_is_determined_by_its_seed(tmp_path: Path, of: str) -> None:
    """With accumulation, diagnostics and worst inputs too; words are learned as before."""
    plain, before = run(tmp_path, batch_size=20)
    more = {"mixup": Mixup.model_validate({"of": of})}
    first, entry = run(tmp_path, batch_size=20, **more)
    again, _ = run(tmp_path, batch_size=20, **more)
    assert same_weights(first, again)
    assert not same_weights(first, plain)
    assert entry["terms"]["ner"] == before["terms"]["ner"]
    assert entry["terms"]["mood"] != before["terms"]["mood"]
    weights, _ = run(tmp_path, accumulate=2, diagnose_every=1, adversarial=Adversarial(text=0.5, image=0.02), **more)
    assert all(value.isfinite().all() for value in weights.values() if value.is_floating_point())
