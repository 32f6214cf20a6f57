"""Checkpoints: all or nothing, and never silently changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmkd import checkpoint
from mmkd.checkpoint import MANIFEST, WEIGHTS, CheckpointError
from tiny_project import same_weights

FACTS = {"epoch": 3, "value": 0.1 + 0.2, "history": [{"epoch": 0, "terms": {"a": 1e-30}}]}


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "matrix": torch.randn(3, 4, generator=generator),
        "half": torch.randn(5, generator=generator).bfloat16(),
        "channels_last": torch.randn(2, 3, 4, 4, generator=generator).to(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "transposed": torch.randn(3, 4, generator=generator).T,
    }


def test_what_is_saved_is_loaded_bit_by_bit(tmp_path: Path):
    checkpoint.save(tmp_path / "deep" / "one", weights(), FACTS)
    found, facts, sha256 = checkpoint.load(tmp_path / "deep" / "one")
    assert same_weights(found, weights())
    assert facts == FACTS
    assert len(sha256) == 64


def test_the_hash_follows_the_weights_alone(tmp_path: Path):
    hashes = []
    for name, seed, facts in (("a", 0, FACTS), ("b", 0, {}), ("c", 1, FACTS)):
        checkpoint.save(tmp_path / name, weights(seed), facts)
        hashes.append(checkpoint.load(tmp_path / name)[2])
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_changed_byte_is_found_and_the_file_named(tmp_path: Path, name: str):
    checkpoint.save(tmp_path / "one", weights(), FACTS)
    path = tmp_path / "one" / name
    content = bytearray(path.read_bytes())
    if name == WEIGHTS:
        content[-1] ^= 1
    else:
        content[content.index(b'"epoch": 3') + 9] = ord("4")  # still JSON: only its own hash can tell
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: sha256 .* expected"):
        checkpoint.load(tmp_path / "one")


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"sha256": "0", "facts": {}})])
def test_an_unreadable_manifest_is_refused(tmp_path: Path, text: str):
    checkpoint.save(tmp_path / "one", weights(), FACTS)
    (tmp_path / "one" / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "one")


def test_what_is_not_there_is_said_so(tmp_path: Path):
    assert not checkpoint.exists(tmp_path / "none")
    with pytest.raises(CheckpointError, match="none: not a checkpoint"):
        checkpoint.load(tmp_path / "none")


def test_a_failed_write_leaves_the_one_before_and_nothing_else(tmp_path: Path):
    checkpoint.save(tmp_path / "one", weights(), FACTS)
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "one", weights(1), {"not plain": object()})
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "two", weights(1), {"not plain": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert same_weights(checkpoint.load(tmp_path / "one")[0], weights())


def test_an_older_one_is_replaced_whole(tmp_path: Path):
    checkpoint.save(tmp_path / "one", weights(0), FACTS)
    checkpoint.save(tmp_path / "one", weights(1), {"epoch": 4})
    found, facts, _ = checkpoint.load(tmp_path / "one")
    assert same_weights(found, weights(1))
    assert facts == {"epoch": 4}


def test_weights_hash_sees_names_types_shapes_and_bits():
    base = {"a": torch.zeros(2, 3)}
    others = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.float64)},
        {"a": torch.tensor([[0.0, 0, 0], [0, 0, -0.0]])},
        {"a": torch.zeros(2, 3), "b": torch.tensor(0)},
    ]
    hashes = {checkpoint.weights_hash(each) for each in (base, *others)}
    assert len(hashes) == 6
    assert checkpoint.weights_hash({"a": torch.zeros(3, 2).T}) == checkpoint.weights_hash(base)
