"""Blocks of a deeper network: the student is the teacher with the other blocks left out, for every architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from mmkd.config.encoders import ImageEncoder as ImageConfig
from mmkd.config.encoders import StudentImage, StudentText, TextEncoder
from mmkd.encoders.image import ImageEncoder
from mmkd.encoders.start import copy_blocks, shorter_image, shorter_text
from mmkd.encoders.text import TextEncoder as Encoder
from tiny_project import reader

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 72,
}
SMALL = {"dim": 16, "n_layers": 4, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 72}
# Where each architecture keeps its blocks, as its own code has it.
BLOCKS: dict[str, tuple[dict[str, Any], str]] = {
    "bert": (SIZES, "encoder.layer"),
    "roberta": (SIZES, "encoder.layer"),
    "electra": ({**SIZES, "embedding_size": 12}, "encoder.layer"),
    "roformer": (SIZES, "encoder.layer"),
    "distilbert": (SMALL, "transformer.layer"),
    "deberta-v2": ({**SIZES, "relative_attention": True}, "encoder.layer"),
    "mpnet": (SIZES, "encoder.layer"),
    "modernbert": ({**SIZES, "global_attn_every_n_layers": 2, "local_attention": 4}, "layers"),
}


def text_pair(folder: Path, kind: str, layers: tuple[int, ...]) -> tuple[Encoder, Encoder]:
    """A teacher, and a student with those of its blocks, both in evaluation mode."""
    torch.manual_seed(0)
    own = reader([["profit", "falls"]], folder)
    config = TextEncoder(architecture={"model_type": kind, **BLOCKS[kind][0]}, vocabulary=120, max_tokens=64)
    start = StudentText.model_validate({"start": {"teacher": "bert", "layers": layers}, "max_tokens": 64})
    teacher, student = Encoder(config, own).eval(), Encoder(shorter_text(start, config, own), own).eval()
    copy_blocks(student.model, teacher.model.state_dict(), layers)
    return teacher, student


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_student_is_its_teacher_without_the_other_blocks(tmp_path: Path, kind: str):
    teacher, student = text_pair(tmp_path, kind, (0, 2, 3))
    assert (teacher.depth, student.depth) == (4, 3)
    ids, mask = torch.tensor([[2, 7, 9, 8, 3]]), torch.ones(1, 5, dtype=torch.long)
    full = teacher.model(ids, attention_mask=mask).last_hidden_state
    listed = teacher.model.get_submodule(BLOCKS[kind][1])
    assert isinstance(listed, nn.ModuleList)
    del listed[1]
    # Some count their blocks by their config rather than by the list.
    teacher.model.config.num_hidden_layers = 3
    expected = teacher.model(ids, attention_mask=mask).last_hidden_state
    found = student.model(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (found - full).abs().max() > 1e-3


def test_a_list_that_is_as_long_as_the_blocks_by_chance_stays_as_it_is(tmp_path: Path):
    own = reader([["profit", "falls"]], tmp_path)
    kinds = ["p2c", "c2p"]
    plain = {"model_type": "deberta-v2", **SIZES, "num_hidden_layers": 2, "pos_att_type": kinds}
    teacher = TextEncoder(architecture=plain, vocabulary=120, max_tokens=64)
    start = StudentText.model_validate({"start": {"teacher": "bert", "layers": (0,)}, "max_tokens": 64})
    found = shorter_text(start, teacher, own).architecture
    assert found is not None
    assert (found["num_hidden_layers"], found["pos_att_type"]) == (1, kinds)


def test_all_blocks_give_the_whole_teacher(tmp_path: Path):
    teacher, student = text_pair(tmp_path, "bert", (0, 1, 2, 3))
    ids = torch.tensor([[2, 7, 9, 3]])
    assert torch.equal(student.model(ids).last_hidden_state, teacher.model(ids).last_hidden_state)


def test_the_copy_is_the_students_own(tmp_path: Path):
    teacher, student = text_pair(tmp_path, "bert", (1,))
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[name], value) for name, value in teacher.model.state_dict().items())


def test_what_does_not_suit_is_refused(tmp_path: Path):
    teacher, student = text_pair(tmp_path, "bert", (0, 2))
    weights = teacher.model.state_dict()
    with pytest.raises(ValueError, match=r"layer\.3\..* is missing"):
        copy_blocks(student.model, {k: v for k, v in weights.items() if ".layer.3." not in k}, (0, 3))
    name = "embeddings.word_embeddings.weight"
    with pytest.raises(ValueError, match=rf"{name} has the shape \[5, 16\], expected"):
        copy_blocks(student.model, {**weights, name: torch.zeros(5, 16)}, (0, 2))
    config = TextEncoder(architecture={"model_type": "bert", **SIZES}, vocabulary=120)
    start = StudentText.model_validate({"start": {"teacher": "bert", "layers": [1, 4]}})
    with pytest.raises(ValueError, match=r"found \[4\]; the teacher `bert` has the blocks 0 to 3"):
        shorter_text(start, config, reader([], tmp_path))


def test_blocks_that_share_their_weights_are_refused(tmp_path: Path):
    own = reader([], tmp_path)
    sizes = {**SIZES, "embedding_size": 12, "inner_group_num": 1}
    config = TextEncoder(architecture={"model_type": "albert", **sizes}, vocabulary=120, max_tokens=64)
    start = StudentText.model_validate({"start": {"teacher": "t", "layers": [0, 2]}, "max_tokens": 64})
    student = Encoder(shorter_text(start, config, own), own)
    with pytest.raises(ValueError, match="AlbertModel has no list of blocks"):
        copy_blocks(student.model, Encoder(config, own).model.state_dict(), (0, 2))


@pytest.mark.parametrize(
    "model", ["test_vit", "deit_tiny_distilled_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_224"]
)
def test_an_image_student_is_its_teacher_without_the_other_blocks(model: str):
    torch.manual_seed(0)
    options = {"embed_dim": 32, "depth": 4, "num_heads": 2, "patch_size": 8}
    teacher = ImageConfig(model=model, size=32, options=options, mean=(0.4, 0.5, 0.6))
    start = StudentImage.model_validate({"start": {"teacher": "vit", "layers": [0, 3]}, "size": 32})
    found = shorter_image(start, teacher)
    assert found.mean == (0.4, 0.5, 0.6)
    deep, student = ImageEncoder(teacher).eval(), ImageEncoder(found.encoder()).eval()
    copy_blocks(student.model, deep.model.state_dict(), (0, 3))
    pixels, present = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), torch.ones(2, dtype=torch.bool)
    kept = nn.Sequential(deep.model.blocks[0], deep.model.blocks[3])
    deep.model.blocks = kept if isinstance(deep.model.blocks, nn.Sequential) else nn.ModuleList(kept)
    scaled = (pixels.float() / 255 - deep.mean) / deep.std
    with torch.no_grad():
        torch.testing.assert_close(student(pixels, present).pooled, deep.model(scaled), rtol=0, atol=1e-5)


def test_an_image_teacher_without_blocks_is_refused():
    start = StudentImage.model_validate({"start": {"teacher": "net", "layers": [0]}, "size": 32})
    with pytest.raises(ValueError, match="test_resnet of the teacher `net` is no row of `blocks`"):
        shorter_image(start, ImageConfig(model="test_resnet", size=32))
    start = StudentImage.model_validate({"start": {"teacher": "net", "layers": [0, 90]}, "size": 32})
    depth = len(timm.create_model("test_vit").blocks)
    with pytest.raises(ValueError, match=rf"found \[90\]; the teacher `net` has the blocks 0 to {depth - 1}"):
        shorter_image(start, ImageConfig(model="test_vit", size=32))
