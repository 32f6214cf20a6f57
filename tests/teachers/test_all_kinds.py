"""What holds for every kind of teacher: a new file of the folder is run through all of it, or the test says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmkd.cache.store import Making, cached
from mmkd.config import plugins
from mmkd.config.experiment import Student as StudentConfig
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.encode import DataSplit
from mmkd.student.stored import save_student
from mmkd.student.student import READER, Student
from mmkd.teachers.base import Speaker, Teacher
from mmkd.types import Batch, Outputs
from tiny_project import FORMS, IMAGE, TASKS, TEXT, Listed, data_split, everything, random_rows, reader, same_weights

ROWS = random_rows(12)
MODULE = "encoder.layer.0.attention.output"
CLIP: dict[str, Any] = {
    "architecture": {
        "model_type": "clip",
        "projection_dim": 12,
        "text_config": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 40,
        },
        "vision_config": {
            "hidden_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 24,
            "patch_size": 8,
        },
    },
    "vocabulary": 48,
    "max_tokens": 40,
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.4],
}
SIGLIP = {
    **CLIP,
    "architecture": {k: v for k, v in CLIP["architecture"].items() if k != "projection_dim"} | {"model_type": "siglip"},
}
SIGLIP["architecture"]["vision_config"] = {**CLIP["architecture"]["vision_config"], "hidden_size": 16}


@dataclass
class Scene:
    """A teacher under the name `t`, what it reads, and a corpus that it can read."""

    teacher: Teacher
    corpus: Corpus


def texts() -> list[list[str]]:
    return [row.text.split() for row in ROWS]


def split_of(folder: Path) -> DataSplit:
    return data_split(Listed({"train": ROWS}), "train", folder)


def store_run(folder: Path) -> Path:
    """The student of a run, as `run.py` leaves it."""
    torch.manual_seed(1)
    own = Readers({READER: reader(texts(), folder, 32, 50)}, {})
    config = StudentConfig.model_validate({"text": {**TEXT, "max_tokens": 32, "vocabulary": 50}, "width": 10})
    save_student(folder / "run" / "seed0", Student(config, TASKS, own, {}), own, {"epoch": 0, "seed": 0})
    return folder / "run" / "seed0"


def store_file(folder: Path) -> Path:
    """Logits of every row."""
    generator = np.random.default_rng(0)
    ids = [f"train/{number}" for number in range(len(ROWS))]
    columns = {
        "id": ids,
        "mood": generator.normal(size=(len(ROWS), 3)).tolist(),
        "ner": [generator.normal(size=(len(row.text.split()), 3)).tolist() for row in ROWS],
        "feature": generator.normal(size=(len(ROWS), 5)).tolist(),
    }
    labels = json.dumps({"mood": TASKS["mood"].labels, "ner": TASKS["ner"].labels})
    table = pa.table(columns).replace_schema_metadata({"labels": labels})
    pq.write_table(table, folder / "said.parquet")
    return folder / "said.parquet"


def plain_of(kind: str, folder: Path) -> dict[str, Any]:
    """A small experiment's section for each kind."""
    match kind:
        case "hf_text":
            return {**TEXT, "tasks": ["mood", "ner"], "layers": [0, "embedding", "1.query", "1.key", MODULE]}
        case "timm":
            return {**IMAGE, "size": 40, "tasks": ["mood", "risk"], "layers": [1, "embedding"]}
        case "timm vit":
            vit = {"model": "test_vit", "size": 48, "options": {"img_size": 48}}
            return {
                "kind": "timm",
                **vit,
                "tasks": ["mood"],
                "layers": [0, "0.query", "0.key", "0.value", "blocks.1.mlp"],
            }
        case "hf_multimodal":
            return {**CLIP, "tasks": ["mood", "ner"], "layers": {"text": [0], "image": [1, 2]}}
        case "hf_multimodal siglip":
            return {**plain_of("hf_multimodal", folder), "kind": "hf_multimodal", **SIGLIP}
        case "run":
            run = str(store_run(folder))
            return {"run": run, "tasks": ["mood", "ner"], "reads": ["text"], "layers": {"text": [0, "1.key", MODULE]}}
        case "precomputed":
            return {"file": str(store_file(folder)), "tasks": ["mood", "ner"], "pooled": {"text": "feature"}}
        case "ensemble":
            return {"members": {"a": 1.0, "b": 1.0}, "tasks": ["mood"]}
        case _:
            raise AssertionError(f"tests/teachers/test_all_kinds.py: state a small section for the kind {kind}")


def build(kind: str, folder: Path, name: str = "t") -> Scene:
    """The teacher as a workspace builds it: its kind says what it reads."""
    plugin = plugins.load("teachers", kind.partition(" ")[0])
    config = plugin.Config.model_validate({"kind": kind, **plain_of(kind, folder)})
    own = plugin.Teacher.readers_of(config, name, texts, folder / "tokenizers")
    tasks = {task: TASKS[task] for task in config.tasks}
    torch.manual_seed(0)
    if not config.speaks_for:
        return Scene(plugin.Teacher(config, name, tasks, own), Corpus([split_of(folder)], FORMS, own))
    scenes = {
        member: build(kind, folder, member) for member, kind in zip(config.speaks_for, ("hf_text", "timm"), strict=True)
    }
    teacher = plugin.Teacher(config, name, tasks, own, {member: scene.teacher for member, scene in scenes.items()})
    return Scene(teacher, Corpus([split_of(folder)], FORMS, teacher.readers))


EVERY = pytest.mark.parametrize("kind", [*plugins.kinds("teachers"), "hf_multimodal siglip", "timm vit"])


def tensors(outputs: Outputs) -> list[torch.Tensor]:
    hidden = [layer.values for layers in outputs.hidden.values() for layer in layers.values()]
    return [*outputs.logits.values(), *outputs.pooled.values(), *hidden]


@EVERY
def test_a_frozen_teacher_neither_learns_nor_changes(tmp_path: Path, kind: str):
    scene = build(kind, tmp_path)
    teacher, batch = scene.teacher, everything(scene.corpus)
    if any(True for _ in teacher.parameters()):
        assert any(value.requires_grad for value in tensors(teacher(batch)))  # before it is frozen
    teacher.freeze()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    first = tensors(teacher(batch))
    assert not any(value.requires_grad for value in first)
    learner = torch.nn.Linear(3, 3)
    (learner(teacher(batch).logits["mood"]) ** 2).mean().backward()
    torch.optim.SGD([*learner.parameters(), *teacher.parameters()], lr=1.0).step()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert same_weights(teacher.state_dict(), before)
    assert all(torch.equal(one, other) for one, other in zip(first, tensors(teacher(batch)), strict=True))


@EVERY
def test_the_stated_shape_is_the_shape_of_the_outputs(tmp_path: Path, kind: str):
    scene = build(kind, tmp_path)
    teacher, batch = scene.teacher, everything(scene.corpus)
    teacher.freeze()
    outputs = teacher(batch)
    examples, words = batch.word_mask.shape
    assert outputs.logits.keys() == teacher.tasks.keys() == set(teacher.config.tasks)
    for task, logits in outputs.logits.items():
        assert logits.shape == ((examples, 3) if TASKS[task].level == "example" else (examples, words, 3))
    assert outputs.pooled.keys() == outputs.has.keys() == teacher.shape.pooled.keys() == set(teacher.config.modalities)
    for modality, pooled in outputs.pooled.items():
        assert pooled.shape == (examples, teacher.shape.pooled[modality])
        layers = teacher.config.layers_of(modality)
        assert tuple(outputs.hidden.get(modality, {})) == tuple(teacher.shape.hidden.get(modality, {})) == layers
        for layer in layers:
            hidden = outputs.hidden[modality][layer]
            assert hidden.values.shape == (*hidden.mask.shape, teacher.shape.hidden[modality][layer])
            if hidden.grid is not None:
                assert hidden.values.shape[1] == hidden.grid[0] * hidden.grid[1]
    assert outputs.speaks.shape == (examples,)
    assert outputs.words.shape == (examples, words)
    assert not (outputs.words & ~batch.word_mask).any()
    assert not (outputs.words & ~outputs.speaks[:, None]).any()


@EVERY
def test_a_batch_of_other_rows_changes_nothing(tmp_path: Path, kind: str):
    """Other rows beside it, and another padding, leave what is said about a row as it is."""
    scene = build(kind, tmp_path)
    teacher, whole = scene.teacher, everything(scene.corpus)
    teacher.freeze()
    said = teacher(whole)
    for row in range(len(scene.corpus)):
        alone = teacher(scene.corpus.batch(np.array([row])))
        assert bool(alone.speaks[0]) == bool(said.speaks[row])
        width = alone.words.shape[1]
        assert torch.equal(alone.words[0], said.words[row, :width])
        if not alone.speaks[0]:
            continue
        for task, logits in alone.logits.items():
            found, expected = logits[0], said.logits[task][row]
            if TASKS[task].level == "word":
                found, expected = found[alone.words[0]], expected[:width][alone.words[0]]
            assert torch.allclose(found, expected, atol=1e-5)
        for modality, pooled in alone.pooled.items():
            if alone.has[modality][0]:
                assert torch.allclose(pooled[0], said.pooled[modality][row], atol=1e-5)


NETWORKS = [kind for kind in plugins.kinds("teachers") if plugins.load("teachers", kind).Config.network]


@pytest.mark.parametrize("kind", [*NETWORKS, "timm vit"])
def test_the_cache_says_what_the_network_says(tmp_path: Path, kind: str):
    scene = build(kind, tmp_path)
    scene.teacher.freeze()
    identity = {"weights": "w"}
    making = Making(tmp_path / "cache", "fp32", torch.device("cpu"), print, ignore)
    told = cached(scene.teacher, identity, [scene.corpus], making, np.random.default_rng(0))
    batch = scene.corpus.batch(np.array([7, 3, 0, 10]))
    found, expected = told(batch), scene.teacher(batch)
    assert torch.equal(found.speaks, expected.speaks)
    assert torch.equal(found.words, expected.words)
    for modality, has in expected.has.items():
        assert torch.equal(found.has[modality], has)
    for task, logits in expected.logits.items():
        rows = expected.words if logits.ndim == 3 else expected.speaks
        assert torch.allclose(found.logits[task][rows], logits[rows], atol=1e-5)
    for modality, layers in expected.hidden.items():
        assert torch.allclose(found.pooled[modality], expected.pooled[modality], atol=1e-5)
        for layer, hidden in layers.items():
            own = found.hidden[modality][layer]
            assert (own.grid, own.mask.tolist()) == (hidden.grid, hidden.mask.tolist())
            assert torch.allclose(own.values[own.mask], hidden.values[hidden.mask], atol=1e-5)
    assert told.shape == scene.teacher.shape


def same_logits(speaker: Speaker, batch: Batch, atol: float) -> bool:
    """Whether each head, on the feature that it reads, gives what the speaker says."""
    said = speaker(batch)
    return all(
        torch.allclose(head(head.feature(said))[said.speaks], said.logits[task][said.speaks], atol=atol)
        for task, head in speaker.taught_heads().items()
    )


@EVERY
def test_its_own_heads_make_its_logits_of_the_features_that_it_gives(tmp_path: Path, kind: str):
    scene = build(kind, tmp_path)
    teacher, batch = scene.teacher, everything(scene.corpus)
    teacher.freeze()
    over_examples = {task for task, own in teacher.tasks.items() if own.level == "example"}
    heads = teacher.taught_heads()
    assert set(heads) == (over_examples if teacher.config.own_heads else set())
    assert same_logits(teacher, batch, 1e-5)
    for task, head in heads.items():
        said = teacher(batch)
        assert head.feature(said).shape == (len(batch.ids), head.width)
        off = {name: value + 0.1 for name, value in head.module.state_dict().items()}
        head.module.load_state_dict(off)  # the control; the teacher's own is another
        assert not torch.allclose(head(head.feature(said))[said.speaks], said.logits[task][said.speaks], atol=1e-2)
    assert same_logits(teacher, batch, 1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_head_beside_the_cache_suits_what_is_stored(tmp_path: Path, kind: str):
    """The head comes with the cache, and makes the stored logits of the stored features; it outlives the teacher."""
    scene = build(kind, tmp_path)
    scene.teacher.freeze()
    making = Making(tmp_path / "cache", "fp32", torch.device("cpu"), print, ignore)
    told = cached(scene.teacher, {"weights": "w"}, [scene.corpus], making, np.random.default_rng(0))
    assert told.taught_heads().keys() == scene.teacher.taught_heads().keys() != set()
    with torch.no_grad():
        for parameter in scene.teacher.parameters():
            parameter.zero_()  # whatever becomes of it
    assert same_logits(told, scene.corpus.batch(np.array([7, 3, 0, 10])), 1e-4)


def ignore(done: int, total: int) -> None:
    """No progress bar."""


def test_each_kind_reads_with_its_own_tokenizer_size_and_normalisation(tmp_path: Path):
    made = {kind: build(kind, tmp_path, kind) for kind in NETWORKS}
    text = {kind: scene.teacher.readers.text[kind] for kind, scene in made.items() if scene.teacher.readers.text}
    longest = {kind: one.max_tokens for kind, one in text.items()}
    assert longest == {"hf_multimodal": 40, "hf_text": 64, "run": 32}
    assert len({one.vocabulary for one in text.values()}) == len({one.identity for one in text.values()}) == len(text)
    size = {kind: scene.teacher.readers.image[kind].size for kind, scene in made.items() if scene.teacher.readers.image}
    assert size == {"hf_multimodal": 24, "timm": 40}
    assert made["hf_multimodal"].teacher.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert made["hf_multimodal"].teacher.std.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])
    for kind in ("precomputed", "ensemble"):
        own = plugins.load("teachers", kind)
        config = own.Config.model_validate({"kind": kind, **plain_of(kind, tmp_path)})
        assert own.Teacher.readers_of(config, "t", texts, tmp_path) == Readers({}, {})


def test_a_kind_without_a_section_here_is_noticed(tmp_path: Path):
    with pytest.raises(AssertionError, match="state a small section for the kind new"):
        plain_of("new", tmp_path)
