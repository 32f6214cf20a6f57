"""Logits that were cut and features that were made narrower: what is kept, and that the error told is the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cache_tools import CPU, IDENTITY, Log, both_teacher, corpus_of, image_teacher, store, text_teacher, view_of

from mmkd.cache.catalogue import entries
from mmkd.cache.entry import Manifest
from mmkd.cache.packing import cut_logits, whole_logits
from mmkd.cache.projection import Projection, main_directions, random_directions
from mmkd.cache.speak import CachedTeacher, CacheError
from mmkd.config.cache import Features
from mmkd.tasks import multilabel
from mmkd.types import Outputs
from tiny_project import everything


def manifest_of(folder: Path, split: str = "train") -> Manifest:
    (found,) = [e.manifest for e in entries(folder) if e.manifest is not None and e.manifest.about.split == split]
    return found


@pytest.mark.parametrize("shape", [(6, 9), (2, 3, 9)])
def test_cut_logits_keep_the_largest_probabilities_and_the_sum_of_the_others(shape: tuple[int, ...]):
    logits = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chosen = logits.topk(4).indices
    kept, rest = cut_logits(logits, chosen)
    whole = whole_logits(chosen, kept, rest, 9)
    assert whole.shape == logits.shape
    said, read = logits.softmax(-1), whole.softmax(-1)
    torch.testing.assert_close(read.gather(-1, chosen), said.gather(-1, chosen))
    others = torch.ones(shape, dtype=torch.bool).scatter(-1, chosen, False)
    share = (1 - said.gather(-1, chosen).sum(-1, keepdim=True)) / 5  # spread evenly over the other five
    torch.testing.assert_close(read[others], share.expand(shape)[others])


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_the_error_that_is_told_of_cut_logits_is_their_divergence(tmp_path: Path, dtype: str):
    corpus = corpus_of(tmp_path)
    teacher = text_teacher(corpus)
    with torch.no_grad():
        for head in teacher.heads.values():
            head.weight.mul_(20)  # or all probabilities would be nearly equal
    cached = store(teacher, corpus, tmp_path / "cache", dtype, logits_top=2)
    batch = corpus.batch(np.arange(70))
    live, told = teacher(batch), cached(batch)
    for task, mask in (("mood", torch.ones(70, dtype=torch.bool)), ("ner", batch.word_mask)):
        said, read = live.logits[task][mask].double(), told.logits[task][mask].double()
        assert said.shape == read.shape
        top = said.argsort(-1, descending=True)[:, :2]
        rounding = 1e-5 if dtype == "fp32" else 2e-3
        torch.testing.assert_close(read.gather(-1, top), said.gather(-1, top), rtol=rounding, atol=rounding)
        divergence = (said.softmax(-1) * (said.softmax(-1).log() - read.softmax(-1).log())).sum(-1)
        lost = manifest_of(tmp_path / "cache").lost[f"logits.{task}"]
        assert lost.of == "nats"
        assert lost.value == pytest.approx(float(divergence.mean()), rel=1e-3, abs=1e-6)
        assert lost.largest == pytest.approx(float(divergence.max()), rel=1e-3, abs=1e-6)
    # Three classes cut to two leave one, whose share is known: only `ner`, whose rows vary, could lose more.


def test_labels_that_may_hold_together_are_never_cut(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    teacher = image_teacher(corpus)
    teacher.tasks["risk"] = multilabel.Task(multilabel.Config(), "risk", ["low", "mid", "high"])
    cached = store(teacher, corpus, tmp_path / "cache", logits_top=1)
    batch = everything(corpus)
    torch.testing.assert_close(cached(batch).logits["risk"], teacher(batch).logits["risk"], rtol=1e-5, atol=1e-5)


def test_equal_logits_are_no_difference(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    teacher = text_teacher(corpus)
    with torch.no_grad():
        teacher.heads["mood"].weight[1] = teacher.heads["mood"].weight[0]
        teacher.heads["mood"].bias[1] = teacher.heads["mood"].bias[0] + 1e-7
    store(teacher, corpus, tmp_path / "cache", logits_top=1)
    with torch.no_grad():
        teacher.heads["mood"].bias[1] -= 2e-7  # the other one is the largest now, by a hair
    store(teacher, corpus, tmp_path / "cache", logits_top=1)
    with torch.no_grad():
        teacher.heads["mood"].bias[2] += 5  # the control: a class that is larger by far
    with pytest.raises(CacheError, match=r"logits\.mood|rest\.mood|top\.mood"):
        store(teacher, corpus, tmp_path / "cache", logits_top=1)


KINDS = pytest.mark.parametrize("kind", ["pca", "random"])


def features_of(outputs: Outputs) -> dict[str, torch.Tensor]:
    found = {f"pooled.{m}": values for m, values in outputs.pooled.items()}
    for modality, layers in outputs.hidden.items():
        found |= {f"hidden.{modality}.{n}": layer.values[layer.mask] for n, layer in layers.items()}
    assert outputs.fused is not None
    return found | {"fused": outputs.fused}


@KINDS
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_features_are_projected_to_the_width_asked_for(tmp_path: Path, kind: str, dtype: str):
    corpus = corpus_of(tmp_path)
    teacher = both_teacher(corpus)
    cached = store(teacher, corpus, tmp_path / "cache", dtype, features=Features(kind=kind, width=8))
    batch = everything(corpus)
    live, told = features_of(teacher(batch)), features_of(cached(batch))
    shape = cached.shape
    assert (shape.pooled, shape.fused) == ({"text": 8, "image": 8}, 8)
    assert (shape.hidden, shape.depth) == ({"text": {0: 8}, "image": {2: 8}}, teacher.shape.depth)
    assert {values.shape[-1] for values in told.values()} == {8}
    for name, values in live.items():
        # An independent way to the projection: the linear map that takes what was said to what is told.
        matrix = torch.linalg.lstsq(values.double(), told[name].double(), driver="gelsd").solution
        slack = 1e-4 if dtype == "fp32" else 3e-2
        torch.testing.assert_close(values.double() @ matrix, told[name].double(), rtol=slack, atol=slack)


@KINDS
def test_the_error_that_is_told_of_features_is_what_a_best_reading_misses(tmp_path: Path, kind: str):
    corpus = corpus_of(tmp_path)
    teacher = text_teacher(corpus)
    cached = store(teacher, corpus, tmp_path / "cache", features=Features(kind=kind, width=8))
    batch = corpus.batch(np.arange(70))
    said, told = teacher(batch).pooled["text"].double(), cached(batch).pooled["text"].double()
    scale = (16 / 8) ** 0.5 if kind == "random" else 1.0
    # What orthonormal directions miss of a squared length is what they do not hold of it.
    missed = (said.square().sum() - (told / scale).square().sum()) / said.square().sum()
    lost = manifest_of(tmp_path / "cache").lost["pooled.text"]
    assert lost.value == pytest.approx(float(missed.sqrt()), rel=1e-3)
    assert 0 < lost.value < lost.largest


def test_pca_is_no_worse_than_any_other_directions(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    for kind in ("pca", "random"):
        store(text_teacher(corpus), corpus, tmp_path / kind, features=Features(kind=kind, width=4))
    pca, random = (manifest_of(tmp_path / kind).lost["pooled.text"].value for kind in ("pca", "random"))
    assert pca < random


def test_main_directions_are_those_of_the_singular_value_decomposition():
    values = np.random.default_rng(0).standard_normal((50, 6)) * [5, 4, 3, 2, 1, 0.5]
    found = main_directions(values.T @ values, 3)
    expected = np.linalg.svd(values)[2][:3].T
    assert np.allclose(np.abs((found * expected).sum(0)), 1, atol=1e-5)
    assert np.allclose(found.T @ found, np.eye(3), atol=1e-6)
    assert (found[np.abs(found).argmax(0), range(3)] > 0).all()


def test_random_directions_keep_squared_lengths_in_the_mean():
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 32))).float()
    lengths = []
    for seed in range(400):
        projection = Projection(torch.from_numpy(random_directions(32, 8, seed)), 2.0)
        lengths.append(float(projection.narrow(values).square().sum() / values.square().sum()))
    assert np.mean(lengths) == pytest.approx(1.0, abs=4 * np.std(lengths) / 20)
    assert np.array_equal(random_directions(32, 8, 1), random_directions(32, 8, 1))


@KINDS
def test_all_splits_and_views_share_one_projection(tmp_path: Path, kind: str):
    plain = corpus_of(tmp_path)
    views, teacher = [view_of(plain, 0), view_of(plain, 1)], image_teacher(plain)
    cached = store(teacher, views, tmp_path / "cache", features=Features(kind=kind, width=8))
    matrices = []
    for view in views:
        for rows in (np.arange(0, 70), np.arange(70, 100)):
            batch = view.batch(rows)
            said, told = teacher(batch).hidden["image"][2], cached(batch).hidden["image"][2]
            matrices.append((said.values[said.mask].double(), told.values[said.mask].double()))
    joined = torch.linalg.lstsq(
        torch.cat([a for a, _ in matrices]), torch.cat([b for _, b in matrices]), driver="gelsd"
    )
    for said, told in matrices:
        torch.testing.assert_close(said @ joined.solution, told, rtol=1e-3, atol=1e-3)


def test_heads_do_not_run_together(tmp_path: Path):
    """What is tapped is stored as any feature, by word; queries and keys alone are never projected."""
    corpus = corpus_of(tmp_path)
    teacher = text_teacher(corpus, ("embedding", "1.query", "1.key"))
    cached = store(teacher, corpus, tmp_path / "cache", features=Features(kind="pca", width=8))
    assert cached.shape.hidden == {"text": {"embedding": 8, "1.query": 16, "1.key": 16}}
    assert cached.shape.heads == {"text": {"1.query": 2, "1.key": 2}}
    batch = everything(corpus)
    live, told = teacher(batch).hidden["text"], cached(batch).hidden["text"]
    assert told["embedding"].values.shape[-1] == 8
    for layer in ("1.query", "1.key"):
        mask = live[layer].mask
        assert told[layer].mask.tolist() == mask.tolist()
        torch.testing.assert_close(told[layer].values[mask], live[layer].values[mask], rtol=1e-5, atol=1e-5)


def test_narrow_features_stay_as_they_are(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    teacher = text_teacher(corpus)
    cached = store(teacher, corpus, tmp_path / "cache", features=Features(kind="pca", width=16))
    batch = everything(corpus)
    assert cached.shape == teacher.shape
    torch.testing.assert_close(cached(batch).pooled["text"], teacher(batch).pooled["text"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "most"), [("fp32", None), ("fp16", 2.0**-11), ("bf16", 2.0**-8)])
def test_rounding_is_measured(tmp_path: Path, dtype: str, most: float | None):
    corpus, log = corpus_of(tmp_path), Log()
    store(text_teacher(corpus), corpus, tmp_path / "cache", dtype, log=log)
    lost = manifest_of(tmp_path / "cache").lost
    if most is None:
        assert lost == {}
    else:
        assert lost.keys() == {"logits.mood", "logits.ner", "pooled.text", "hidden.text.0"}
        assert all(most / 10 < each.value <= each.largest <= most for each in lost.values())
    assert not any("error" in line for line in log.lines)  # rounding is not worth a word


def test_a_build_tells_what_it_lost(tmp_path: Path):
    corpus, log = corpus_of(tmp_path), Log()
    store(text_teacher(corpus), corpus, tmp_path / "cache", log=log, logits_top=2, features=Features(width=4))
    (line,) = [line for line in log.lines if line.startswith("cache of bert for listed/train: 70 rows")]
    for expected in ("logits.ner: KL ", "pooled.text: relative error ", "hidden.text.0: relative error "):
        assert expected in line


def test_the_live_comparison_sees_through_both(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    how = {"logits_top": 2, "features": Features(kind="pca", width=4)}
    cached = store(text_teacher(corpus), corpus, tmp_path / "cache", "fp16", **how)
    assert isinstance(cached, CachedTeacher)
    stored = cached.reader.read(np.arange(5), 9, CPU)
    assert stored["top.ner"].shape == (5, 9, 2)
    teacher = text_teacher(corpus)
    with torch.no_grad():
        teacher.encoder.model.encoder.layer[1].output.LayerNorm.bias[:3] += 3
    with pytest.raises(CacheError, match="differs from the live teacher"):
        store(teacher, corpus, tmp_path / "cache", "fp16", identity=IDENTITY, **how)
