"""Spaces: which keys are varied together, and every combination of a grid."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sweep_tools import sweep_of

from mmkd.config.document import override
from mmkd.config.load import load
from mmkd.config.section_file import load_section
from mmkd.config.sweep_file import Domain, Sweep
from mmkd.sweep.run import check_space, fixed_overrides
from mmkd.sweep.space import combinations, from_share, grid_points
from test_cli import EXPERIMENT, ROOT


def test_a_grid_is_every_combination_in_the_order_of_the_file_the_last_key_changing_fastest():
    space = {
        "a": {"choice": ["x", "y"]},
        "b": {"integer": [1, 3]},
        "c": {"uniform": [0.0, 1.0], "points": 3},
    }
    sweep = sweep_of(search={"kind": "grid"}, trials=None, space=space)
    found = [tuple(values.values()) for values in combinations(sweep.space)]
    assert found == list(itertools.product(["x", "y"], [1, 2, 3], [0.0, 0.5, 1.0]))


def test_a_key_whose_condition_does_not_hold_is_not_varied_and_doubles_nothing():
    space = {
        "a": {"choice": ["x", "y", "z"]},
        "b": {"choice": [1, 2], "when": {"a": ["y", "z"]}},
        "c": {"choice": [5, 6], "when": {"b": 2}},
    }
    sweep = sweep_of(search={"kind": "grid"}, trials=None, space=space)
    assert list(combinations(sweep.space)) == [
        {"a": "x"},
        {"a": "y", "b": 1},
        {"a": "y", "b": 2, "c": 5},
        {"a": "y", "b": 2, "c": 6},
        {"a": "z", "b": 1},
        {"a": "z", "b": 2, "c": 5},
        {"a": "z", "b": 2, "c": 6},
    ]


def test_points_of_an_interval_are_equally_far_apart_or_by_ratio():
    assert grid_points(Domain(uniform=(1.0, 2.0), points=5)) == [1.0, 1.25, 1.5, 1.75, 2.0]
    assert grid_points(Domain(log_uniform=(1e-4, 1e-1), points=4)) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])


def test_shares_cover_each_domain_evenly():
    shares = (np.arange(10_000) + 0.5) / 10_000
    choice, integer = Domain(choice=("a", "b", "c", "d")), Domain(integer=(3, 7))
    assert [sum(from_share(choice, s) == each for s in shares) for each in "abcd"] == [2500] * 4
    assert [sum(from_share(integer, s) == each for s in shares) for each in range(3, 8)] == [2000] * 5
    log = [from_share(Domain(log_uniform=(1e-3, 1e1)), s) for s in shares]
    assert [sum(10.0**k <= each < 10.0 ** (k + 1) for each in log) for k in range(-3, 1)] == [2500] * 4
    assert from_share(Domain(log_uniform=(1e-3, 1e1)), 1 - 2**-53) <= 10.0


def test_overrides_carry_every_digit(tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT, "utf-8")
    value = 2.413228286472407e-07
    experiment = load(tmp_path / "tiny.yaml", [override("losses.text_ner.temperature", value)])
    assert experiment.losses["text_ner"].temperature == value


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (
            {"space": {"a": {"choice": [1], "when": {"b": 1}}, "b": {"choice": [1]}}},
            "expected a key of the space above",
        ),
        ({"space": {"b": {"choice": [1]}, "a": {"choice": [1], "when": {"b": 2}}}}, "expected some of its choices"),
        ({"search": {"kind": "grid"}}, "a grid needs"),
        ({"space": {"a": {"choice": [1], "points": 3}}}, "only uniform and log_uniform"),
        ({"trials": None}, "at least one of trials, hours, gpu_hours"),
        ({"objective": {"minimize": "flops"}, "stop_early": {"kind": "asha"}}, "stop_early knows one objective"),
        ({"objective": {"minimize": "flops"}, "search": {"kind": "hyperopt"}}, "hyperopt knows one objective"),
        ({"objective": {"maximize": "test.mean_score"}}, "maximize"),
        ({"objective": {"maximize": "validation.ner"}}, "maximize"),
        ({"objective": {"minimize": "validation.mean_score"}}, "minimize"),
        ({"per_trial": {"gpus": 1.5}}, "a whole number"),
        ({"seeds": [1, 1]}, "each once"),
        ({"search": {"kind": "optuna", "ahead": 0}}, "ahead"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(plain: dict, says: str):
    sweep_of()
    with pytest.raises(ValidationError, match=says):
        sweep_of(**plain)


@pytest.mark.parametrize("file", sorted((ROOT / "experiments" / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_own_sweeps_vary_what_their_experiments_take(file: Path):
    sweep = load_section(file, Sweep)
    target = (file.parent / sweep.experiment).resolve()
    assert check_space(sweep, target, fixed_overrides(sweep)).seeds == sweep.seeds
