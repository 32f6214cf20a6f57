"""What stands beside a paired t-test, against numbers worked out by hand."""

import csv
import io
import math
from collections.abc import Callable

import pytest
from scipy.stats import nct, t

from mmkd.record import RunRecord
from mmkd.report.render import to_csv, to_markdown
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile

MakeRecord = Callable[..., RunRecord]
ALONE = [0.50, 0.52, 0.51, 0.53, 0.49]


@pytest.fixture
def build(make_record: MakeRecord) -> Callable[[list[float]], Table]:
    """A table of `alone` and of `taught`, whose scores lie so far above those of `alone`, seed by seed."""

    def make(differences: list[float]) -> Table:
        alone = [ALONE[i % len(ALONE)] for i in range(len(differences))]
        taught = [base + gain for base, gain in zip(alone, differences, strict=True)]
        records = [
            make_record(name, seed, test={"ner": {"f1": value}})
            for name, values in (("alone", alone), ("taught", taught))
            for seed, value in enumerate(values)
        ]
        rows = {name: {"experiment": name} for name in ("alone", "taught")}
        file = {"title": "t", "rows": rows, "columns": {"F1": {"score": "ner.f1"}}, "baseline": "alone"}
        return build_table(records, TableFile.model_validate(file), "main")

    return make


def beside(table: Table) -> str:
    """The line, or nothing."""
    start = "- taught, F1, beside the t-test: "
    return next((each for each in to_markdown(table).splitlines() if each.startswith(start)), "").removeprefix(start)


def row(table: Table) -> dict[str, str]:
    return next(each for each in csv.DictReader(io.StringIO(to_csv(table))) if each["row"] == "taught")


def power(pairs: int, effect: float) -> float:
    """Of a two-sided paired t-test at 0.05."""
    critical, shift = t.ppf(0.975, pairs - 1), math.sqrt(pairs) * effect
    return float(nct.sf(critical, pairs - 1, shift) + nct.sf(critical, pairs - 1, -shift))


def test_a_significant_difference_says_how_many_pairs_show_one(build: Callable[[list[float]], Table]) -> None:
    """Differences 3, 4, 5, 6, 7 points: mean 5, variance 2.5, d_z 5 / 1.58114 = 3.16; all signs equal: 2 of 32."""
    found = build([0.03, 0.04, 0.05, 0.06, 0.07])
    assert beside(found) == (
        "d_z +3.16; sign-flip p = 0.0625 (n = 5 pairs cannot go below p = 0.0625); "
        "4 pairs would show a difference of this size"
    )
    effect = 5 / math.sqrt(2.5)
    assert power(3, effect) < 0.8 <= power(4, effect)
    assert (row(found)["p_sign_flip"], row(found)["p_sign_flip_floor"], row(found)["pairs_needed"]) == (
        *("0.0625", "0.0625", "4"),
    )
    assert float(row(found)["d_z"]) == pytest.approx(effect)
    assert row(found)["smallest_difference"] == ""


def test_another_says_the_smallest_that_could_have_been_shown(build: Callable[[list[float]], Table]) -> None:
    """Differences -1, 0, 1, 2, 3 points: mean 1, deviation 1.58114; of the 4 that are not 0, flips sum to 5 or more
    in 5 + -: sums of +-1 +-1 +-2 +-3 are 7 once, 5 twice, and so below 0: 6 of 16."""
    found = build([-0.01, 0.0, 0.01, 0.02, 0.03])
    text = beside(found)
    assert (
        "d_z +0.63; sign-flip p = 0.375 (n = 5 pairs, without those that are equal, cannot go below p = 0.125)" in text
    )
    smallest = float(row(found)["smallest_difference"])
    assert power(5, smallest / (math.sqrt(2.5) / 100)) == pytest.approx(0.8)
    assert text.endswith(f"the smallest difference that 5 pairs could have shown is {100 * smallest:.1f}")
    assert row(found)["pairs_needed"] == "" and not found.rows[1].cells["F1"].significant


def test_the_mark_stays_on_the_t_test(build: Callable[[list[float]], Table]) -> None:
    """No sign-flip p of 5 pairs is below 0.05; the mark is there all the same."""
    assert build([0.03, 0.04, 0.05, 0.06, 0.07]).rows[1].cells["F1"].significant


@pytest.mark.parametrize("differences", [[0.03], [0.0, 0.0, 0.0]])
def test_nothing_is_said_of_too_few_pairs_or_of_equal_ones(
    build: Callable[[list[float]], Table], differences: list[float]
) -> None:
    found = build(differences)
    assert beside(found) == "" and "d_z" not in to_markdown(found)
    names = ("d_z", "p_sign_flip", "p_sign_flip_floor", "pairs_needed", "smallest_difference")
    assert [row(found)[name] for name in names] == [""] * 5


def test_equal_differences_have_signs_and_no_spread(build: Callable[[list[float]], Table]) -> None:
    assert beside(build([0.03, 0.03, 0.03])) == "sign-flip p = 0.25 (n = 3 pairs cannot go below p = 0.25)"


def test_drawn_flips_say_their_seed(build: Callable[[list[float]], Table]) -> None:
    text = beside(build([0.03 + 0.001 * i for i in range(21)]))
    assert "p = 0.0001 (n = 21 pairs cannot go below p = 0.0001, of 9999 flips drawn with generator seed 0)" in text
