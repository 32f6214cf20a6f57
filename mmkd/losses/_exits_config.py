"""The keys that terms with exits on the student's hidden layers share. No torch here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from mmkd.config.plugin_base import Layer, Modality, StudentNeeds, TaskLossConfig


class ExitsConfig(TaskLossConfig):
    """A task that hidden layers of the student predict by themselves.

    modality: of the student's layers. layers: their numbers, counted from 0.
    """

    modality: Modality
    layers: Annotated[tuple[Layer, ...], Strict(False), Field(min_length=1)]

    def student_needs(self) -> StudentNeeds:
        """The student's layers."""
        return StudentNeeds(modalities=(self.modality,), layers=tuple((self.modality, layer) for layer in self.layers))
