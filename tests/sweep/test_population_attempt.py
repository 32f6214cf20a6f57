"""Attempts of a population, in this process: each begins with its parent's state, as its file alone would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from sweep_tools import NAME, POPULATION, sweep_of

from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.data.cards import read_cards
from mmkd.errors import MmkdError
from mmkd.learning import Learning
from mmkd.ready import make_ready
from mmkd.record import RunRecord, read_record
from mmkd.run import run_experiment
from mmkd.sweep.attempt import CODE, attempt
from mmkd.sweep.course import Course, Fixed
from mmkd.sweep.journal import Journal
from mmkd.sweep.order import Order, Outcome
from mmkd.sweep.plan import plan_sweep
from mmkd.sweep.ranking import winner_of
from mmkd.sweep.run import check_space, fixed_overrides, load_trial, remove_old_states
from mmkd.sweep.space import change
from mmkd.sweep.trials import FINISHED, WENT_ON
from mmkd.sweep.winner import write_winner
from tiny_project import make_project, plain_experiment

QUIET = Progress(disable=True)
EPOCHS, STEPS = 4, 3
FIXED = ["seeds=[0]", "train.threads=1"]
FIRST = change(1, {"train.lr": 5e-3, "losses.words.weight": 0.5})
SECOND = change(2, {"train.lr": 2e-4})


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    plain = plain_experiment()
    plain["train"] |= {"epochs": EPOCHS, "checkpoint": {"unit": "steps", "every": 1}, "preflight": False}
    (folder / "tiny.yaml").write_text(json.dumps(plain), "utf-8")  # JSON is YAML
    make_ready(load(folder / "tiny.yaml", FIXED, read_cards), folder / "tiny.yaml", QUIET)  # teachers take their steps
    return folder / "tiny.yaml"


@pytest.fixture
def order(target: Path, tmp_path: Path) -> Callable[..., Order]:
    def make(number: int, *overrides: str, **changes: Any) -> Order:
        plain: dict[str, Any] = {
            "number": number,
            "attempt": 1,
            "overrides": [*FIXED, *overrides],
            "target": str(target),
            "folder": str(tmp_path / "sweep"),
            "seeds": [0],
            "objectives": [NAME],
            "rungs": {},
            "bar": None,
            "give_up": 2.0,
            "cpus": 1,
            "gpus": 0.0,
            "processes": 1,
            "code": CODE,
            "node_cache": None,
            "cache": str(target.parent / "results" / "cache"),
            "entries": [],
        }
        return Order.model_validate(plain | changes)

    return make


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that are taken."""
    found: list[int] = []
    update = Learning.update

    def counted(learning: Learning, *arguments: Any) -> None:
        found.append(learning.step)
        update(learning, *arguments)

    monkeypatch.setattr(Learning, "update", counted)
    return found


def silent(epochs: int, best: float) -> None:
    pass


def record_of(order: Order) -> RunRecord:
    return read_record(order.place / "seed0" / "record.json")


def numbers(record: RunRecord) -> tuple[Any, ...]:
    history = [{**entry, "seconds": 0} for entry in record.history]
    return record.weights, history, record.selection, record.scores["validation"]


@pytest.fixture(scope="module")
def scratch(target: Path) -> Callable[..., RunRecord]:
    """The record of an ordinary run with these overrides, all epochs from the first on."""
    found: dict[tuple[str, ...], RunRecord] = {}

    def run(*overrides: str) -> RunRecord:
        if overrides not in found:
            experiment = load(target, [*FIXED, *overrides], read_cards)
            found[overrides] = run_experiment(experiment, target, QUIET, "run", say=lambda text: None)[0]
        return found[overrides]

    return run


def test_children_go_on_from_their_parents_to_what_the_lineage_alone_gives(
    order: Callable[..., Order], scratch: Callable[..., RunRecord], steps: list[int]
) -> None:
    expected = scratch(FIRST, SECOND)
    steps.clear()
    first = attempt(order(0, until=1), silent)
    second = order(9, FIRST, parent=0, until=2)
    assert attempt(second, silent).status == WENT_ON
    third = attempt(order(17, FIRST, SECOND, parent=9), silent)
    assert steps == list(range(EPOCHS * STEPS))  # each trial took its own steps, and no other
    assert (first.status, third.status) == (WENT_ON, FINISHED)
    assert [len(each.curve) for each in (first, third)] == [1, EPOCHS]
    assert numbers(record_of(order(17))) == numbers(expected)
    assert third.results()[0].objectives[NAME] == expected.selection.value
    assert [entry["epoch"] for entry in record_of(order(0)).history] == [0]
    assert expected.weights != scratch().weights


def test_a_member_that_goes_on_as_it_is_is_an_ordinary_run(
    order: Callable[..., Order], scratch: Callable[..., RunRecord], steps: list[int]
) -> None:
    expected = scratch()
    steps.clear()
    attempt(order(0, until=2), silent)
    attempt(order(8, parent=0), silent)
    assert steps == list(range(EPOCHS * STEPS))
    assert numbers(record_of(order(8))) == numbers(expected)


def test_two_children_of_one_parent_leave_its_state_as_it_is(order: Callable[..., Order]) -> None:
    attempt(order(0, until=2), silent)
    state = order(0).place / "seed0" / "checkpoints"
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    attempt(order(8, parent=0), silent)
    attempt(order(9, SECOND, parent=0), silent)
    assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before != {}
    one, other = record_of(order(8)), record_of(order(9))
    assert one.history[:2] == other.history[:2] and one.history[2] != other.history[2]


def test_who_leaves_off_is_scored_by_its_last_epoch_since_others_go_on_from_there(
    order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = iter([0.5, 0.75, 0.25])
    monkeypatch.setattr("mmkd.evaluate.Evaluation.mean_score", lambda evaluation: next(planted))
    outcome = attempt(order(0, until=3), silent)
    assert outcome.results()[0].objectives == {NAME: 0.25} and outcome.curve == [0.5, 0.75, 0.75]


def test_a_child_that_is_killed_goes_on_from_its_own_state(
    order: Callable[..., Order], scratch: Callable[..., RunRecord], steps: list[int]
) -> None:
    expected = scratch(FIRST, SECOND)
    attempt(order(0, until=1), silent)
    attempt(order(9, FIRST, parent=0, until=2), silent)

    def dies(epochs: int, best: float) -> None:
        if epochs == 3:
            raise KeyboardInterrupt  # as sudden as a kill, for what lies on the disk

    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        attempt(order(17, FIRST, SECOND, parent=9), dies)
    shutil.rmtree(order(9).place)  # nor is the parent needed any more
    attempt(order(17, FIRST, SECOND, parent=9, attempt=2), silent)
    assert steps == list(range(2 * STEPS, EPOCHS * STEPS))
    assert numbers(record_of(order(17))) == numbers(expected)


@pytest.mark.parametrize("harm", ["gone", "damaged", "half copied"])
def test_without_its_parents_state_a_child_runs_the_whole_lineage(
    order: Callable[..., Order], scratch: Callable[..., RunRecord], steps: list[int], harm: str
) -> None:
    expected = scratch(FIRST, SECOND)
    attempt(order(0, FIRST, until=2), silent)
    state = order(0).place / "seed0" / "checkpoints"
    if harm == "gone":
        shutil.rmtree(state)
    elif harm == "damaged":
        for path in state.glob("*/common.safetensors"):
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        left = order(8).place / "seed0" / "checkpoints" / ".000000006.new"
        left.mkdir(parents=True)
        (left / "manifest.json").write_text("{")
    steps.clear()
    attempt(order(8, FIRST, SECOND, parent=0), silent)
    assert steps == list(range(2 * STEPS if harm == "half copied" else 0, EPOCHS * STEPS))
    assert numbers(record_of(order(8))) == numbers(expected)


def test_a_trial_whose_outcome_was_lost_has_the_same_one_again_and_still_its_state(
    order: Callable[..., Order], steps: list[int]
) -> None:
    first = attempt(order(0, until=2), silent)
    steps.clear()
    (order(0).place / "outcome.json").unlink()
    again = attempt(order(0, until=2, attempt=2), silent)
    assert (again.status, again.seeds, steps) == (WENT_ON, first.seeds, [])
    assert attempt(order(8, parent=0), silent).status == FINISHED and steps == list(range(2 * STEPS, EPOCHS * STEPS))


SPACE = {"train.lr": {"log_uniform": [1e-4, 1e-2]}, "losses.words.weight": {"uniform": [0.1, 2.0]}}
SEARCH = {"kind": "pbt", "population": 4, "every": 1, "keep": 0.5, "resample": 0.3}


def test_a_whole_population_costs_its_own_epochs_and_its_winners_file_gives_the_same_weights(
    target: Path, tmp_path: Path, steps: list[int]
) -> None:
    sweep = sweep_of(**POPULATION | {"space": SPACE, "search": SEARCH})
    folder, settings = tmp_path / "tiny-pbt" / "run1", fixed_overrides(sweep)
    fixed = Fixed(target, folder, settings, EPOCHS, CODE, target.parent / "results" / "cache", ())
    steps.clear()
    with Journal(folder / "journal.jsonl") as journal:
        course = Course(sweep, fixed, journal)
        most = 0
        while isinstance(found := course.next(), Order):
            outcome: Outcome = attempt(found, silent)
            course.ended(found.number, outcome, 1.0)
            remove_old_states(course, folder)
            most = max(most, len(list(folder.glob("trials/*/seed0/checkpoints"))))
    assert len(course.trials) == 4 * EPOCHS and len(steps) == 4 * EPOCHS * STEPS
    assert most <= 2 * 4 and not list(folder.glob("trials/*/seed0/checkpoints"))
    winner = winner_of(course.trials.values(), sweep.objective)
    assert winner is not None
    told = [line for trial in course.trials.values() for line in trial.overrides if line.startswith("changes.")]
    assert told, "nobody changed anything: a case that says nothing"
    for trial in (winner, max(course.trials.values(), key=lambda t: len(t.overrides) if t.status == FINISHED else 0)):
        chosen = load_trial(target, [*settings, *trial.overrides])
        write_winner(folder / "winner.yaml", trial, len(course.trials), sweep, chosen, "how")
        record = run_experiment(load(folder / "winner.yaml"), target, QUIET, "run", say=lambda text: None)[0]
        own = read_record(folder / "trials" / f"{trial.number:04}" / "seed0" / "record.json")
        assert numbers(record) == numbers(own)
        assert record.selection.value == trial.objectives[NAME]


@pytest.mark.parametrize(
    ("key", "domain", "says"),
    [
        ("train.batch_size", {"integer": [4, 8]}, "changes.epoch1.set.train.batch_size: it cannot change while a run"),
        ("student.width", {"integer": [4, 8]}, "changes.epoch1.set.student.width: it cannot change while a run"),
        ("weighting.kind", {"choice": ["fixed", "uncertainty"]}, "changes.epoch1.set.weighting.kind: found"),
        ("losses.words.wait", {"uniform": [0, 1]}, "did you mean `weight`?"),
    ],
)
def test_keys_that_cannot_change_are_refused_by_name(target: Path, key: str, domain: dict[str, Any], says: str) -> None:
    good = sweep_of(**POPULATION | {"space": SPACE, "search": SEARCH})
    assert check_space(good, target, fixed_overrides(good)).changes == {}
    sweep = sweep_of(**POPULATION | {"space": {**SPACE, key: domain}, "search": SEARCH})
    with pytest.raises(ConfigError) as caught:
        check_space(sweep, target, fixed_overrides(sweep))
    assert says in str(caught.value)


@pytest.mark.parametrize("every", [3, 4, 8])
def test_generations_divide_the_epochs(target: Path, every: int) -> None:
    sweep = sweep_of(**POPULATION | {"space": SPACE, "search": SEARCH | {"every": every}})
    with pytest.raises(MmkdError, match=rf"search.every: found {every}; expected a number of epochs that divides"):
        check_space(sweep, target, fixed_overrides(sweep))


def test_an_experiment_with_changes_of_its_own_is_refused(target: Path) -> None:
    sweep = sweep_of(**POPULATION | {"space": SPACE, "search": SEARCH})
    with pytest.raises(MmkdError, match="found epoch2"):
        check_space(sweep, target, (*fixed_overrides(sweep), SECOND))


def test_the_plan_counts_generations_and_their_epochs(target: Path) -> None:
    file = target.parent / "sweep.yaml"
    sweep = sweep_of(**POPULATION | {"space": SPACE, "search": SEARCH, "experiment": "tiny.yaml"})
    assert plan_sweep(sweep, file, QUIET, measure=False).trials == 4 * EPOCHS
    timed = plan_sweep(sweep, file, QUIET)
    assert timed.each is not None and timed.experiment.seconds is not None
    assert 0 < timed.each <= timed.experiment.seconds.value / EPOCHS
    assert "a trial is 1 epochs" in " ".join(timed.notes)
