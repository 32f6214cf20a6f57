"""What other choices cost: sums by hand."""

from __future__ import annotations

import pytest

from mmkd.config.experiment import Experiment
from mmkd.plan.choices import Rates, break_even, choices
from mmkd.plan.facts import Memory, Number, StudentPlan
from tiny_project import experiment, plain_experiment

STUDENT = StudentPlan(
    parameters=1,
    trained_parameters=1,
    rows=100,
    batches=10,
    steps=10,
    epochs=5,
    seeds=2,
    flops_per_sample={},
    flops_per_epoch=Number(0, "exact"),
    batch_seconds={},
    epoch_seconds=Number(10.0, "estimated"),
    final_seconds=Number(1.0, "estimated"),
    memory=Memory(1, 1, 1, None),
    disk_bytes=Number(1, "exact"),
)
RATES = Rates({"fp16": 1000, "bf16": 1000, "fp32": 2000}, building=60.0, reading=2.0, live=42.0, alone=9.0)


def file(views: int | None = None, **train: object) -> Experiment:
    plain = plain_experiment()
    plain["train"] |= train
    if views is not None:
        plain["augment"] = {"views": views, "text": {"drop": 0.1}}
    return experiment(plain)


def table(of: Experiment) -> dict[str, tuple[bool, float, float | None, float | None, float | None]]:
    found = {}
    for each in choices(of, STUDENT, RATES):
        times = [None if t is None else t.value for t in (each.first_seconds, each.epoch_seconds, each.seconds)]
        found[each.name] = (each.chosen, each.disk_bytes.value, *times)
    return found


def test_each_choice_costs_what_its_parts_cost() -> None:
    assert table(file()) == {
        "cached fp16, 1 view": (True, 1000, 60.0, 12.0, 60 + 2 * (5 * 12 + 1)),
        "cached fp32, 1 view": (False, 2000, 60.0, 12.0, 60 + 2 * (5 * 12 + 1)),
        "cached fp16, 4 views": (False, 4000, 240.0, 12.0, 240 + 2 * (5 * 12 + 1)),
        "live teachers": (False, 0, 0.0, 52.0, 2 * (5 * 52 + 1)),
        "no teachers": (False, 0, 0.0, 9.0, 2 * (5 * 9 + 1)),
    }


def test_the_files_own_choice_is_marked() -> None:
    assert [name for name, row in table(file(cache=False)).items() if row[0]] == ["live teachers"]
    assert [name for name, row in table(file(cache_dtype="bf16")).items() if row[0]] == ["cached bf16, 1 view"]
    views = table(file(views=3))
    assert [name for name, row in views.items() if row[0]] == ["cached fp16, 3 views"]
    assert views["cached fp16, 1 view"][:3] == (False, 1000, 60.0)


def test_the_cache_pays_when_what_it_saves_is_what_it_cost() -> None:
    found = break_even(RATES)
    assert found is not None and found.value == pytest.approx(60 / 40)
    assert break_even(Rates({}, 60.0, 42.0, 42.0, None)) is None
    assert break_even(Rates({}, None, None, None, None)) is None
