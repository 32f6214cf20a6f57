"""Rows and widths of terms on pairs of a text and an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from mmkd.losses._joint_config import JointConfig
from mmkd.losses.base import Setting
from mmkd.types import Outputs


class Pairs(NamedTuple):
    """Pooled features of examples whose text and image are there for the student and for the teachers."""

    text: Float[Tensor, "R D"]
    image: Float[Tensor, "R D"]
    teacher_text: Float[Tensor, "R E"]
    teacher_image: Float[Tensor, "R F"]


def joint_pairs(config: JointConfig, student: Outputs, teachers: Mapping[str, Outputs]) -> Pairs:
    """The features of these examples."""
    text, image = teachers[config.text], teachers[config.image]
    rows = student.has["text"] & student.has["image"] & text.has["text"] & image.has["image"]
    return Pairs(
        student.pooled["text"][rows],
        student.pooled["image"][rows],
        text.pooled["text"][rows],
        image.pooled["image"][rows],
    )


def joint_width(config: JointConfig, setting: Setting) -> int:
    """Width of the teachers' joint space. Raises ValueError where their widths show that they share none."""
    text, image = setting.teachers[config.text].pooled["text"], setting.teachers[config.image].pooled["image"]
    if text != image:
        raise ValueError(
            f"{config.kind}: the texts of {config.text} have width {text}, the images of {config.image} {image}; "
            "expected a joint space of texts and images: one teacher that reads both"
        )
    return text
