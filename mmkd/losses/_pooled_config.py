"""The keys that terms on pooled features share. No torch here: an experiment is checked without it."""

from __future__ import annotations

from typing import Literal

from mmkd.config.plugin_base import LossConfig, Modality, StudentNeeds, TeacherNeeds


class PooledConfig(LossConfig):
    """A teacher's pooled feature of a modality beside a feature of the student."""

    teacher: str
    modality: Modality
    to: Literal["text", "image", "fused"] | None = None

    @property
    def student_feature(self) -> Literal["text", "image", "fused"]:
        """The student's feature that is taught."""
        return self.modality if self.to is None else self.to

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's pooled feature."""
        return (TeacherNeeds(self.teacher, pooled=True, modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The modality that is taught."""
        taught = self.student_feature
        return StudentNeeds() if taught == "fused" else StudentNeeds(modalities=(taught,))
