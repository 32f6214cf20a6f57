"""`affinity`: which texts of the batch suit which images, taught by one teacher of texts and one of images.

The student's text x image matrix of cosines gives for each image a distribution over texts, and for each text one
over images. CLIP-KD (2307.12732, contrastive relational distillation) draws these to the teacher's own, which takes
one teacher with a joint space of texts and images. Two teachers trained apart share no space, so the targets are each
teacher's similarities within its own modality, as the softened targets of SoftCLIP (2303.17561): texts that the text
teacher finds alike should suit the same images. Image -> text learns from the image teacher, text -> image from the
text teacher. Unlike SoftCLIP, features are the pooled ones, the pair itself stays in the distribution, and no
contrastive term is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LossConfig, StudentNeeds, TeacherNeeds
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero, unit
from mmkd.types import Batch, Outputs


class Config(LossConfig):
    """Learn the affinity of texts and images.

    text, image: the teachers. temperature: divides all cosines; small values look at the nearest neighbours only.
    """

    kind: Literal["affinity"] = "affinity"
    text: str
    image: str
    temperature: PositiveFloat = 0.1

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """Both teachers' pooled features."""
        return (
            TeacherNeeds(self.text, pooled=True, modality="text"),
            TeacherNeeds(self.image, pooled=True, modality="image"),
        )

    def student_needs(self) -> StudentNeeds:
        """Both modalities."""
        return StudentNeeds(modalities=("text", "image"))


class Loss(base.Loss):
    """Rows: examples whose text and image are there for the student and for the teachers."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows and both directions, in nats; 0 below two rows, where there is nothing to tell apart."""
        text, image = teachers[self.config.text], teachers[self.config.image]
        rows = student.has["text"] & student.has["image"] & text.has["text"] & image.has["image"]
        return affinity(
            student.pooled["text"][rows],
            student.pooled["image"][rows],
            text.pooled["text"][rows],
            image.pooled["image"][rows],
            self.config.temperature,
        )


def affinity(
    text: Float[Tensor, "R D"],
    image: Float[Tensor, "R D"],
    teacher_text: Float[Tensor, "R E"],
    teacher_image: Float[Tensor, "R F"],
    temperature: float,
) -> Float[Tensor, ""]:
    """KL(teacher || student) in nats, mean over rows and both directions. No gradient reaches the teachers."""
    text_to_image = similarities(text, image) / temperature
    text_target = similarities(teacher_text.detach(), teacher_text.detach()) / temperature
    image_target = similarities(teacher_image.detach(), teacher_image.detach()) / temperature
    from_text = kl_divergence(text_target.log_softmax(-1), text_to_image.log_softmax(-1))
    from_image = kl_divergence(image_target.log_softmax(-1), text_to_image.T.log_softmax(-1))
    return (mean_or_zero(from_text) + mean_or_zero(from_image)) / 2


def similarities(rows: Float[Tensor, "R D"], columns: Float[Tensor, "C D"]) -> Float[Tensor, "R C"]:
    """Cosine of each row's vector with each column's."""
    return unit(full_precision(rows)) @ unit(full_precision(columns)).T
