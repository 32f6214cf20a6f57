"""Splits made of one split, with a seed: rows of a group stay together, and each split gets its share of each stratum.

Rows are ordered by the sha256 of seed and id, so that a split depends on the ids alone, not on the file's order, the
machine or Python's own hash. Where no row has a group, shares are met exactly: in every stratum, and over all rows, a
split has its share rounded up or down (a controlled rounding, Cox 1987, https://doi.org/10.1080/01621459.1987.10478456).
Groups come first, largest first, each to the split where it does least harm, much as scikit-learn's
`StratifiedGroupKFold` places them, but for unequal shares; rows without a group then fill what is left. No torch.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Annotated

from pydantic import Field, field_validator

from mmkd.config.section import PositiveFloat, Section
from mmkd.data.base import DataError, Split

SUM_TOLERANCE = 1e-5
"""How far from 1 the sum of shares may be, since a third is written as 0.333333."""

LARGEST_DENOMINATOR = 10_000
"""Of a share, so that 0.1 counts as a tenth and 0.333333 as a third."""

Shares = Annotated[dict[Split, PositiveFloat], Field(min_length=2)]
Unit = list[int]
"""Rows that stay together."""
Table = dict[Hashable, list[int]]
"""Stratum -> rows in each split."""
Quotas = dict[Hashable, list[Fraction]]
"""Stratum -> rows that each split should have, before rounding."""


class Division(Section):
    """The splits that are made of one split of the files.

    of: the split whose rows are divided.
    shares: split -> its share of the rows; they sum to 1.
    seed: another seed gives another division.
    keep_groups: rows of one group (a document, an author) go to one split, where the source names groups.
    stratify: a task of the card; each split gets its share of each label. null does not look at labels.
    """

    of: Split
    shares: Shares
    seed: Annotated[int, Field(ge=0)] = 0
    keep_groups: bool = True
    stratify: str | None = None

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: dict[Split, float]) -> dict[Split, float]:
        if abs(sum(shares.values()) - 1) > SUM_TOLERANCE:
            raise ValueError(_wrong_sum(shares))
        return shares


def _wrong_sum(shares: Mapping[Split, float]) -> str:
    written = " + ".join(f"{share:g}" for share in shares.values())
    return f"found shares that sum to {sum(shares.values()):g} ({written}); expected 1"


def assign(
    ids: Sequence[str],
    groups: Sequence[str | None],
    strata: Sequence[Hashable],
    shares: Mapping[Split, float],
    seed: int,
) -> list[Split]:
    """The split of each row.

    ids: one of its own for each row. groups: rows of one group go to one split; None for a row that stands alone.
    Rows of one id, which a check will find, go to one split as well.
    strata: what should be alike in all splits, usually the label; None is a stratum too. shares: split -> share.
    Raises DataError when the shares do not sum to 1, there are fewer groups (a row that stands alone is one) than
    splits, or a split would be empty; ValueError when ids, groups and strata differ in length.
    """
    _check_input(ids, groups, strata, shares)
    names = sorted(shares)
    exact = [Fraction(shares[name]).limit_denominator(LARGEST_DENOMINATOR) for name in names]
    parts = [share / sum(exact) for share in exact]
    units = _units(ids, groups, seed)
    if len(units) < len(names):
        _refuse(f"found {len(units)} groups for {len(names)} splits; expected one or more for each split")
    quotas = {stratum: [size * part for part in parts] for stratum, size in Counter(strata).items()}
    chosen = _place_groups([unit for unit in units if len(unit) > 1], strata, parts)
    alone = [unit[0] for unit in units if len(unit) == 1]
    chosen |= _fill(alone, strata, quotas, chosen)
    found = Counter(chosen.values())
    empty = [name for number, name in enumerate(names) if not found[number]]
    if empty:
        _refuse(f"{', '.join(empty)} would get none of {len(ids)} rows; expected one or more: raise the share")
    return [names[chosen[row]] for row in range(len(ids))]


def _refuse(message: str) -> None:
    raise DataError(None, None, "mmkd.division", message)


def _check_input(
    ids: Sequence[str], groups: Sequence[str | None], strata: Sequence[Hashable], shares: Mapping[Split, float]
) -> None:
    if not len(ids) == len(groups) == len(strata):
        raise ValueError(f"found {len(ids)} ids, {len(groups)} groups, {len(strata)} strata; expected one for each row")
    if abs(sum(shares.values()) - 1) > SUM_TOLERANCE or min(shares.values()) * LARGEST_DENOMINATOR < 1:
        _refuse(f"{_wrong_sum(shares)}, each of at least {1 / LARGEST_DENOMINATOR:g}")


def _units(ids: Sequence[str], groups: Sequence[str | None], seed: int) -> list[Unit]:
    """Rows that stay together, in an order that only the seed and the names determine."""
    members = defaultdict(list)
    for row, (name, group) in enumerate(zip(ids, groups, strict=True)):
        members[("row", name) if group is None else ("group", group)].append(row)
    return [members[key] for key in sorted(members, key=lambda key: _digest(seed, *key))]


def _digest(seed: int, sort: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {sort} {name}".encode("utf-8", "surrogatepass")).digest()


def _place_groups(units: Sequence[Unit], strata: Sequence[Hashable], parts: Sequence[Fraction]) -> dict[int, int]:
    """Row -> number of its split. The harm of a split is its chi-square distance from the shares.

    All rows count as a stratum too, so that splits have their sizes. Strata that are too small for a row in each
    split count as one: each of them by itself would draw to the largest split.
    """
    rare, every = object(), object()
    small = {stratum for stratum, size in Counter(strata).items() if size * min(parts) < 1}

    def content(rows: Iterable[int]) -> Counter[object]:
        counts = Counter(rare if strata[row] in small else strata[row] for row in rows)
        return counts + Counter({every: counts.total()})

    wanted = {stratum: [float(size * part) for part in parts] for stratum, size in content(range(len(strata))).items()}
    have = {stratum: [0] * len(parts) for stratum in wanted}
    place: dict[int, int] = {}
    for unit in sorted(units, key=len, reverse=True):
        counts = content(unit)
        # `fsum` rounds once: the same bits in any order and on every machine.
        harms = [
            math.fsum((2 * n * (have[s][k] - wanted[s][k]) + n * n) / wanted[s][k] for s, n in counts.items())
            for k in range(len(parts))
        ]
        best = harms.index(min(harms))
        for stratum, n in counts.items():
            have[stratum][best] += n
        place |= dict.fromkeys(unit, best)
    return place


def _fill(
    alone: Sequence[int], strata: Sequence[Hashable], quotas: Quotas, placed: Mapping[int, int]
) -> dict[int, int]:
    """Row -> number of its split, for the rows that stand alone: what the groups left of the quotas, in proportion."""
    rows = defaultdict(list)
    for row in alone:
        rows[strata[row]].append(row)
    have = Counter((strata[row], split) for row, split in placed.items())
    left: Quotas = {}
    for stratum, members in rows.items():
        open_places = [max(Fraction(), quota - have[stratum, split]) for split, quota in enumerate(quotas[stratum])]
        left[stratum] = [len(members) * each / sum(open_places) for each in open_places]
    counts = rounded(left)
    return {
        row: split
        for stratum, members in rows.items()
        for row, split in zip(members, _repeated(counts[stratum]), strict=True)
    }


def _repeated(counts: Sequence[int]) -> list[int]:
    return [number for number, count in enumerate(counts) for _ in range(count)]


def rounded(quotas: Quotas) -> Table:
    """Each quota rounded up or down, so that rows keep their sums, which are whole, and columns are rounded as well."""
    columns = [sum(column, Fraction()) for column in zip(*quotas.values(), strict=True)]
    counts = {stratum: [math.floor(quota) for quota in row] for stratum, row in quotas.items()}
    behind = [Fraction()] * len(columns)
    for stratum, row in quotas.items():
        behind = [lag + quota - count for lag, quota, count in zip(behind, row, counts[stratum], strict=True)]
        fractional = [k for k, quota in enumerate(row) if quota.denominator > 1]
        for k in sorted(fractional, key=lambda k: -behind[k])[: int(sum(row)) - sum(counts[stratum])]:
            counts[stratum][k] += 1
            behind[k] -= 1
    while path := _correction(quotas, counts, columns):
        for stratum, giver, taker in path:
            counts[stratum][giver] -= 1
            counts[stratum][taker] += 1
    return counts


def _correction(quotas: Quotas, counts: Table, columns: Sequence[Fraction]) -> list[tuple[Hashable, int, int]]:
    """Moves of one row each, (stratum, from, to), that bring a column nearer to its sum; none when all are rounded.

    Where one column is too full or too empty there is such a path: the quotas themselves are a flow without one.
    """
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    givers = [k for k, column in enumerate(columns) if totals[k] > math.ceil(column)]
    takers = [k for k, column in enumerate(columns) if totals[k] < math.floor(column)]
    if not givers and not takers:
        return []
    ends = takers if not givers else [k for k, column in enumerate(columns) if totals[k] < math.ceil(column)]
    starts = givers or [k for k, column in enumerate(columns) if totals[k] > math.floor(column)]
    paths: dict[int, list[tuple[Hashable, int, int]]] = {k: [] for k in starts}
    queue = list(starts)
    for k in queue:
        if k in ends:
            return paths[k]
        for stratum, row in quotas.items():
            if counts[stratum][k] > row[k]:
                for other in range(len(columns)):
                    if other not in paths and counts[stratum][other] < row[other]:
                        paths[other] = [*paths[k], (stratum, k, other)]
                        queue.append(other)
    raise AssertionError("a table of quotas whose rows are whole has a rounding")
