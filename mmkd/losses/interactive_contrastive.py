"""`interactive_contrastive`: the student's image finds the teacher's text among the batch's, and the other way round.

CLIP-KD (Yang et al. 2024, 2307.12732, interactive contrastive learning): with v, s the student's features of image and
text and v', s' the teacher's, image -> text is the mean over examples of
-log(exp(cos(v_k, s'_k) / T) / sum over b of exp(cos(v_k, s'_b) / T)), text -> image the same of s_k and v', and the
loss half of each. A linear projection brings each feature of the student to the space of the teacher that it is
compared with; in the paper student and teacher share their width or are projected. So the two teachers need not share
a space. The authors' code multiplies by the logarithm of the scale 1 / T, where CLIP takes its exponential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._contrast import contrast
from mmkd.losses._joint import joint_pairs
from mmkd.losses._joint_config import JointConfig
from mmkd.losses._math import full_precision
from mmkd.types import Batch, Outputs


class Config(JointConfig):
    """Find a teacher's texts from the student's images, and a teacher's images from the student's texts.

    text, image: the teachers. temperature: divides all cosines; small values look at the hardest negatives only.
    """

    kind: Literal["interactive_contrastive"] = "interactive_contrastive"
    temperature: PositiveFloat = 0.07


class Loss(base.Loss):
    """Rows: examples whose text and image are there for the student and for the teachers."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build a projection from each modality of the student to the teacher of the other one."""
        super().__init__(config, setting)
        own, teachers = setting.student.pooled, setting.teachers
        self.image_to_text = nn.Linear(own["image"], teachers[config.text].pooled["text"])
        self.text_to_image = nn.Linear(own["text"], teachers[config.image].pooled["image"])

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows and both directions, in nats; 0 for one row, which has nothing to be told from."""
        pairs = joint_pairs(self.config, student, teachers)
        return interactive_contrastive(
            self.image_to_text(full_precision(pairs.image)),
            self.text_to_image(full_precision(pairs.text)),
            pairs.teacher_text,
            pairs.teacher_image,
            self.config.temperature,
        )


def interactive_contrastive(
    image: Float[Tensor, "R E"],
    text: Float[Tensor, "R F"],
    teacher_text: Float[Tensor, "R E"],
    teacher_image: Float[Tensor, "R F"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Contrast of projected features with a teacher's, mean of both directions. No gradient reaches the teachers."""
    to_text = contrast(image, teacher_text.detach(), temperature)
    to_image = contrast(text, teacher_image.detach(), temperature)
    return (to_text + to_image) / 2
