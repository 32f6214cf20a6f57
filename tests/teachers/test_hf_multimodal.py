"""A teacher of texts and images: what it says where one is missing, and a pretrained one with its own processor."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkd.data.corpus import Corpus, Readers
from mmkd.teachers import hf_multimodal
from tiny_project import FORMS, TASKS, Listed, data_split, everything, random_rows

ROWS = random_rows(12)
TOWER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ARCHITECTURE = {
    "model_type": "clip",
    "projection_dim": 12,
    "text_config": {**TOWER, "max_position_embeddings": 40},
    "vision_config": {**TOWER, "image_size": 24, "patch_size": 8},
}
PLAIN: dict[str, Any] = {
    "architecture": ARCHITECTURE,
    "vocabulary": 48,
    "max_tokens": 40,
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.4],
    "tasks": ["mood", "ner"],
}


def texts() -> list[list[str]]:
    return [row.text.split() for row in ROWS]


def build(folder: Path, plain: dict[str, Any]) -> tuple[hf_multimodal.Teacher, Corpus]:
    config = hf_multimodal.Config.model_validate(plain)
    own = hf_multimodal.Teacher.readers_of(config, "clip", texts, folder)
    torch.manual_seed(0)
    teacher = hf_multimodal.Teacher(config, "clip", {name: TASKS[name] for name in config.tasks}, own)
    teacher.freeze()
    return teacher, Corpus([data_split(Listed({"train": ROWS}), "train", folder)], FORMS, own)


def test_it_speaks_from_either_and_an_absent_one_does_not_matter(tmp_path: Path):
    teacher, corpus = build(tmp_path, PLAIN)
    batch = everything(corpus)
    said = teacher(batch)
    assert torch.equal(said.speaks, batch.has_text | batch.has_image)
    assert torch.equal(said.words, batch.word_mask & batch.has_text[:, None])
    assert said.pooled["text"].shape == said.pooled["image"].shape == (12, 12)
    noise = torch.randint_like(batch.images["clip"], 255)
    pixels = torch.where(batch.has_image[:, None, None, None], batch.images["clip"], noise)
    assert torch.equal(teacher(replace(batch, images={"clip": pixels})).logits["mood"], said.logits["mood"])
    other = teacher(replace(batch, images={"clip": noise})).logits["mood"]
    assert not torch.allclose(other[batch.has_image], said.logits["mood"][batch.has_image])  # an image does matter


def test_features_are_those_of_transformers(tmp_path: Path):
    """One example at a time, without padding, normalised by hand."""
    teacher, corpus = build(tmp_path, PLAIN)
    batch = everything(corpus)
    said = teacher(batch)
    mean, std = torch.tensor(PLAIN["mean"]), torch.tensor(PLAIN["std"])
    for row in range(12):
        pixels = ((batch.images["clip"][row].permute(1, 2, 0) / 255 - mean) / std).permute(2, 0, 1)
        ids = batch.tokens["clip"].ids[row][batch.tokens["clip"].mask[row]]
        if batch.has_image[row]:
            expected = teacher.model.get_image_features(pixel_values=pixels[None]).pooler_output[0]
            assert torch.allclose(said.pooled["image"][row], expected, atol=1e-5)
        if batch.has_text[row]:
            expected = teacher.model.get_text_features(input_ids=ids[None]).pooler_output[0]
            assert torch.allclose(said.pooled["text"][row], expected, atol=1e-5)


def test_a_pretrained_one_brings_its_tokenizer_size_and_normalisation(tmp_path: Path):
    teacher, _ = build(tmp_path, PLAIN)
    folder = tmp_path / "model"
    teacher.model.save_pretrained(folder)
    teacher.readers.text["clip"].tokenizer.save_pretrained(folder)
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    plain = {"model": str(folder), "max_tokens": 40, "tasks": ["mood"]}
    loaded, _ = build(tmp_path, plain)
    assert loaded.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert loaded.std.flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert loaded.readers.image["clip"].size == 24
    weights, expected = loaded.model.state_dict(), teacher.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    stated, _ = build(tmp_path, {**plain, "mean": [0.0, 0.0, 0.0]})
    assert stated.mean.flatten().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": {"image": [2]}}, r"layers.image \[2\]: this tower has the layers 0 to 1"),
        ({"max_tokens": 41}, "max_tokens: found 41; this model reads at most 40"),
        ({"mean": None}, "has no processor; expected `mean` and `std`"),
        ({"architecture": {"model_type": "bert", "hidden_size": 16}}, "bert: expected a model of texts and images"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, PLAIN | changes)


def test_nobody_is_left_without_a_reader(tmp_path: Path):
    teacher, _ = build(tmp_path, PLAIN)
    assert teacher.readers != Readers({}, {})
    assert teacher.readers.text.keys() == teacher.readers.image.keys() == {"clip"}
