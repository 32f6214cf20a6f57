"""The cache says what the live teacher says, or refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkd.arrays import MANIFEST, StoreError, file_hash
from mmkd.cache.store import CachedTeacher, CacheError, cached
from mmkd.data.corpus import Corpus, Readers
from mmkd.teachers import hf_text, timm
from mmkd.teachers.base import Teacher
from mmkd.types import Batch, Outputs
from tiny_project import FORMS, IMAGE, TASKS, TEXT, Listed, Row, data_split, random_rows, readers

CPU = torch.device("cpu")
IDENTITY = {"weights": "w", "code": "c", "layers": "[0]"}
ROUNDING = {"fp32": 0.0, "fp16": 2.0**-11, "bf16": 2.0**-8}
"""Largest relative rounding error: half a unit in the last place of 11 or 8 bits (fp32 is stored as it is)."""
SMALLEST = {"fp32": 0.0, "fp16": 2.0**-25, "bf16": 0.0}
"""Half the smallest step of a number too small to be normal."""
BATCHING = 1e-5
"""Batches of other sizes add up in another order."""


def corpus_of(folder: Path, rows: dict[str, list[Row]] | None = None) -> Corpus:
    """Two splits, the second without labels; long enough for more than one batch of the cache."""
    rows = rows or {"train": random_rows(50), "transfer": random_rows(30, seed=1, labels=False)}
    source = Listed(rows)
    splits = [data_split(source, split, folder) for split in rows]
    return Corpus(splits, FORMS, readers(folder, random_rows(50), "bert", "net"))


def text_teacher(corpus: Corpus, layers: tuple[int, ...] = (0,)) -> Teacher:
    torch.manual_seed(0)
    config = hf_text.Config(**TEXT, tasks=["mood", "ner"], layers=layers)
    tasks = {name: TASKS[name] for name in config.tasks}
    teacher = hf_text.Teacher(config, "bert", tasks, Readers({"bert": corpus.readers.text["bert"]}, {}))
    teacher.freeze()
    return teacher


def image_teacher(corpus: Corpus, layers: tuple[int, ...] = (2,)) -> Teacher:
    torch.manual_seed(0)
    config = timm.Config(**IMAGE, tasks=["risk"], layers=layers)
    teacher = timm.Teacher(config, "net", {"risk": TASKS["risk"]}, Readers({}, {"net": corpus.readers.image["net"]}))
    teacher.freeze()
    return teacher


def fill_cache(
    teacher: Teacher, corpus: Corpus, folder: Path, dtype: str = "fp32", identity: dict[str, str] = IDENTITY
) -> tuple[CachedTeacher, list[int]]:
    """The cached teacher, and the numbers of rows that were computed for it."""
    done: list[int] = []
    return cached(teacher, identity, corpus, folder, dtype, CPU, lambda n, _: done.append(n)), done


def expect_close(found: torch.Tensor, expected: torch.Tensor, dtype: str, mask: torch.Tensor) -> None:
    found, expected = found[mask], expected[mask]
    assert found.dtype == torch.float32
    assert ((found - expected).abs() <= ROUNDING[dtype] * expected.abs() + SMALLEST[dtype] + BATCHING).all()


def compare(told: Outputs, live: Outputs, batch: Batch, dtype: str) -> None:
    assert torch.equal(told.speaks, live.speaks)
    assert torch.equal(told.words, live.words)
    assert told.logits.keys() == live.logits.keys()
    every = torch.ones_like(batch.has_text)
    for name, logits in live.logits.items():
        expect_close(told.logits[name], logits, dtype, batch.word_mask if logits.ndim == 3 else every)
    assert told.pooled.keys() == live.pooled.keys()
    for modality, pooled in live.pooled.items():
        expect_close(told.pooled[modality], pooled, dtype, every)
        assert torch.equal(told.has[modality], live.has[modality])
        assert told.hidden[modality].keys() == live.hidden[modality].keys()
        for layer, hidden in live.hidden[modality].items():
            own = told.hidden[modality][layer]
            assert own.grid == hidden.grid
            assert torch.equal(own.mask, hidden.mask)
            expect_close(own.values, hidden.values, dtype, hidden.mask)


BUILD = pytest.mark.parametrize("build", [text_teacher, image_teacher])
Build = Callable[..., Teacher]


@BUILD
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_the_cache_says_what_the_live_teacher_says(tmp_path: Path, build: Build, dtype: str):
    corpus = corpus_of(tmp_path)
    teacher = build(corpus)
    reader, done = fill_cache(teacher, corpus, tmp_path / "cache", dtype)
    assert done == [50, 30]
    order = np.random.default_rng(0).permutation(len(corpus))
    for rows in (order[:7], order[7:8], order[8:]):
        batch = corpus.batch(rows)
        compare(reader(batch), teacher(batch), batch, dtype)
    assert reader.shape == teacher.shape
    assert reader.name == teacher.name


@BUILD
def test_a_batch_without_text_or_without_image(tmp_path: Path, build: Build):
    corpus = corpus_of(tmp_path)
    teacher = build(corpus)
    reader, _ = fill_cache(teacher, corpus, tmp_path / "cache")
    for rows in ([1, 5, 9], [2, 6]):  # images alone, texts alone
        batch = corpus.batch(np.array(rows))
        assert not (batch.has_text & batch.has_image).any()
        compare(reader(batch), teacher(batch), batch, "fp32")


@BUILD
def test_it_is_found_again_from_the_same_parts_alone(tmp_path: Path, build: Build):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    assert fill_cache(build(corpus), corpus, folder)[1] == [50, 30]
    assert fill_cache(build(corpus), corpus, folder)[1] == []
    for changed in ({"weights": "v"}, {"code": "d"}, {"layers": "[1]"}):
        assert fill_cache(build(corpus), corpus, folder, identity=IDENTITY | changed)[1] == [50, 30]
    assert fill_cache(build(corpus), corpus, folder, dtype="bf16")[1] == [50, 30]
    rows = {"train": random_rows(50), "transfer": [Row("today"), *random_rows(30, seed=1, labels=False)[1:]]}
    changed_corpus = corpus_of(tmp_path, rows)
    assert fill_cache(build(changed_corpus), changed_corpus, folder)[1] == [30]  # the split that changed alone


def test_another_corpus_is_refused(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    reader, _ = fill_cache(text_teacher(corpus), corpus, tmp_path / "cache")
    other = corpus_of(tmp_path, {"train": random_rows(50), "transfer": random_rows(30, seed=2, labels=False)})
    with pytest.raises(CacheError, match="teacher bert: the batch comes from another corpus"):
        reader(other.batch(np.array([0])))
    reader(corpus.batch(np.array([0])))


@pytest.mark.parametrize("size", [1e5, float("inf"), float("nan")])
def test_what_does_not_fit_the_dtype_is_refused_and_named(tmp_path: Path, size: float):
    corpus = corpus_of(tmp_path)
    teacher = text_teacher(corpus)
    with torch.no_grad():
        teacher.heads["mood"].bias[0] = size
    with pytest.raises(
        CacheError, match=r"teacher bert, listed/train: logits\.mood of train/\d+ is not finite as fp16"
    ):
        fill_cache(teacher, corpus, tmp_path / "cache", "fp16")
    assert list((tmp_path / "cache" / "bert").iterdir()) == []
    if size == 1e5:
        fill_cache(teacher, corpus, tmp_path / "cache", "fp32")  # it fits there
        fill_cache(teacher, corpus, tmp_path / "cache", "bf16")


def one_folder(folder: Path) -> Path:
    return next(path for path in sorted((folder / "bert").iterdir()) if len(np.load(path / "speaks.npy")) == 50)


def test_a_flipped_byte_is_named(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    fill_cache(text_teacher(corpus), corpus, folder)
    path = one_folder(folder) / "logits.ner.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"logits\.ner\.npy: the content is not what was written"):
        fill_cache(text_teacher(corpus), corpus, folder)


@pytest.mark.parametrize("name", ["logits.mood", "logits.ner", "pooled.text", "hidden.text.0", "words", "speaks"])
def test_wrong_values_under_a_right_manifest_are_caught_by_the_live_comparison(tmp_path: Path, name: str):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    fill_cache(text_teacher(corpus), corpus, folder)
    place = one_folder(folder)
    values = np.load(place / f"{name}.npy")
    values[0] += 1  # row 0 is one of the rows that are asked for again
    np.save(place / f"{name}.npy", values)
    manifest = json.loads((place / MANIFEST).read_text("utf-8"))
    manifest["arrays"][name] = file_hash(place / f"{name}.npy")
    (place / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    if name in ("words", "speaks"):
        # 1 + 1 still says yes: what counts is whether it is above 0
        fill_cache(text_teacher(corpus), corpus, folder)
        values[0] = 0
        np.save(place / f"{name}.npy", values)
        manifest["arrays"][name] = file_hash(place / f"{name}.npy")
        (place / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CacheError, match=f"the cached {name} differs from the live teacher"):
        fill_cache(text_teacher(corpus), corpus, folder)


def test_a_teacher_that_changed_behind_the_same_identity_is_caught(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    fill_cache(text_teacher(corpus), corpus, folder, "bf16")
    teacher = text_teacher(corpus)
    with torch.no_grad():
        teacher.heads["ner"].weight.mul_(1.5)
    with pytest.raises(CacheError, match=r"logits\.ner differs"):
        fill_cache(teacher, corpus, folder, "bf16")


@BUILD
def test_several_layers_or_none(tmp_path: Path, build: Build):
    corpus = corpus_of(tmp_path)
    for layers in ((), (0, 1)):
        teacher = build(corpus, layers)
        reader, _ = fill_cache(teacher, corpus, tmp_path / "cache", identity=IDENTITY | {"layers": str(layers)})
        batch = corpus.batch(np.arange(len(corpus)))
        compare(reader(batch), teacher(batch), batch, "fp32")


def test_the_cache_has_nothing_to_train(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    reader, _ = fill_cache(text_teacher(corpus), corpus, tmp_path / "cache")
    assert list(reader.parameters()) == []
    assert not reader(corpus.batch(np.array([0]))).logits["mood"].requires_grad
