"""The space of a sweep: which keys are varied together, and every combination of a grid. No torch and no Ray here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmkd.config.document import override
from mmkd.config.sweep_file import Domain

Values = dict[str, Any]
"""What a trial sets: key of the experiment -> value. A key whose condition does not hold is not in it."""

Space = Mapping[str, Domain]


def holds(domain: Domain, values: Values) -> bool:
    """Whether a key is varied, given the values of the keys above it."""
    return all(key in values and values[key] in wanted for key, wanted in domain.when.items())


def combinations(space: Space) -> Iterator[Values]:
    """Every combination of a grid, the last key changing fastest."""
    yield from _rest(list(space.items()), {})


def _rest(left: Sequence[tuple[str, Domain]], values: Values) -> Iterator[Values]:
    if not left:
        yield values
        return
    (key, domain), *others = left
    if not holds(domain, values):
        yield from _rest(others, values)
        return
    for value in grid_points(domain):
        yield from _rest(others, {**values, key: value})


def grid_points(domain: Domain) -> list[Any]:
    """The values of one key that a grid tries."""
    if domain.choice is not None:
        return list(domain.choice)
    if domain.integer is not None:
        return list(range(domain.integer[0], domain.integer[1] + 1))
    assert domain.points is not None  # checked by the sweep file
    shares = [number / (domain.points - 1) for number in range(domain.points)]
    if domain.uniform is not None:
        low, high = domain.uniform
        return [low + share * (high - low) for share in shares[:-1]] + [high]
    assert domain.log_uniform is not None
    low, high = domain.log_uniform
    return [low * (high / low) ** share for share in shares[:-1]] + [high]


def from_share(domain: Domain, share: float) -> Any:
    """The value at a share (0 to below 1) of a domain."""
    if domain.choice is not None:
        return domain.choice[int(share * len(domain.choice))]
    if domain.integer is not None:
        low, high = domain.integer
        return low + int(share * (high - low + 1))
    if domain.uniform is not None:
        return domain.uniform[0] + share * (domain.uniform[1] - domain.uniform[0])
    assert domain.log_uniform is not None
    bounds = domain.log_uniform
    return min(max(bounds[0] * (bounds[1] / bounds[0]) ** share, bounds[0]), bounds[1])


def drawn(space: Space, generator: np.random.Generator) -> Values:
    """Values of all keys, each drawn by itself."""
    values: Values = {}
    for key, domain in space.items():
        share = generator.random()  # drawn in any case, so that a key's draw does not depend on conditions
        if holds(domain, values):
            values[key] = from_share(domain, share)
    return values


def overrides(values: Mapping[str, Any]) -> list[str]:
    """All that a trial sets, as the command line takes it."""
    return [override(key, value) for key, value in values.items()]


def change(epoch: int, values: Mapping[str, Any]) -> str:
    """That keys have these values from an epoch on, as the command line takes it."""
    return override(f"changes.epoch{epoch}", {"epoch": epoch, "set": values})
