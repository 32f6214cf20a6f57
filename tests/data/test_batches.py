"""Batches are read alike, whoever loads them; a single set's batches by size keep their old properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmkd.config.mixing import Size
from mmkd.data.batches import load, reading_rows, to_device
from mmkd.data.sampling import training_batches
from mmkd.types import Batch
from tiny_project import everything, listed_corpus, random_rows

LENGTHS = np.random.default_rng(0).integers(0, 40, 997)


def training_rows(lengths: np.ndarray, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    return training_batches(lengths, {"rows": len(lengths)}, size, Size(), seed, epoch)


@pytest.mark.parametrize("size", [1, 8, 32, 2000])
def test_an_epoch_holds_each_row_once(size: int):
    batches = training_rows(LENGTHS, size, seed=3, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(LENGTHS)))
    assert len(batches) == -(-len(LENGTHS) // size)
    assert max(len(batch) for batch in batches) == min(size, len(LENGTHS))


def test_only_seed_and_epoch_determine_it():
    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in training_rows(LENGTHS, 32, seed, epoch)]

    before = plan(0, 0)
    np.random.seed(5)
    torch.manual_seed(5)
    assert plan(0, 0) == before
    assert plan(0, 1) != before
    assert plan(1, 0) != before
    assert plan(0, 1) != plan(1, 0)


def test_neighbours_are_of_similar_length_and_long_texts_do_not_come_last():
    batches = training_rows(LENGTHS, 16, seed=0, epoch=0)
    padded = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    alone = np.random.default_rng(1).permutation(len(LENGTHS))
    unsorted = [alone[i : i + 16] for i in range(0, len(alone), 16)]
    assert padded < 0.7 * sum(len(batch) * LENGTHS[batch].max() for batch in unsorted)
    longest = [LENGTHS[batch].max() for batch in batches]
    assert longest != sorted(longest)


def test_reading_takes_each_row_once_in_order_of_length():
    rows = np.concatenate(reading_rows(LENGTHS, 32))
    assert sorted(rows.tolist()) == list(range(len(LENGTHS)))
    assert (np.diff(LENGTHS[rows]) >= 0).all()


def equal(one: Batch, other: Batch) -> bool:
    same = [one.ids == other.ids, torch.equal(one.rows, other.rows), torch.equal(one.word_mask, other.word_mask)]
    same += [torch.equal(one.labels[name], other.labels[name]) for name in one.labels]
    same += [torch.equal(one.tokens["student"].ids, other.tokens["student"].ids)]
    same += [torch.equal(one.images["student"], other.images["student"])]
    return all(same)


def test_workers_give_the_same_batches_in_the_same_order(tmp_path: Path):
    corpus = listed_corpus(random_rows(20), tmp_path)
    rows = training_rows(corpus.words(), 6, seed=0, epoch=0)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    alone, together = list(load(corpus, rows, workers=0)), list(load(corpus, rows, workers=2))
    assert [batch.rows.tolist() for batch in alone] == [chosen.tolist() for chosen in rows]
    assert len(alone) == len(together)
    assert all(equal(one, other) for one, other in zip(alone, together, strict=True))
    assert torch.equal(torch.get_rng_state(), state)  # loading draws nothing from the run's stream


def test_to_device_moves_every_tensor_and_leaves_the_rest(tmp_path: Path):
    batch = everything(listed_corpus(random_rows(3), tmp_path))
    moved = to_device(batch, torch.device("meta"))
    tensors = [moved.rows, moved.word_mask, moved.has_text, moved.has_image, *moved.labels.values()]
    tensors += [*moved.has_label.values(), *moved.images.values()]
    tensors += [moved.tokens["student"].ids, moved.tokens["student"].mask, moved.tokens["student"].word]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.ids == batch.ids
    assert moved.corpus == batch.corpus
