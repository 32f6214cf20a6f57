"""`mobileclip`: which texts of the batch suit which images, taught by a teacher with a joint space of both.

S(a, b; T) is the matrix of cosines of the rows of a with those of b over the temperature T, each row of it softmaxed.
MobileCLIP (Vasu et al. 2024, 2311.17049, section 4, distillation loss) takes the mean over rows of
KL(S(teacher) || S(student)), image -> text and text -> image, half of each; the teacher and the student have their own
temperatures, the inverse of CLIP's logit scale. The contrastive relational distillation of CLIP-KD (2307.12732) is the
same with the two directions summed, so twice the value; the code of its authors takes half of each too. MobileCLIP
averages over the members of an ensemble of teachers: here as many terms, with their weights. The student's temperature
is learned in both papers; here it is set.

Two teachers trained apart share no space: for them there is `affinity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._contrast import cosines
from mmkd.losses._joint import joint_pairs, joint_width
from mmkd.losses._joint_config import JointConfig
from mmkd.losses._math import kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(JointConfig):
    """Learn the affinity of texts and images from a joint teacher's.

    text, image: whose pooled features of each modality; as a rule one teacher, named twice.
    temperature: divides the student's cosines. teacher_temperature: the teacher's; null: the same.
    """

    kind: Literal["mobileclip"] = "mobileclip"
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
        """Raises ValueError for teachers whose widths show that they share no space."""
        super().__init__(config, setting)
        joint_width(config, setting)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows and both directions, in nats; 0 below two rows, where there is nothing to tell apart."""
        own, other = self.config.temperature, self.config.teacher_temperature
        return joint_affinity(*joint_pairs(self.config, student, teachers), own, own if other is None else other)


def joint_affinity(
    text: Float[Tensor, "R D"],
    image: Float[Tensor, "R D"],
    teacher_text: Float[Tensor, "R E"],
    teacher_image: Float[Tensor, "R E"],
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """KL(teacher || student) in nats, mean over rows and both directions. No gradient reaches the teachers."""
    own = cosines(text, image) / temperature
    target = cosines(teacher_text.detach(), teacher_image.detach()) / teacher_temperature
    from_text = kl_divergence(target.log_softmax(-1), own.log_softmax(-1))
    from_image = kl_divergence(target.T.log_softmax(-1), own.T.log_softmax(-1))
    return (mean_or_zero(from_text) + mean_or_zero(from_image)) / 2
