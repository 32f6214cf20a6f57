"""Students that start from some of a teacher's blocks: DistilBERT (1910.01108, section 3), PKD (1908.09355, section 4).

No architecture is named here. A network that is a row of equal blocks keeps them in a list, and its weights are named
by their block's number in that list: the student's weights are the teacher's with these numbers mapped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import timm
from torch import Tensor, nn
from transformers import PretrainedConfig

from mmkd.config.encoders import ImageEncoder, TextEncoder
from mmkd.encoders.image import image_options
from mmkd.encoders.text import architecture_of

if TYPE_CHECKING:
    from mmkd.config.encoders import StudentImage, StudentText
    from mmkd.data.tokens import TextReader


def shorter_text(student: StudentText, teacher: TextEncoder, reader: TextReader) -> StudentText:
    """The teacher's architecture with the blocks that the student starts from. reader: the student's.

    Raises ValueError for blocks that the teacher does not have.
    """
    assert student.start is not None
    layers, config = student.start.layers, architecture_of(teacher, reader)
    depth: int = config.num_hidden_layers
    _require(layers, depth, "text", student.start.teacher)
    plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    key = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    # What is stated for each block is stated for the blocks that stay.
    plain |= {name: [plain[name][n] for n in layers] for name in _stated_by_block(type(config), key, depth)}
    plain[key] = len(layers)
    changes = {"start": None, "architecture": plain, "vocabulary": reader.vocabulary}
    return type(student).model_validate(student.model_dump() | changes)


def _stated_by_block(kind: type[PretrainedConfig], key: str, depth: int) -> set[str]:
    """Keys of a config whose lists grow with the number of blocks; others may be as long by chance."""

    def as_long(blocks: int) -> set[str]:
        plain = kind(**{key: blocks}).to_dict()
        return {name for name, value in plain.items() if isinstance(value, list) and len(value) == blocks}

    return as_long(depth) & as_long(depth + 1)


def shorter_image(student: StudentImage, teacher: ImageEncoder) -> StudentImage:
    """The teacher's model with the blocks that the student starts from, random as yet.

    Raises ValueError for blocks that the teacher does not have, and for a model that is no row of `blocks`.
    """
    assert student.start is not None
    layers, options = student.start.layers, {**teacher.options, **student.options}
    plain = timm.create_model(teacher.model, num_classes=0, **image_options(teacher))
    blocks = dict(plain.named_children()).get("blocks")
    if not isinstance(blocks, nn.Sequential | nn.ModuleList):
        raise ValueError(
            f"student.image.start: {teacher.model} of the teacher `{student.start.teacher}` is no row of `blocks`; "
            "expected a timm transformer such as vit, deit, beit or eva"
        )
    _require(layers, len(blocks), "image", student.start.teacher)
    changes = {
        "start": None,
        "model": teacher.model,
        "options": {**options, "depth": len(layers)},
        "mean": student.mean or teacher.mean,
        "std": student.std or teacher.std,
    }
    return type(student).model_validate(student.model_dump() | changes)


def _require(layers: Sequence[int], depth: int, modality: str, teacher: str) -> None:
    if beyond := [layer for layer in layers if layer >= depth]:
        raise ValueError(
            f"student.{modality}.start.layers: found {beyond}; the teacher `{teacher}` has the blocks 0 to {depth - 1}"
        )


def copy_blocks(student: nn.Module, teacher: Mapping[str, Tensor], layers: Sequence[int]) -> None:
    """Copy the named blocks of a deeper network of the same kind, and everything that is in no block, in place.

    teacher: the deeper network's weights, by name. layers: for each of the student's blocks, the teacher's.
    Raises ValueError when the network keeps its blocks in no list, or a weight is missing or of another shape.
    """
    lists = _lists_of_blocks(student, teacher, len(layers))
    found: dict[str, Tensor] = {}
    wrong: list[str] = []
    for name, own in student.state_dict().items():
        source = _source(name, lists, layers)
        theirs = teacher.get(source)
        if theirs is not None and theirs.shape == own.shape:
            found[name] = theirs
        else:
            shape = "is missing" if theirs is None else f"has the shape {list(theirs.shape)}"
            wrong.append(f"{source} {shape}, expected {list(own.shape)}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"a student cannot start from this teacher's weights: {'; '.join(wrong[:3])}{more}")
    if not lists:
        raise ValueError(
            f"a student of {len(layers)} blocks cannot start from this teacher: {type(student).__name__} has no list "
            "of blocks with weights of their own"
        )
    student.load_state_dict(found)


def _lists_of_blocks(student: nn.Module, teacher: Mapping[str, Tensor], blocks: int) -> list[str]:
    """Names of the student's outermost lists of that many modules which the teacher has too, as deep or deeper."""
    found: list[str] = []
    for name, module in student.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) != blocks:
            continue
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        numbers = {int(match[1]) for key in teacher if (match := re.match(rf"{re.escape(name)}\.(\d+)\.", key))}
        if len(numbers) >= blocks and numbers == set(range(len(numbers))):
            found.append(name)
    return found


def _source(name: str, lists: Sequence[str], layers: Sequence[int]) -> str:
    """The teacher's name of a weight of the student."""
    for each in lists:
        if name.startswith(f"{each}."):
            number, _, rest = name.removeprefix(f"{each}.").partition(".")
            return f"{each}.{layers[int(number)]}.{rest}"
    return name
