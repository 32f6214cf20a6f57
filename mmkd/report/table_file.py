"""The table file, `results/tables/<name>.yaml`: which experiments stand in rows, which numbers in columns."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from mmkd.config.experiment import Name
from mmkd.config.section import Section

Split = Literal["train", "validation", "test"]
Modality = Literal["text", "image", "both"]
Label = Annotated[
    str,
    Field(
        pattern=r"^[^\s`\x00-\x1f]([^`\x00-\x1f]*[^\s`\x00-\x1f])?$",
        description="One line of text without backticks, without blanks at its ends.",
    ),
]
Digits = Annotated[int, Field(ge=0, le=12)]

MEAN_SCORE = "mean_score"
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
BYTES = {"MiB": 2.0**20, "GiB": 2.0**30}
COUNTS = {"k": 1e3, "M": 1e6}


class RunRow(Section):
    """The runs of one network: the student of an experiment, or the teacher `teacher` that it fine-tuned."""

    experiment: Name
    role: Literal["student", "teacher"] = "student"
    teacher: Name | None = None

    @model_validator(mode="after")
    def _teacher_is_named(self) -> Self:
        if (self.role == "teacher") != (self.teacher is not None):
            raise ValueError("`role: teacher` goes with `teacher: NAME`, and `teacher` with `role: teacher`")
        return self


class CeilingRow(Section):
    """The best reachable scores, where the data set knows them: from one modality or from both."""

    experiment: Name
    ceiling: Modality


class ScoreColumn(Section):
    """A score of the table's split.

    score: `task.metric`, or `mean_score`, the mean over tasks of each task's first metric.
    unit: `%` shows a fraction times 100; `as recorded` shows it unchanged. digits: decimals; default 1, or 3.
    """

    score: Annotated[str, Field(pattern=rf"^({MEAN_SCORE}|[^.\s]+\.[^.\s]+)$")]
    unit: Literal["%", "as recorded"] = "%"
    digits: Digits | None = None


class ValueColumn(Section):
    """Another number of the record.

    value: `parameters`, `trained_parameters`, `peak_memory` (bytes) or `seconds.PHASE`. unit: what it is shown in;
    default: parameters with thousands separated, MiB, s. digits: decimals; default 0 for plain parameters and 1 else.
    """

    value: Annotated[str, Field(pattern=r"^(parameters|trained_parameters|peak_memory|seconds\.[^.\s]+)$")]
    unit: Literal["k", "M", "MiB", "GiB", "s", "min", "h"] | None = None
    digits: Digits | None = None

    @property
    def units(self) -> dict[str, float]:
        """The units that this value can be shown in, with their size in the record's unit."""
        return {"parameters": COUNTS, "trained_parameters": COUNTS, "peak_memory": BYTES}.get(self.value, SECONDS)

    @model_validator(mode="after")
    def _unit_fits(self) -> Self:
        if self.unit is not None and self.unit not in self.units:
            raise ValueError(f"`{self.value}` has no unit {self.unit}: expected one of {', '.join(self.units)}")
        return self


def _row_kind(row: Any) -> str:
    return "ceiling row" if _has(row, "ceiling") else "run row"


def _column_kind(column: Any) -> str | None:
    kinds = [f"{key} column" for key in ("score", "value") if _has(column, key)]
    return kinds[0] if len(kinds) == 1 else None


def _has(section: Any, key: str) -> bool:
    return key in section if isinstance(section, dict) else hasattr(section, key)


Row = Annotated[
    Annotated[RunRow, Tag("run row")] | Annotated[CeilingRow, Tag("ceiling row")],
    Discriminator(_row_kind),
]
Column = Annotated[
    Annotated[ScoreColumn, Tag("score column")] | Annotated[ValueColumn, Tag("value column")],
    Discriminator(
        _column_kind,
        custom_error_type="column_kind",
        custom_error_message="expected exactly one of `score` and `value`",
    ),
]


class TableFile(Section):
    """What a table shows.

    rows, columns: label -> what stands there, in the order shown.
    seeds: the seeds that every student row must have; a row that lacks one is shown as missing.
    baseline: the student row that every other one is tested against, paired by seed.
    """

    title: Label
    split: Split = "test"
    rows: Annotated[dict[Label, Row], Field(min_length=1)]
    columns: Annotated[dict[Label, Column], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)] | None = None
    baseline: str | None = None

    @field_validator("columns")
    @classmethod
    def _n_is_taken(cls, columns: dict[str, Any]) -> dict[str, Any]:
        if "n" in columns:
            raise ValueError("`n` is the number of runs, which every table shows; give that column another name")
        return columns

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if seeds is not None and len(set(seeds)) < len(seeds):
            raise ValueError(f"found {list(seeds)}; expected each seed once")
        return seeds

    @field_validator("baseline")
    @classmethod
    def _baseline_is_a_student(cls, baseline: str | None, info: ValidationInfo) -> str | None:
        rows = info.data.get("rows")
        if baseline is None or rows is None:
            return baseline
        students = [label for label, row in rows.items() if isinstance(row, RunRow) and row.role == "student"]
        if baseline not in students:
            raise ValueError(f"expected a student row, one of: {', '.join(students)}")
        return baseline
