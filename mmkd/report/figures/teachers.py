"""Which teacher helps which task: the gain of students with one teacher each over the student without any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmkd.report.error import ReportError
from mmkd.report.figures._gains import Gain, GainData, gain_data
from mmkd.report.figures._heat import heat
from mmkd.report.figures.base import FigureFile, Rows, ScorePath, Unit, nothing, runs_of_rows, with_notes
from mmkd.report.plot_style import panels
from mmkd.report.records import StoredRecord
from mmkd.report.table_file import Label, RunRow, Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASELINE = "no teacher"


class File(FigureFile):
    """rows: label of a teacher -> the students that it alone taught. baseline: the students without a teacher.

    scores, split, unit: as in `gain`.
    """

    kind: Literal["teachers"]
    rows: Rows
    baseline: RunRow
    scores: Annotated[dict[Label, ScorePath], Field(min_length=1)]
    split: Split = "test"
    unit: Unit = "%"


def data(file: File, stored: Sequence[StoredRecord], name: str) -> GainData:
    """The gains that follow from the records.

    Raises ReportError for a row whose students had no teacher, or several.
    """
    found, _ = runs_of_rows(file.rows, stored, name)
    for label, runs in found.items():
        record = runs[0].record
        teachers = [] if record is None else list(record.experiment.get("teachers") or {})
        if len(teachers) != 1:
            raise ReportError(
                f"figure {name}, row {label}: the students of `{file.rows[label].experiment}` have "
                f"{len(teachers)} teachers ({', '.join(teachers) or 'none'}); expected one"
            )
    return gain_data(file.rows, (BASELINE, file.baseline), file.scores, file.split, file.unit, stored, name)


def draw(data: GainData) -> Figure:
    """A row for each teacher, a column for each score."""
    if not data.gains:
        return nothing(data)
    figure, (axes,) = panels(1, 1, 0.9 + 0.42 * len(data.rows))
    gains = {(each.row, each.score): each for each in data.gains}
    grid = [[gains.get((row, score)) for score in data.scores] for row in data.rows]
    limit = max(abs(each.mean) for each in data.gains) or 1.0
    texts = [["–" if each is None else _text(each, data.unit) for each in line] for line in grid]
    values = [[None if each is None else each.mean for each in line] for line in grid]
    heat(axes, values, texts, data.rows, data.scores, limit)
    points = "points of %" if data.unit == "%" else "as recorded"
    axes.set_title(f"gain over {data.baseline}, {points}; *: the 95% interval leaves 0 out", fontsize=7)
    return with_notes(figure, data)


def _text(gain: Gain, unit: Unit) -> str:
    return f"{gain.mean:+z{'.1f' if unit == '%' else '.3g'}}{'*' if gain.is_sure else ''}"
