"""`augmented_feature`: the student's features with a teacher's at hand must match texts and images of the batch.

CLIP-KD (Yang et al. 2024, 2307.12732, augmented feature distillation): for images and for texts, a linear layer makes
one vector of the student's and the teacher's feature together, and CLIP's contrastive loss of these fused vectors is
the mean over examples of -log(exp(cos(v_k, s_k) / T) / sum over b of exp(cos(v_k, s_b) / T)), image -> text, and the
same of text -> image, half of each. So a teacher's feature moves the student's without being its target: what the
student adds to it is what the pairs ask for. Both features are scaled to length 1 before they are put together, as
CLIP's are. The fused vectors are as wide as the student's. The teachers need not share a space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._contrast import contrast
from mmkd.losses._joint import joint_pairs
from mmkd.losses._joint_config import JointConfig
from mmkd.losses._math import full_precision, unit
from mmkd.types import Batch, Outputs


class Config(JointConfig):
    """Match texts and images by features of the student and of teachers together.

    text, image: the teachers. temperature: divides all cosines; small values look at the hardest negatives only.
    """

    kind: Literal["augmented_feature"] = "augmented_feature"
    temperature: PositiveFloat = 0.07


class Loss(base.Loss):
    """Rows: examples whose text and image are there for the student and for the teachers."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the layer that fuses, for each modality."""
        super().__init__(config, setting)
        own, teachers = setting.student.pooled, setting.teachers
        self.text = nn.Linear(own["text"] + teachers[config.text].pooled["text"], own["text"])
        self.image = nn.Linear(own["image"] + teachers[config.image].pooled["image"], own["text"])

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows and both directions, in nats; 0 for one row, which has nothing to be told from."""
        pairs = joint_pairs(self.config, student, teachers)
        text = self.text(side_by_side(pairs.text, pairs.teacher_text))
        image = self.image(side_by_side(pairs.image, pairs.teacher_image))
        return augmented_feature(text, image, self.config.temperature)


def augmented_feature(text: Float[Tensor, "R D"], image: Float[Tensor, "R D"], temperature: float) -> Float[Tensor, ""]:
    """Contrast of the fused features of texts and images, mean of both directions."""
    return (contrast(image, text, temperature) + contrast(text, image, temperature)) / 2


def side_by_side(student: Float[Tensor, "R D"], teacher: Float[Tensor, "R E"]) -> Float[Tensor, "R D+E"]:
    """Both features, each of length 1, as one vector. No gradient reaches the teacher."""
    return torch.cat([unit(full_precision(student)), unit(full_precision(teacher.detach()))], dim=-1)
