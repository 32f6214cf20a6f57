"""What stands beside a paired t-test: effect size, sign flips, and what so many pairs can show; numbers and words."""

from __future__ import annotations

from dataclasses import dataclass

from mmkd.report.cell_text import number_text
from mmkd.report.comparisons import GENERATOR_SEED, SIGNIFICANT, Comparison
from mmkd.report.statistics.effect_size import cohens_d_z
from mmkd.report.statistics.power import POWER, pairs_needed, smallest_difference
from mmkd.report.statistics.signs import DRAWS, smallest_p
from mmkd.report.table import Column

MEANING = (
    "d_z: mean of the paired differences over their standard deviation; sign-flip p: share of the flips of their signs "
    f"whose mean is as far from 0; what n pairs show: at p < {SIGNIFICANT} of a single t-test, not corrected, with "
    f"{POWER:.0%} power, for this standard deviation"
)


@dataclass(frozen=True)
class BesideT:
    """Of one comparison, in the record's own unit.

    d_z: None where the test gave no t. enough: pairs that show a significant difference of the observed size; smallest:
    the difference that these pairs could show, where the observed one is not significant. None where they say nothing.
    """

    d_z: float | None
    enough: int | None
    smallest: float | None


def beside_t(comparison: Comparison) -> BesideT:
    """What stands beside the test of a comparison."""
    test, std = comparison.test, comparison.std
    effect = None if test is None else cohens_d_z(test)
    if test is None or std is None or effect is None:
        return BesideT(None, None, None)
    if comparison.is_significant:
        return BesideT(effect, pairs_needed(effect, level=SIGNIFICANT), None)
    return BesideT(effect, None, smallest_difference(test.n, std, level=SIGNIFICANT))


def in_words(comparison: Comparison, column: Column) -> str | None:
    """One line; None where too few pairs, or differences of 0 alone, leave nothing to say."""
    found, signs = beside_t(comparison), comparison.signs
    parts = [] if found.d_z is None else [f"d_z {found.d_z:+z.2f}"]
    if signs is not None and signs.floor < 1:
        fewer = "" if not signs.exact or signs.floor == smallest_p(signs.n) else ", without those that are equal,"
        drawn = "" if signs.exact else f", of {DRAWS} flips drawn with generator seed {GENERATOR_SEED}"
        floor = f"n = {signs.n} pairs{fewer} cannot go below p = {signs.floor:.4g}{drawn}"
        parts.append(f"sign-flip p = {signs.p:.4g} ({floor})")
    if found.enough is not None:
        parts.append(f"{found.enough} pairs would show a difference of this size")
    if found.smallest is not None:
        smallest = number_text(found.smallest, column)
        parts.append(f"the smallest difference that {comparison.pairs} pairs could have shown is {smallest}")
    return f"{comparison.row}, {comparison.column}, beside the t-test: {'; '.join(parts)}" if parts else None
