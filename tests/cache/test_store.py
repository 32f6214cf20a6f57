"""The cache says what the live teacher says, or refuses."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cache_tools import (
    CPU,
    IDENTITY,
    Log,
    NumberTeacher,
    both_teacher,
    corpus_of,
    image_teacher,
    numbered_corpus,
    store,
    text_teacher,
    view_of,
)
from torch.utils.data import DataLoader, Dataset

from mmkd.arrays import StoreError, file_hash
from mmkd.cache import build
from mmkd.cache.entry import MANIFEST, SHARD, Manifest, Shard, seal, unseal
from mmkd.cache.live import drawn_rows
from mmkd.cache.reader import Reader
from mmkd.cache.speak import CachedTeacher, CachedViews, CacheError
from mmkd.data.batches import load
from mmkd.data.corpus import Corpus
from mmkd.teachers.base import Speaker, Teacher
from mmkd.types import Batch, Outputs
from tiny_project import Row, random_rows

ROUNDING = {"fp32": 0.0, "fp16": 2.0**-11, "bf16": 2.0**-8}
"""Largest relative rounding error: half a unit in the last place of 11 or 8 bits (fp32 is stored as it is)."""
SMALLEST = {"fp32": 0.0, "fp16": 2.0**-25, "bf16": 0.0}
"""Half the smallest step of a number too small to be normal."""
BATCHING = 1e-5
"""Batches of other sizes add up in another order: relative to the largest value of the output."""
DTYPES = ("fp32", "fp16", "bf16")
BUILD = pytest.mark.parametrize("build", [text_teacher, image_teacher, both_teacher])
Build = Callable[..., Teacher]


def expect_close(found: torch.Tensor, expected: torch.Tensor, dtype: str, mask: torch.Tensor, batching: float) -> None:
    found, expected = found[mask], expected[mask]
    assert found.dtype == torch.float32
    slack = batching * expected.abs().max() if expected.numel() else 0.0
    assert ((found - expected).abs() <= ROUNDING[dtype] * expected.abs() + SMALLEST[dtype] + slack).all()


def compare(told: Outputs, live: Outputs, batch: Batch, dtype: str, batching: float = BATCHING) -> None:
    every = torch.ones_like(batch.has_text)
    assert torch.equal(told.speaks, live.speaks)
    assert torch.equal(told.words, live.words)
    assert told.logits.keys() == live.logits.keys()
    for name, logits in live.logits.items():
        mask = batch.word_mask if logits.ndim == 3 else every
        expect_close(told.logits[name], logits, dtype, mask, batching)
    assert told.pooled.keys() == live.pooled.keys() == told.has.keys()
    assert told.hidden.keys() == live.hidden.keys()
    for modality, pooled in live.pooled.items():
        expect_close(told.pooled[modality], pooled, dtype, every, batching)
        assert torch.equal(told.has[modality], live.has[modality])
        assert told.hidden[modality].keys() == live.hidden[modality].keys()
        for layer, hidden in live.hidden[modality].items():
            own = told.hidden[modality][layer]
            assert own.grid == hidden.grid
            assert torch.equal(own.mask, hidden.mask)
            expect_close(own.values, hidden.values, dtype, hidden.mask, batching)
    assert (told.fused is None) == (live.fused is None)
    if live.fused is not None and told.fused is not None:
        expect_close(told.fused, live.fused, dtype, every, batching)


@BUILD
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cache_says_what_the_live_teacher_says_in_any_batches(tmp_path: Path, build: Build, dtype: str):
    corpus, log = corpus_of(tmp_path), Log()
    teacher = build(corpus)
    cached = store(teacher, corpus, tmp_path / "cache", dtype, log=log)
    assert log.done == [64, 70, 30]
    order = np.random.default_rng(0).permutation(len(corpus))
    for rows in (order[:7], order[7:8], order[8:]):
        batch = corpus.batch(rows)
        compare(cached(batch), teacher(batch), batch, dtype)
    assert (cached.shape, cached.name) == (teacher.shape, teacher.name)


@BUILD
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_exact_where_the_live_teacher_sees_the_batches_of_the_build(tmp_path: Path, build: Build, dtype: str):
    corpus = corpus_of(tmp_path)
    teacher, counts = build(corpus), corpus.words()
    cached = store(teacher, corpus, tmp_path / "cache", dtype)
    for first, end in ((0, 70), (70, 100)):  # each split by itself, its rows sorted by length, 64 at a time
        rows = sorted(range(first, end), key=lambda row: (counts[row], row))
        for start in range(0, len(rows), 64):
            batch = corpus.batch(np.array(rows[start : start + 64]))
            compare(cached(batch), teacher(batch), batch, dtype, batching=0.0)


@BUILD
def test_a_batch_without_text_or_without_image(tmp_path: Path, build: Build):
    corpus = corpus_of(tmp_path)
    teacher = build(corpus)
    cached = store(teacher, corpus, tmp_path / "cache")
    for rows in ([1, 5, 9], [2, 6]):  # images alone, texts alone
        batch = corpus.batch(np.array(rows))
        assert not (batch.has_text & batch.has_image).any()
        compare(cached(batch), teacher(batch), batch, "fp32")


@BUILD
def test_filtered_rows_and_workers(tmp_path: Path, build: Build):
    corpus = corpus_of(tmp_path, limit=20)
    teacher = build(corpus)
    cached = store(teacher, corpus, tmp_path / "cache")
    assert len(corpus) == 40
    chosen = np.random.default_rng(1).permutation(40)[:23]
    seen = 0
    for batch in load(corpus, [chosen[:10], chosen[10:]], workers=2):
        compare(cached(batch), teacher(batch), batch, "fp32")
        seen += len(batch.ids)
    assert seen == 23


@BUILD
def test_views_are_told_apart_also_where_their_words_differ(tmp_path: Path, build: Build):
    plain = corpus_of(tmp_path)
    views = [view_of(plain, number) for number in range(3)]
    teacher = build(plain)
    cached = store(teacher, views, tmp_path / "cache", "fp16")
    assert isinstance(cached, CachedViews)
    assert len({tuple(view.words()) for view in views}) == 3
    rows = np.random.default_rng(2).permutation(len(plain))[:31]
    for view in views:
        batch = view.batch(rows)
        compare(cached(batch), teacher(batch), batch, "fp16")
    with pytest.raises(CacheError, match="comes from another corpus"):
        cached(plain.batch(rows))


def test_a_hundred_thousand_rows_are_read_without_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "SHARD_ROWS", 300)
    corpus = numbered_corpus(tmp_path, 1000, 777, 2)
    teacher = NumberTeacher()
    cached = store(teacher, corpus, tmp_path / "cache")
    counts, generator = corpus.words(), np.random.default_rng(3)
    read = wrong = 0
    while read < 100_000:
        rows = generator.integers(0, len(corpus), 500)
        width = int(counts[rows].max())
        mask = torch.from_numpy(np.arange(width) < counts[rows][:, None])
        numbers, none = torch.from_numpy(rows), torch.zeros(len(rows), dtype=torch.bool)
        batch = Batch(("",) * len(rows), corpus.key, numbers, mask, {}, {}, none, none, {}, {})
        said, own = cached(batch), numbers.float()
        right = (said.logits["code"] == torch.stack([own, -own, own / 2], -1)).all(-1)
        right &= (said.pooled["text"] == torch.stack([own, own + 1], -1)).all(-1)
        right &= said.speaks == (numbers % 3 != 0)
        right &= (said.words == (mask & (numbers % 2 == 0)[:, None])).all(-1)
        expected = torch.stack([own[:, None].expand(mask.shape), torch.arange(width).expand(mask.shape).float()], -1)
        right &= (said.logits["place"] == expected * mask[..., None]).flatten(1).all(-1)
        hidden = said.hidden["text"][0]
        right &= (hidden.values[..., :2] == expected * mask[..., None]).flatten(1).all(-1)
        right &= (hidden.mask == mask).all(-1)
        read, wrong = read + len(rows), wrong + int((~right).sum())
    assert wrong == 0


def test_shards_that_change_places_are_wrong_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The control of the test above: what it looks at does see a wrong row."""
    monkeypatch.setattr(build, "SHARD_ROWS", 300)
    corpus = numbered_corpus(tmp_path, 600)
    cached = store(NumberTeacher(), corpus, tmp_path / "cache")
    assert isinstance(cached, CachedTeacher)
    arrays = cached.reader._arrays
    arrays[0], arrays[1] = arrays[1], arrays[0]
    batch = corpus.batch(np.array([5]))
    assert float(cached(batch).pooled["text"][0, 0]) != 5.0


class Asked(Dataset[Outputs]):
    """Reads the cache inside a worker of a loader."""

    def __init__(self, cached: Speaker, corpus: Corpus) -> None:
        self.cached, self.corpus = cached, corpus

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor:
        return self.cached(self.corpus.batch(rows)).pooled["text"]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_it_can_be_read_in_other_processes(tmp_path: Path, method: str):
    corpus = numbered_corpus(tmp_path, 90)
    cached = store(NumberTeacher(), corpus, tmp_path / "cache")
    rows = [np.arange(first, first + 30) for first in (0, 30, 60)]
    loader = DataLoader(
        Asked(cached, corpus), sampler=rows, batch_size=None, num_workers=2, multiprocessing_context=method
    )
    for own, pooled in zip(rows, loader, strict=True):
        assert pooled[:, 0].tolist() == own.tolist()


def test_what_is_sent_to_a_process_holds_no_arrays(tmp_path: Path):
    corpus = numbered_corpus(tmp_path, 2000)
    cached = store(NumberTeacher(), corpus, tmp_path / "cache")
    assert isinstance(cached, CachedTeacher)
    sent = pickle.dumps(cached.reader)
    assert len(sent) < 20_000
    again = pickle.loads(sent)
    assert isinstance(again, Reader)
    assert again.read(np.array([1234]), 6, CPU)["pooled.text"][0, 0] == 1234


def test_another_corpus_is_refused(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    cached = store(text_teacher(corpus), corpus, tmp_path / "cache")
    other = corpus_of(tmp_path, {"train": random_rows(50), "transfer": random_rows(30, seed=2, labels=False)})
    with pytest.raises(CacheError, match="teacher bert: the batch comes from another corpus"):
        cached(other.batch(np.array([0])))
    cached(corpus.batch(np.array([0])))


@BUILD
def test_several_layers_or_none(tmp_path: Path, build: Build):
    corpus = corpus_of(tmp_path)
    for layers in ((), (0, 1)):
        teacher = build(corpus, layers)
        cached = store(teacher, corpus, tmp_path / "cache", identity=IDENTITY | {"layers": str(layers)})
        batch = corpus.batch(np.arange(len(corpus)))
        compare(cached(batch), teacher(batch), batch, "fp32")


def test_the_cache_has_nothing_to_train(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    cached = store(text_teacher(corpus), corpus, tmp_path / "cache")
    assert list(cached.parameters()) == []
    assert not cached(corpus.batch(np.array([0]))).logits["mood"].requires_grad


# What is refused.


@pytest.mark.parametrize("size", [1e5, math.inf, math.nan])
def test_what_does_not_fit_the_dtype_is_refused_and_named(tmp_path: Path, size: float):
    corpus = corpus_of(tmp_path)
    teacher = text_teacher(corpus)
    with torch.no_grad():
        teacher.heads["mood"].bias[0] = size
    expected = r"teacher bert for listed/train: logits\.mood of train/\d+ is not finite as fp16"
    with pytest.raises(CacheError, match=expected):
        store(teacher, corpus, tmp_path / "cache", "fp16")
    (folder,) = (tmp_path / "cache").iterdir()
    assert list(folder.glob("**/*.npy")) == []
    if size == 1e5:
        store(teacher, corpus, tmp_path / "cache", "fp32")  # it fits there
        store(teacher, corpus, tmp_path / "cache", "bf16")


def one_shard(folder: Path) -> Path:
    """The shard of the first split."""
    return next(p.parent for p in sorted(folder.glob("*/*/" + SHARD)) if unseal(p, Shard).end == 70)


def forge(place: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    """Change an array of a shard, and every hash that says what it was."""
    values = np.load(place / f"{name}.npy")
    change(values)
    np.save(place / f"{name}.npy", values)
    manifest = unseal(place.parent / MANIFEST, Manifest)
    files = manifest.shards[0].files | {f"{name}.npy": file_hash(place / f"{name}.npy")}
    forged = manifest.model_copy(update={"shards": (manifest.shards[0].model_copy(update={"files": files}),)})
    (place.parent / MANIFEST).write_text(seal(forged), "utf-8")


def test_a_flipped_byte_is_named(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder)
    path = one_shard(folder) / "logits.ner.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"logits\.ner\.npy: the content is not what was written"):
        store(text_teacher(corpus), corpus, folder)


def test_a_missing_file_is_named(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder)
    (one_shard(folder) / "speaks.npy").unlink()
    with pytest.raises(StoreError, match=r"speaks\.npy: is missing; `mmkd cache gc --yes`"):
        store(text_teacher(corpus), corpus, folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"parts": {}, "digest": ""}'])
def test_an_unreadable_manifest_is_refused(tmp_path: Path, text: str):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder)
    (one_shard(folder).parent / MANIFEST).write_text(text, "utf-8")
    with pytest.raises(StoreError, match=r"manifest\.json: cannot be read"):
        store(text_teacher(corpus), corpus, folder)


def test_an_edited_manifest_is_refused(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder)
    path = one_shard(folder).parent / MANIFEST
    plain = json.loads(path.read_text("utf-8"))
    plain["parts"]["weights"] = "other"
    path.write_text(json.dumps(plain), "utf-8")
    with pytest.raises(StoreError, match="does not match its own sha256"):
        store(text_teacher(corpus), corpus, folder)
    path.write_text(seal(Manifest.model_validate_json(json.dumps({k: plain[k] for k in plain if k != "digest"}))))
    with pytest.raises(StoreError, match="what it depends on has the key"):
        store(text_teacher(corpus), corpus, folder)


def add_one(values: np.ndarray) -> None:
    values += values.dtype.type(1)


def turn_over(values: np.ndarray) -> None:
    values[...] = ~values


WRONG = {"words": turn_over, "speaks": turn_over, "has.text": turn_over, "mask.text.0": turn_over}


@pytest.mark.parametrize(
    "name", ["logits.mood", "logits.ner", "pooled.text", "hidden.text.0", "words", "speaks", "has.text", "mask.text.0"]
)
def test_wrong_values_under_right_hashes_are_caught_by_the_live_comparison(tmp_path: Path, name: str):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder)
    forge(one_shard(folder), name, WRONG.get(name, add_one))
    expected = rf"the cached {name.replace('.', '[.]')} of row \d+ \(train/\d+\) differs from the live teacher by 1"
    with pytest.raises(CacheError, match=expected):
        store(text_teacher(corpus), corpus, folder)


def test_one_wrong_row_is_found_and_named_when_it_is_drawn(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder)

    def change(values: np.ndarray) -> None:
        values[33] += 1

    forge(one_shard(folder), "pooled.text", change)
    found = 0
    for seed in range(40):
        drawn = 33 in drawn_rows(len(corpus), np.random.default_rng(seed))
        try:
            store(text_teacher(corpus), corpus, folder, seed=seed)
            assert not drawn
        except CacheError as error:
            assert drawn
            assert "of row 33 (train/33)" in str(error)
            found += 1
    assert 0 < found < 40


def test_rows_are_drawn_anew_by_the_generator():
    generator = np.random.default_rng(0)
    draws = [drawn_rows(100_000, generator) for _ in range(3)]
    assert [len(set(rows.tolist())) for rows in draws] == [64, 64, 64]
    assert draws[0].tolist() != draws[1].tolist() != draws[2].tolist()
    assert drawn_rows(5, generator).tolist() == [0, 1, 2, 3, 4]
    assert len(drawn_rows(3000, generator)) == 8
    assert len(drawn_rows(3000, generator, share=0.5)) == 1500


def test_a_teacher_that_changed_behind_the_same_identity_is_caught(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder, "bf16")
    teacher = text_teacher(corpus)
    with torch.no_grad():
        teacher.heads["ner"].weight.mul_(1.5)
    with pytest.raises(CacheError, match=r"logits\.ner of row"):
        store(teacher, corpus, folder, "bf16")


def test_a_teacher_that_says_more_than_the_cache_is_caught(tmp_path: Path):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    store(text_teacher(corpus), corpus, folder)
    with pytest.raises(CacheError, match=r"the live teacher says .*hidden\.text\.1"):
        store(text_teacher(corpus, (0, 1)), corpus, folder)


# What is made anew, and what is said of it.


@BUILD
def test_it_is_found_again_from_the_same_parts_alone(tmp_path: Path, build: Build):
    corpus, folder = corpus_of(tmp_path), tmp_path / "cache"
    teacher = build(corpus)

    def made(corpus: Corpus = corpus, dtype: str = "fp32", **identity: str) -> tuple[list[int], list[str]]:
        log = Log()
        store(teacher, corpus, folder, dtype, IDENTITY | identity, log)
        return log.done, [line for line in log.lines if "made anew" in line]

    assert made() == ([64, 70, 30], [])
    assert made() == ([], [])
    name = teacher.name
    for part in ("weights", "code", "layers"):
        done, said = made(**{part: "other"})
        verb = "differs" if part == "code" else "differ"
        assert done == [64, 70, 30]
        assert said == [
            f"cache of {name} for listed/{split}: {part} {verb}, made anew" for split in ("train", "transfer")
        ]
    assert made(dtype="bf16")[1][0] == f"cache of {name} for listed/train: dtype differs, made anew"
    assert made(dtype="bf16", weights="other", code="other")[1][0].endswith("train: code, weights differ, made anew")
    rows = {"train": random_rows(70), "transfer": [Row("today"), *random_rows(30, seed=1, labels=False)[1:]]}
    changed = made(corpus_of(tmp_path, rows))
    assert changed == ([30], [f"cache of {name} for listed/transfer: rows differ, made anew"])  # that split alone


def test_it_is_found_whatever_the_teacher_is_called(tmp_path: Path):
    corpus, log = corpus_of(tmp_path), Log()
    store(text_teacher(corpus), corpus, tmp_path / "cache")
    store(text_teacher(corpus, name="both"), corpus, tmp_path / "cache", log=log)
    assert log.done == []
