"""How tests over examples are written: the lines below a table, and the fields of its CSV file."""

from __future__ import annotations

from mmkd.report.cell_text import number_text, p_text
from mmkd.report.comparisons import GENERATOR_SEED
from mmkd.report.examples.over_seeds import OverExamples
from mmkd.report.statistics.over_examples import RESAMPLES, SHUFFLES
from mmkd.report.table import Column, Table

FIELDS = (
    *("test_over_examples", "examples", "examples_seeds", "examples_difference", "examples_low", "examples_high"),
    *("p_examples", "p_examples_lowest", "p_examples_highest", "not_tested_over_examples"),
)
TESTS = {
    "McNemar": "McNemar: exact, of the examples that one network alone has right",
    "approximate randomisation": (
        f"approximate randomisation: the networks' predictions swapped, example by example, in {SHUFFLES} shuffles"
    ),
}


def lines_below(table: Table) -> list[str]:
    """Which tests these are, then a line for each, then what has none and why; nothing where none was asked for."""
    tested = [each for each in table.over_examples if each.by_seed]
    used = dict.fromkeys(each.test for each in tested)
    lines = []
    if tested:
        lines.append(
            f"row minus `{table.file.baseline}`, networks of one seed on the same {table.file.split} examples: mean "
            "difference over seeds (95% interval by paired bootstrap over examples, medians over seeds of its ends), "
            "two-sided p, median over seeds (lowest to highest), not corrected; of these networks on other examples, "
            "which says nothing of other seeds"
        )
        lines += [TESTS[name] for name in used if name is not None]
        lines.append(f"intervals from {RESAMPLES} resamples; generator seed {GENERATOR_SEED} for all that is drawn")
    columns = {column.label: column for column in table.columns}
    lines += [_line(each, columns[each.column]) for each in tested]
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in table.over_examples:
        if each.untested is not None:
            reasons.setdefault((each.row, each.untested), []).append(each.column)
    return lines + [f"{row}, {', '.join(names)}: not tested: {reason}" for (row, reason), names in reasons.items()]


def _line(found: OverExamples, column: Column) -> str:
    difference = number_text(found.difference, column, sign=True)
    low, high = (number_text(end, column, sign=True) for end in found.interval)
    middle, lowest, highest = (p_text(p) for p in found.p)
    seeds = len(found.by_seed)
    return (
        f"{found.row}, {found.column}: {difference} (95% interval {low} to {high}), p {middle} "
        f"({lowest.removeprefix('= ')} to {highest.removeprefix('= ')}), {found.examples} examples, "
        f"n = {seeds} seed{'s' if seeds > 1 else ''}, {found.test}"
    )


def csv_fields(found: OverExamples | None) -> list[str]:
    """As `FIELDS`; numbers with 9 digits."""
    if found is None:
        return [""] * len(FIELDS)
    if found.untested is not None:
        return [""] * (len(FIELDS) - 1) + [found.untested]
    seeds = " ".join(str(each.seed) for each in found.by_seed)
    numbers = [f"{number:.9g}" for number in (found.difference, *found.interval, *found.p)]
    return [found.test or "", str(found.examples), seeds, *numbers, ""]
