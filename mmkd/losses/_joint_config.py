"""The keys that terms on pairs of a text and an image share. No torch here: an experiment is checked without it."""

from __future__ import annotations

from mmkd.config.plugin_base import LossConfig, StudentNeeds, TeacherNeeds


class JointConfig(LossConfig):
    """A teacher of texts and one of images, which may be the same."""

    text: str
    image: str

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """Both teachers' pooled features."""
        return (
            TeacherNeeds(self.text, pooled=True, modality="text"),
            TeacherNeeds(self.image, pooled=True, modality="image"),
        )

    def student_needs(self) -> StudentNeeds:
        """Both modalities."""
        return StudentNeeds(modalities=("text", "image"))
