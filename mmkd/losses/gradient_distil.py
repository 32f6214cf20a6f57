"""`gradient_distil`: CLIP's contrastive loss should pull the student's features as it pulls the teacher's.

CLIP-KD (Yang et al. 2024, 2307.12732, gradient distillation): with v, s unit features of images and texts and L the
mean of the contrastive losses image -> text and text -> image at temperature T, the loss is the mean squared error per
element of dL/dv between student and teacher, plus that of dL/ds. In closed form, with p the softmax over texts of each
image's cosines over T, q that over images of each text's, and B examples,
dL/dv_k = sum over b of ((p_k[b] - [k = b]) + (q_b[k] - [k = b])) s_b / (2 B T), and dL/ds_k likewise. The authors' code
compares the gradients of the two directions each by itself, and so has four errors, and divides by CLIP's logit scale
where the formula divides by its inverse, T; we take the gradient of L as it stands. Gradients of a mean over B are
small, and their squares smaller: the paper weights the term by 1e8, with the code's scale. Look at the value first.

Student and teacher are compared element by element, so a linear projection brings the student's features to the joint
space where widths differ; where they are the same, there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._joint import joint_pairs, joint_width
from mmkd.losses._joint_config import JointConfig
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.types import Batch, Outputs


class Config(JointConfig):
    """Learn how a contrastive loss moves a joint teacher's features of texts and images.

    text, image: whose pooled features of each modality; as a rule one teacher, named twice.
    temperature: divides the student's cosines. teacher_temperature: the teacher's; null: the same.
    The value is tiny where the batch is large: `weight` has to make up for it.
    """

    kind: Literal["gradient_distil"] = "gradient_distil"
    temperature: PositiveFloat = 0.07
    teacher_temperature: PositiveFloat | None = None

    @property
    def zero_where_equal(self) -> bool:
        """Equal features give 0 at one temperature for both."""
        return self.teacher_temperature in (None, self.temperature)


class Loss(base.Loss):
    """Rows: examples whose text and image are there for the student and for the teachers."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projections. Raises ValueError for teachers whose widths show that they share no space."""
        super().__init__(config, setting)
        joint, own = joint_width(config, setting), setting.student.pooled
        self.text = nn.Identity() if own["text"] == joint else nn.Linear(own["text"], joint)
        self.image = nn.Identity() if own["image"] == joint else nn.Linear(own["image"], joint)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over modalities of the mean squared error per element; 0 below two rows, where no loss pulls."""
        pairs = joint_pairs(self.config, student, teachers)
        own, other = self.config.temperature, self.config.teacher_temperature
        return gradient_distil(
            self.text(full_precision(pairs.text)),
            self.image(full_precision(pairs.image)),
            pairs.teacher_text,
            pairs.teacher_image,
            own,
            own if other is None else other,
        )


def gradient_distil(
    text: Float[Tensor, "R D"],
    image: Float[Tensor, "R D"],
    teacher_text: Float[Tensor, "R D"],
    teacher_image: Float[Tensor, "R D"],
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """Mean squared error of the gradients, summed over modalities. No gradient reaches the teachers."""
    own = clip_gradients(text, image, temperature)
    target = clip_gradients(teacher_text.detach(), teacher_image.detach(), teacher_temperature)
    errors = [mean_or_zero((mine - theirs).square()) for mine, theirs in zip(own, target, strict=True)]
    return errors[0] + errors[1]


def clip_gradients(
    text: Float[Tensor, "R D"], image: Float[Tensor, "R D"], temperature: float
) -> tuple[Float[Tensor, "R D"], Float[Tensor, "R D"]]:
    """Gradient of CLIP's loss to each text's and each image's unit feature."""
    text, image = unit(full_precision(text)), unit(full_precision(image))
    logits = text @ image.T / temperature
    same = torch.eye(len(text), dtype=logits.dtype, device=logits.device)
    # The loss's gradient to the logits, which both features enter as a product.
    pull = (logits.softmax(-1) + logits.softmax(0) - 2 * same) / (2 * max(len(text), 1) * temperature)
    return pull @ image, pull.T @ text
