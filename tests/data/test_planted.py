"""Nothing is lost and nothing is substituted: planted defects among 5,000 good rows, each found where it was put."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mmkd.data.account import Report
from mmkd.data.dataset import DataSet
from mmkd.data.findings import REASONS, WITHOUT_A_ROW
from planted import MOODS, PLANTS, TAGS, Built, Plant, build

QUARANTINE: dict[str, Any] = {reason: "quarantine" for reason in REASONS if reason not in WITHOUT_A_ROW}
SIZES = {"train": 3500, "transfer": 500, "validation": 500, "test": 500}
FEW = {"train": 4, "transfer": 2, "validation": 3, "test": 3}


def found_in(report: Report) -> list[tuple[str, str, str | None, int | None, str | None]]:
    findings = [each.finding for each in report.found]
    return sorted(((one.reason, one.split, one.file, one.row, one.id) for one in findings), key=str)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("planted") / "root", SIZES, PLANTS)


@pytest.fixture(scope="module")
def checked(planted: Built) -> DataSet:
    """The whole set, with all that is found quarantined."""
    data = planted.opened(planted.root.parent / "checks", QUARANTINE)
    data.report()
    return data


def test_every_reason_that_a_row_can_have_is_planted():
    assert {plant.reason for plant in PLANTS} == set(REASONS) - WITHOUT_A_ROW
    assert len(PLANTS) >= 60
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)


def test_everything_planted_is_found_where_it_was_put_and_nothing_else(planted: Built, checked: DataSet):
    assert found_in(checked.report()) == planted.expected()


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_one_plant_alone_is_found_and_gone_when_repaired(plant: Plant, tmp_path: Path):
    spoiled = build(tmp_path / "spoiled" / "root", FEW, [plant])
    assert len(spoiled.expected()) == 1 + len(plant.also)
    assert found_in(spoiled.opened(tmp_path / "checks", QUARANTINE).report()) == spoiled.expected()
    repaired = build(tmp_path / "repaired" / "root", FEW, [plant], repaired=True)
    assert found_in(repaired.opened(tmp_path / "checks", QUARANTINE).report()) == []
