"""Rows and widths of terms on pooled features."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool
from torch import Tensor

from mmkd.losses._pooled_config import PooledConfig
from mmkd.losses.base import Setting
from mmkd.types import Outputs


def pooled_rows(config: PooledConfig, student: Outputs, teachers: Mapping[str, Outputs]) -> Bool[Tensor, " B"]:
    """Examples that have the teacher's modality and the student's feature (`fused`: any modality that it reads)."""
    taught = config.student_feature
    return teachers[config.teacher].has[config.modality] & (
        student.speaks if taught == "fused" else student.has[taught]
    )


def pooled_pair(config: PooledConfig, student: Outputs, teachers: Mapping[str, Outputs]) -> tuple[Tensor, Tensor]:
    """The student's and the teacher's features [R, D] and [R, E] of these examples."""
    rows, taught = pooled_rows(config, student, teachers), config.student_feature
    feature = student.fused if taught == "fused" else student.pooled[taught]
    assert feature is not None  # a student always has a fused feature
    return feature[rows], teachers[config.teacher].pooled[config.modality][rows]


def pooled_widths(config: PooledConfig, setting: Setting) -> tuple[int, int]:
    """Widths D and E of the two features."""
    taught = config.student_feature
    width = setting.student.fused if taught == "fused" else setting.student.pooled[taught]
    assert width is not None  # a student always has a fused feature
    return width, setting.teachers[config.teacher].pooled[config.modality]
