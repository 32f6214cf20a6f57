"""The table file, `results/tables/<name>.yaml`: which experiments stand in rows, which numbers in columns."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from mmkd.config.experiment import Name
from mmkd.config.problems import did_you_mean
from mmkd.config.section import Names, Section
from mmkd.record import split_without

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
COUNTS = {"k": 1e3, "M": 1e6, "G": 1e9}
Key = Annotated[
    str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", description="A key of the experiment, as on the command line: a.b.c.")
]


class _NetworkRow(Section):
    """One network of an experiment: its student, or the teacher `teacher` that it fine-tuned."""

    experiment: Name
    role: Literal["student", "teacher"] = "student"
    teacher: Name | None = None
    where: dict[Key, Any] = {}

    @property
    def network(self) -> str:
        """Which network of the experiment, as records name it."""
        return self.role if self.teacher is None else f"{self.role}-{self.teacher}"

    @model_validator(mode="after")
    def _teacher_is_named(self) -> Self:
        if (self.role == "teacher") != (self.teacher is not None):
            raise ValueError("`role: teacher` goes with `teacher: NAME`, and `teacher` with `role: teacher`")
        return self


class RunRow(_NetworkRow):
    """The runs of one network: the student of an experiment, or the teacher `teacher` that it fine-tuned.

    where: key of the resolved experiment -> value, for runs that share the experiment's name; null is also the value
    of a key that is not there. Without it the row rests on what the name itself stands for.
    """

    @property
    def selects(self) -> bool:
        """Whether the row asks for values of keys, so that it may rest on a variant of the experiment."""
        return bool(self.where)


class VaryRow(_NetworkRow):
    """A row for each value that a key has in the records of one experiment name, labelled `LABEL VALUE`.

    vary: the key. where: as in other rows.
    """

    vary: Key
    selects: ClassVar[bool] = True


class CeilingRow(Section):
    """The best reachable scores, where the data set knows them: from one modality or from both."""

    experiment: Name
    ceiling: Modality


class QuotedRow(Section):
    """Published numbers, to stand beside ours; they take part in no comparison.

    quoted: label of a score column -> number as the column shows it, so 83.4 where it shows %. source: where it is
    from, and how its setting differs.
    """

    quoted: Annotated[dict[Label, float], Field(min_length=1)]
    source: Label


class ScoreColumn(Section):
    """A score of the table's split.

    score: `task.metric`, or `mean_score`, the mean over tasks of each task's first metric.
    unit: `%` shows a fraction times 100; `as recorded` shows it unchanged. digits: decimals; default 1, or 3.
    without: the modality that was hidden from the network; only students that read both have such scores, on test.
    delta: show the difference to the baseline too; default: as the table says.
    """

    score: Annotated[str, Field(pattern=rf"^({MEAN_SCORE}|[^.\s]+\.[^.\s]+)$")]
    unit: Literal["%", "as recorded"] = "%"
    digits: Digits | None = None
    without: Literal["text", "image"] | None = None
    delta: bool | None = None

    def of(self, split: str) -> str:
        """The name in records of the split that the score is of."""
        return split if self.without is None else split_without(split, self.without)


class ValueColumn(Section):
    """Another number of the record.

    value: `parameters`, `trained_parameters`, `flops` (of a forward pass, per example), `peak_memory` (bytes),
    `seconds.PHASE`, or `seconds`, those of all phases. unit: what it is shown in; default: plain numbers with thousands
    separated, MiB, s. digits: decimals; default 0 for plain numbers and 1 else. delta: as in score columns.
    """

    value: Annotated[str, Field(pattern=r"^(parameters|trained_parameters|flops|peak_memory|seconds(\.[^.\s]+)?)$")]
    unit: Literal["k", "M", "G", "MiB", "GiB", "s", "min", "h"] | None = None
    digits: Digits | None = None
    delta: bool | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the number depends on the machine: a time or a memory."""
        return self.units is SECONDS or self.units is BYTES

    @property
    def units(self) -> dict[str, float]:
        """The units that this value can be shown in, with their size in the record's unit."""
        return {"peak_memory": BYTES}.get(self.value, SECONDS if self.value.startswith("seconds") else COUNTS)

    @model_validator(mode="after")
    def _unit_fits(self) -> Self:
        if self.unit is not None and self.unit not in self.units:
            raise ValueError(f"`{self.value}` has no unit {self.unit}: expected one of {', '.join(self.units)}")
        return self


def _row_kind(row: Any) -> str:
    return next((f"{key} row" for key in ("ceiling", "vary", "quoted") if _has(row, key)), "run row")


def _column_kind(column: Any) -> str | None:
    kinds = [f"{key} column" for key in ("score", "value") if _has(column, key)]
    return kinds[0] if len(kinds) == 1 else None


def _scores(columns: dict[str, Any]) -> list[str]:
    """The labels of the score columns."""
    return [label for label, column in columns.items() if isinstance(column, ScoreColumn)]


def _has(section: Any, key: str) -> bool:
    return key in section if isinstance(section, dict) else hasattr(section, key)


Row = Annotated[
    Annotated[RunRow, Tag("run row")]
    | Annotated[VaryRow, Tag("vary row")]
    | Annotated[CeilingRow, Tag("ceiling row")]
    | Annotated[QuotedRow, Tag("quoted row")],
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
    baseline: the student row that every other one is tested against, paired by seed; of rows that vary a key, one with
    its value.
    groups: heading -> labels of rows, which stand below it; rows of no group come first.
    delta: show the difference to the baseline in every column that does not say otherwise.
    tested: the score columns in which rows are tested against the baseline; default: all. Holm's correction counts
    these tests alone, so name the columns that the table's question is about, and before the scores are known.
    examples: test every student row against the baseline over the examples too, from the stored predictions.
    """

    title: Label
    split: Split = "test"
    rows: Annotated[dict[Label, Row], Field(min_length=1)]
    groups: dict[Label, Annotated[Names, Field(min_length=1)]] = {}
    columns: Annotated[dict[Label, Column], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)] | None = None
    baseline: str | None = None
    delta: bool = False
    tested: Annotated[Names, Field(min_length=1)] | None = None
    examples: bool = False

    def shows_delta(self, column: str) -> bool:
        """Whether a column shows differences to the baseline."""
        own = self.columns[column].delta
        return self.delta if own is None else own

    def tested_columns(self) -> list[str]:
        """The score columns in which rows are tested against the baseline."""
        return [label for label in _scores(self.columns) if self.tested is None or label in self.tested]

    def blocks(self) -> list[tuple[str | None, tuple[str, ...]]]:
        """(heading, labels of its rows), in the order shown; the rows of no group have none."""
        grouped = {label for labels in self.groups.values() for label in labels}
        first = tuple(label for label in self.rows if label not in grouped)
        return [*([(None, first)] if first else []), *self.groups.items()]

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
        students = {label: row for label, row in rows.items() if getattr(row, "role", None) == "student"}
        varied = any(isinstance(row, VaryRow) and baseline.startswith(f"{label} ") for label, row in students.items())
        if not varied and not isinstance(students.get(baseline), RunRow):
            known = [f"{label} VALUE" if isinstance(row, VaryRow) else label for label, row in students.items()]
            raise ValueError(f"expected a student row, one of: {', '.join(known)}")
        return baseline

    @field_validator("groups")
    @classmethod
    def _groups_hold_rows(cls, groups: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        rows = info.data.get("rows")
        seen: set[str] = set()
        if rows is None:
            return groups
        for heading, labels in groups.items():
            for label in labels:
                if label not in rows:
                    raise ValueError(f"{heading}: found `{label}`, which is no row{did_you_mean(label, rows)}")
                if label in seen:
                    raise ValueError(f"{heading}: found `{label}` twice; expected each row in one group")
                seen.add(label)
        return groups

    @field_validator("columns")
    @classmethod
    def _quoted_are_scores(cls, columns: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        rows = info.data.get("rows") or {}
        scores = _scores(columns)
        for label, row in rows.items():
            for column in row.quoted if isinstance(row, QuotedRow) else ():
                if column not in scores:
                    near = did_you_mean(column, scores)
                    raise ValueError(f"row {label} quotes `{column}`, which is no score column{near}")
        return columns

    @model_validator(mode="after")
    def _what_is_compared_has_a_baseline(self) -> Self:
        asked = self.delta or any(column.delta for column in self.columns.values())
        if asked and self.baseline is None:
            raise ValueError("`delta` is a difference to the row that `baseline` names; found no baseline")
        if self.examples and self.baseline is None:
            raise ValueError("`examples` tests against the row that `baseline` names; found no baseline")
        if self.tested is not None and self.baseline is None:
            raise ValueError("`tested` says where rows are tested against `baseline`; found no baseline")
        return self

    @field_validator("tested")
    @classmethod
    def _tested_are_scores(cls, tested: Names | None, info: ValidationInfo) -> Names | None:
        columns = info.data.get("columns")
        if tested is None or columns is None:
            return tested
        scores = _scores(columns)
        for label in tested:
            if label not in scores:
                raise ValueError(f"found `{label}`, which is no score column{did_you_mean(label, scores)}")
        return tested
