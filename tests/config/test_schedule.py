"""Schedules: where they start, end and stay."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from mmkd.config.schedule import Schedule, Temperature, value_at


def schedule(kind: str, **more: float) -> Schedule:
    return Schedule.model_validate({"kind": kind, "from": 4.0, "to": 1.0, **more})


@pytest.mark.parametrize(
    ("kind", "until", "values"),
    [
        ("linear", 1.0, [4.0, 3.25, 2.5, 1.0]),
        ("linear", 0.5, [4.0, 2.5, 1.0, 1.0]),
        ("cosine", 1.0, [4.0, 4 - 1.5 * (1 - 0.5**0.5), 2.5, 1.0]),
        ("cosine", 0.5, [4.0, 2.5, 1.0, 1.0]),
        ("step", 0.5, [4.0, 4.0, 1.0, 1.0]),
    ],
)
def test_values_at_the_start_a_quarter_half_and_end(kind: str, until: float, values: list[float]) -> None:
    own = schedule(kind, until=until)
    assert [own.at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(values)


def test_a_number_stays() -> None:
    assert value_at(3.0, 0.7) == 3.0


def test_a_step_at_the_end_is_refused() -> None:
    with pytest.raises(ValidationError, match="a step at the end of the run changes nothing"):
        schedule("step")


@pytest.mark.parametrize("ends", [{"from": 0, "to": 1}, {"from": 4, "to": 0}])
def test_a_temperature_of_zero_is_refused(ends: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="a temperature is above 0"):
        TypeAdapter(Temperature).validate_python({"kind": "linear", **ends})
