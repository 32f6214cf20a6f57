"""What all kinds of figures share: the keys of a figure file, the data of a figure, and the records that it rests on.

A kind is a module with `File` (the figure file), `data` (records to plain numbers) and `draw` (numbers to a drawing).
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from mmkd.config.section import Section
from mmkd.record import Direction
from mmkd.report.cell_text import ARROWS
from mmkd.report.plot_style import BLACK, one
from mmkd.report.records import StoredRecord
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import MEAN_SCORE, CeilingRow, Label, RunRow, ScoreColumn, Split, TableFile, ValueColumn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Annotated[dict[Label, RunRow], Field(min_length=1)]
ScorePath = Annotated[str, Field(pattern=rf"^({MEAN_SCORE}|[^.\s]+\.[^.\s]+)$")]
Unit = Literal["%", "as recorded"]
DIGITS = 9
"""Significant digits of a number in a figure's JSON: far more than is seen, and less than machines differ in."""
NOTE_WIDTH = 130


class FigureFile(Section):
    """The keys of every figure file. title: of the figure, for a page that shows it; it is not drawn."""

    kind: str
    title: Label


@dataclass(frozen=True)
class Data:
    """What a figure shows, and no more.

    notes: what stands below it: how to read it, then what is missing and why. records: those that it rests on, name in
    the ledger -> its outcome.
    """

    notes: tuple[str, ...]
    records: dict[str, str]


class Kind(Protocol):
    """A module of this folder. Its `data` raises ReportError for records that do not fit together."""

    @property
    def File(self) -> type[FigureFile]: ...  # noqa: D102

    def data(self, file: Any, stored: Sequence[StoredRecord], name: str) -> Data: ...  # noqa: D102

    def draw(self, data: Any) -> Figure: ...  # noqa: D102


def score_table(
    rows: Mapping[str, RunRow | CeilingRow],
    columns: Mapping[str, ScoreColumn | ValueColumn],
    stored: Sequence[StoredRecord],
    name: str,
    split: Split = "test",
    baseline: str | None = None,
) -> Table:
    """The table of the numbers that a figure shows, so that it takes the same records, and refuses the same.

    Raises ReportError for records that do not fit together.
    """
    file = TableFile(title=name, split=split, rows=dict(rows), columns=dict(columns), baseline=baseline)
    return build_table([each.record for each in stored if each.record is not None], file, name)


def runs_of_rows(
    rows: Mapping[str, RunRow], stored: Sequence[StoredRecord], name: str
) -> tuple[dict[str, list[StoredRecord]], list[str]]:
    """The records of each row that has some, by seed; and a note for each row that has none.

    Raises ReportError for records that do not fit together.
    """
    table = score_table(rows, {"size": ValueColumn(value="parameters")}, stored, name)
    places = {each.record.file_name: each for each in stored if each.record is not None}
    found = {row.label: [places[record.file_name] for record in row.records] for row in table.rows if row.records}
    return found, missing_notes(table)


def missing_notes(table: Table) -> list[str]:
    """A note for each reason why numbers are missing; the commands that make them stand in tables."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        for column, cell in row.cells.items():
            if cell.missing is not None:
                reason = cell.missing.partition(": make it with")[0]
                reasons.setdefault((row.label, reason), []).append(column)
    of = {row.label: len(row.cells) for row in table.rows}
    return [
        f"Missing: {', '.join([row] if len(columns) == of[row] else [row, *columns])}: {reason}"
        for (row, reason), columns in reasons.items()
    ]


def outcomes(stored: Iterable[StoredRecord]) -> dict[str, str]:
    """Name in the ledger -> outcome, sorted."""
    found = {each.record.file_name: each.record.outcome for each in stored if each.record is not None}
    return dict(sorted(found.items()))


def outcomes_of(table: Table) -> dict[str, str]:
    """The same of all records that a table rests on."""
    return {record.file_name: record.outcome for record in table.records}


def in_unit(value: float, unit: Unit) -> float:
    """A recorded score as it is shown."""
    return 100 * value if unit == "%" else value


def with_arrow(label: str, direction: Direction | None) -> str:
    """A score's label, with an arrow to where it is better."""
    return label if direction is None else f"{label} {ARROWS[direction]}"


def seeds_text(seeds: Sequence[int | None]) -> str:
    """Seeds in words: `seeds 0-4`."""
    numbers = sorted(seed for seed in seeds if seed is not None)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"seeds {numbers[0]} to {numbers[-1]}"
    return f"seed{'s' if len(numbers) != 1 else ''} {', '.join(map(str, numbers))}"


def json_text(kind: str, title: str, data: Data) -> str:
    """The data of a figure as JSON: equal texts are equal figures."""
    content = {"kind": kind, "title": title, **rounded(asdict(data))}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def rounded(value: Any) -> Any:
    """Plain data with each fraction to DIGITS significant digits, and lists for tuples."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") + 0.0  # no -0.0
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value


def with_notes(figure: Figure, data: Data) -> Figure:
    """The figure with its notes below it."""
    lines = [line for note in data.notes for line in textwrap.wrap(note, NOTE_WIDTH)]
    if lines:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.12 * len(lines))
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=6.5, color=BLACK)
    return figure


def nothing(data: Data) -> Figure:
    """A figure for which the records hold nothing; its notes say what is missing."""
    figure, axes = one(0.6)
    axes.set_axis_off()
    axes.text(0.5, 0.5, "nothing to show", ha="center", va="center", color=BLACK)
    return with_notes(figure, data)
