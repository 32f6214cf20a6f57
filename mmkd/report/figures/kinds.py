"""The kinds of figures: the word after `kind:` in a figure file, and its module."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, field_validator

from mmkd.config.problems import did_you_mean
from mmkd.config.section import Section
from mmkd.config.section_file import load_section
from mmkd.report.figures import (
    calibration,
    conflict,
    confusion,
    curves,
    dependence,
    gain,
    pareto,
    teachers,
    waterfall,
    weights,
)
from mmkd.report.figures.base import FigureFile, Kind

KINDS: dict[str, Kind] = {
    "gain": gain,
    "curves": curves,
    "weights": weights,
    "conflict": conflict,
    "teachers": teachers,
    "pareto": pareto,
    "confusion": confusion,
    "calibration": calibration,
    "waterfall": waterfall,
    "dependence": dependence,
}


class _AnyFile(Section):
    """Of a figure file, its kind alone."""

    model_config = ConfigDict(extra="ignore")

    kind: str

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"found `{kind}`{did_you_mean(kind, KINDS)}; expected one of: {', '.join(KINDS)}")
        return kind


def load_figure(path: Path) -> FigureFile:
    """Read a figure file.

    Raises ConfigError with every mistake.
    """
    return load_section(path, KINDS[load_section(path, _AnyFile).kind].File)
