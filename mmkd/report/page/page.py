"""The page: one HTML file that needs nothing else, from tables, figures and records that are already made."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from mmkd.report.consistency import differing_keys
from mmkd.report.figures.base import Data, FigureFile
from mmkd.report.figures.kinds import KINDS
from mmkd.report.page import examples
from mmkd.report.page.costs import cost_section
from mmkd.report.page.examples import Pair, examples_section, warning
from mmkd.report.page.groups import Group, grouped, record_of
from mmkd.report.page.origin import commands_section, origin_section
from mmkd.report.page.parts import svg, unfolds, yaml_block
from mmkd.report.plot_style import STYLE as PLOT
from mmkd.report.records import StoredRecord
from mmkd.report.render import html_grid, html_notes
from mmkd.report.table import Table
from mmkd.report.variants import value_text
from mmkd.show.page_frame import html_page, html_table

STYLE = (
    """
@media screen { body { max-width: 74rem; } }
p { max-width: 62rem; }
figure.plot { max-width: none; }
figure.plot svg { min-width: 34rem; max-width: 46rem; }
details { margin: .3rem 0; }
summary { cursor: pointer; color: var(--grey); font-size: .85rem; }
details ul { padding-left: 1.2rem; font-size: .85rem; overflow-wrap: anywhere; }
td, thead th { white-space: nowrap; }
.costs th, .costs td { padding: .22rem .4rem; }
.costs thead th, .told td, .told th { white-space: normal; }
.told th, .told td { text-align: left; min-width: 7rem; }
.told td { overflow-wrap: anywhere; }
.told { font-size: .88rem; }
.told tbody th { min-width: 13rem; }
.told td:last-child { min-width: 14rem; }
@media (max-width: 40rem) {
  tbody th { position: sticky; left: 0; min-width: 6rem; white-space: normal; background: #fff; }
  .told tbody th { min-width: 8rem; overflow-wrap: anywhere; }
}
@media print {
  .wide { overflow: visible; }
  th, td, thead th { white-space: normal; }
  figure.plot svg { min-width: 0; }
  table { font-size: 8pt; }
  th, td { padding: .15rem .3rem; }
}
"""
    + examples.STYLE
)


def report_page(
    title: str,
    question: str,
    records: Sequence[StoredRecord],
    tables: Sequence[Table],
    figures: Sequence[tuple[FigureFile, Data]],
    pairs: Sequence[Pair] = (),
    command: str = "",
) -> str:
    """The HTML text. All text is plain, and escaped here.

    question: what the experiments are to answer; it stands below the title. records: trusted ones, those of the first
    experiment first: the others are compared with it. figures: with the files that ask for them. pairs: networks whose
    predictions are compared. command: that makes the page again.
    Raises ReportError where two experiments of the records have one name.
    """
    groups = grouped(records)
    sections = [
        ("Tables", "".join(map(_table, tables))),
        ("Figures", "".join(_figure(file, data) for file, data in figures)),
        ("Experiments", "".join(_experiment(group, groups[:place]) for place, group in enumerate(groups))),
        ("Cost", cost_section(groups)),
        ("Origin", origin_section(groups)),
        ("The same again", commands_section(groups, command)),
        ("Rows on which networks differ", examples_section(pairs) if pairs else ""),
    ]
    about = f"<p>{escape(question)}</p>" if question else ""
    return html_page(title, about + warning(pairs), sections, style=STYLE)


def _table(table: Table) -> str:
    grid = f'<div class="wide">{html_grid(table)}</div>'
    return f"<h3>{escape(table.file.title)}</h3>{grid}{unfolds('notes and tests', html_notes(table))}"


def _figure(file: FigureFile, data: Data) -> str:
    import matplotlib

    title = escape(file.title)
    with matplotlib.rc_context(PLOT):
        drawn = svg(KINDS[file.kind].draw(data), title)
    return f'<figure class="plot"><figcaption>{title}</figcaption><div class="wide">{drawn}</div></figure>'


def _experiment(group: Group, before: Sequence[Group]) -> str:
    record, students = group.first, group.networks.get("student", [])
    seeds = ", ".join(str(record_of(each).seed) for each in students) or "none"
    teachers = ", ".join(network.removeprefix("teacher-") for network in group.networks if network != "student")
    facts = [f"students of seeds {seeds}", *([f"teachers with records: {teachers}"] if teachers else [])]
    description = record.experiment.get("description")
    text = f"<p>{escape(description)}</p>" if description else ""
    if before:
        text += _differing(min(before, key=lambda each: len(_differences(each, group))), group)
    heading = f"<h3>{escape(group.label)} <small>{escape('; '.join(facts))}</small></h3>"
    return heading + text + yaml_block(record.experiment, "the whole experiment")


def _differing(other: Group, group: Group) -> str:
    """The keys in which an experiment differs from another, with both values."""
    lines = [
        (key, ["–" if value is None else escape(value_text(value)) for value in values])
        for key, values in _differences(other, group).items()
    ]
    return html_table(("differs in", other.label, group.label), lines, "told")


def _differences(other: Group, group: Group) -> dict[str, tuple[Any, Any]]:
    """Keys -> both values; of a map that only one of the two has, no key in it."""
    found = differing_keys(other.first.experiment, group.first.experiment)
    return {key: values for key, values in found.items() if key.rpartition(".")[0] not in found and key != "name"}
