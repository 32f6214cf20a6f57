"""A run whose keys change on the way: each stage is a resume under another experiment, interrupted or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress

from mmkd.checkpoints import MANIFEST, OtherRun
from mmkd.config.problems import ConfigError
from mmkd.keeper import Keeper
from mmkd.learning import Learning
from mmkd.losses import crd
from mmkd.plan.plan import plan_experiment
from mmkd.ready import make_ready
from mmkd.record import RunRecord
from mmkd.run import run_experiment, run_folder
from mmkd.seed import run_seed
from mmkd.verify import verify_record
from tiny_project import experiment, make_project, plain_experiment

KINDS = (crd,)  # imported before any experiment is read, as in `tiny_project`
QUIET = Progress(disable=True)
EPOCHS, STEPS = 4, 3  # of an epoch: 24 rows
CHANGES: dict[str, Any] = {
    "second": {
        "epoch": 1,
        "set": {
            "train.lr": 3e-3,
            "losses.words.weight": 0.25,
            "weighting.bound": 0.001,
            "losses.bert_ner.temperature": 2,
        },
    },
    "third": {
        "epoch": 3,
        "set": {"train.weight_decay": 0.3, "losses.words.weight": {"kind": "linear", "from": 2, "to": 0}},
    },
}


class Killed(BaseException):
    """Stands for a process that ends at once."""


def plain(changes: dict[str, Any] | None = None, **train: Any) -> dict[str, Any]:
    found = plain_experiment()
    found["train"] |= {"epochs": EPOCHS, "preflight": False, "checkpoint": {"unit": "steps", "every": 1}} | train
    found["losses"]["memory"] = {"kind": "crd", "teacher": "net", "modality": "image", "memory": 16}
    return found if changes is None else found | {"changes": changes}


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = make_project(tmp_path_factory.mktemp("project"))
    make_ready(experiment(plain()), found, QUIET)  # teachers take steps of their own, here alone
    return found


def run(near: Path, folder: Path, own: dict[str, Any], **options: Any) -> RunRecord:
    torch.manual_seed(len(str(folder)))  # what came before does not matter
    return run_seed(make_ready(experiment(own), near, QUIET), 0, folder, "the command", test=False, **options)


def numbers(record: RunRecord) -> tuple[Any, ...]:
    history = [{**entry, "seconds": 0} for entry in record.history]
    return record.weights, history, record.scores, record.predictions


@pytest.fixture(scope="module")
def unbroken(near: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return run(near, tmp_path_factory.mktemp("unbroken") / "run", plain(CHANGES))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Counts steps; before the one after so many in all have been saved, the process is dead."""
    at = {"kill": 10**9, "taken": 0}
    update = Learning.update

    def counted(learning: Learning, *arguments: Any) -> None:
        if learning.step == at["kill"]:
            raise Killed
        update(learning, *arguments)
        at["taken"] += 1

    monkeypatch.setattr(Learning, "update", counted)
    yield at


def test_it_ends_the_same_wherever_it_was_killed(
    near: Path, tmp_path: Path, unbroken: RunRecord, steps: dict[str, int]
) -> None:
    """Killed once before each step, in one run: within stages, and at their first and last steps."""
    for kill in range(1, EPOCHS * STEPS):
        steps["kill"] = kill
        with pytest.raises(Killed):
            run(near, tmp_path / "run", plain(CHANGES))
    steps["kill"] = 10**9
    assert numbers(run(near, tmp_path / "run", plain(CHANGES))) == numbers(unbroken)
    assert steps["taken"] == EPOCHS * STEPS  # none was taken twice


def test_it_goes_on_from_the_end_of_a_stage_though_nothing_else_was_saved(
    near: Path, tmp_path: Path, unbroken: RunRecord, steps: dict[str, int]
) -> None:
    own = plain(CHANGES, checkpoint={"unit": "minutes", "every": 1000})
    steps["kill"] = 2 * STEPS
    with pytest.raises(Killed):
        run(near, tmp_path / "run", own)
    steps["kill"], steps["taken"] = 10**9, 0
    assert numbers(run(near, tmp_path / "run", own)) == numbers(unbroken)
    assert steps["taken"] == (EPOCHS - 1) * STEPS


def test_each_stage_begins_where_the_one_before_ended_with_values_of_its_own(
    near: Path, tmp_path: Path, unbroken: RunRecord
) -> None:
    """The same by hand: a run under the first values that leaves off, and is taken up under the next, and the next."""
    folder, found = tmp_path / "run", {}
    for until, names in ((1, ()), (3, ("second",)), (None, ("second", "third"))):
        begun = {name: CHANGES[name] for name in names}
        found[until] = run(near, folder, plain(begun or None), until=until)
        assert len(found[until].history) == (until or EPOCHS)
    assert numbers(found[None]) == numbers(unbroken)
    assert not (folder / "checkpoints").exists()


def test_values_as_before_change_nothing_and_others_change_what_comes_after(near: Path, tmp_path: Path) -> None:
    same = {"second": {"epoch": 2, "set": {"train.lr": 1e-3, "losses.words.weight": 1.0}}}
    whole = run(near, tmp_path / "whole", plain())
    assert numbers(run(near, tmp_path / "same", plain(same))) == numbers(whole)
    before = run(near, tmp_path / "before", plain(epochs=2))
    for key, value in {**CHANGES["second"]["set"], "train.weight_decay": 0.3}.items():
        changed = run(near, tmp_path / key, plain({"second": {"epoch": 1, "set": {key: value}}}, epochs=2))
        assert changed.history[0] == before.history[0] and changed.history[1] != before.history[1], key


def test_a_run_that_stops_early_begins_no_further_stage(near: Path, tmp_path: Path, steps: dict[str, int]) -> None:
    never_better = plain({"third": {"epoch": 3, "set": {"train.lr": 1e-3}}}, patience=1, lr=1e-30, weight_decay=0.0)
    record = run(near, tmp_path / "run", never_better)
    assert len(record.history) == 2 and steps["taken"] == 2 * STEPS


def test_patience_counts_over_stages(near: Path, tmp_path: Path) -> None:
    never_better = plain({"second": {"epoch": 1, "set": {"train.weight_decay": 0}}}, patience=2, lr=1e-30)
    assert len(run(near, tmp_path / "run", never_better).history) == 3


def test_a_damaged_end_of_a_stage_is_made_again(
    near: Path, tmp_path: Path, unbroken: RunRecord, steps: dict[str, int]
) -> None:
    """The checkpoint before it is of the stage before, which is taken up again."""
    steps["kill"] = STEPS
    with pytest.raises(Killed):
        run(near, tmp_path / "run", plain(CHANGES))
    (tmp_path / "run" / "checkpoints" / f"{STEPS:09}" / MANIFEST).unlink()
    steps["kill"] = 10**9
    assert numbers(run(near, tmp_path / "run", plain(CHANGES))) == numbers(unbroken)


def stopped_in_second(near: Path, folder: Path, steps: dict[str, int]) -> None:
    steps["kill"] = STEPS + 1
    with pytest.raises(Killed):
        run(near, folder, plain(CHANGES))
    steps["kill"] = 10**9


def test_other_changes_before_the_state_are_refused_and_later_ones_are_not(
    near: Path, tmp_path: Path, steps: dict[str, int]
) -> None:
    stopped_in_second(near, tmp_path / "run", steps)
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    begun = {"second": {"epoch": 1, "set": CHANGES["second"]["set"] | {"train.lr": 2e-3}}}
    with pytest.raises(OtherRun, match="made with another experiment, so"):
        run(near, tmp_path / "other", plain(begun))
    with pytest.raises(OtherRun, match="made with another experiment, so"):
        run(near, tmp_path / "other", plain())
    later = CHANGES | {"third": {"epoch": 2, "set": {"train.lr": 1e-4}}}
    own = run(near, tmp_path / "other", plain(later))
    assert numbers(own) == numbers(run(near, tmp_path / "whole", plain(later)))


def test_a_stage_takes_a_state_of_the_one_before_at_its_end_alone(
    near: Path, tmp_path: Path, steps: dict[str, int]
) -> None:
    """A change at epoch 1 cannot be made to a run that is further without it."""
    steps["kill"] = 2 * STEPS
    with pytest.raises(Killed):
        run(near, tmp_path / "run", plain())
    steps["kill"] = 10**9
    with pytest.raises(OtherRun, match="made with another experiment, so"):
        run(near, tmp_path / "run", plain({"second": {"epoch": 1, "set": {"train.lr": 2e-3}}}))


def test_values_that_change_a_shape_are_refused_before_the_first_step(
    near: Path, tmp_path: Path, steps: dict[str, int]
) -> None:
    own = plain({"second": {"epoch": 1, "set": {"losses.memory.memory": 32}}})
    with pytest.raises(
        ConfigError, match=r"changes\.second: with these values, .*features has the shape \[32, "
    ) as caught:
        run(near, tmp_path / "run", own)
    assert "expected that of before, [16, " in str(caught.value) and steps["taken"] == 0


def test_control_without_the_state_of_the_stage_before_the_numbers_are_others(
    near: Path, tmp_path: Path, unbroken: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learning, "_take_moments", lambda *_: None)
    assert numbers(run(near, tmp_path / "run", plain(CHANGES))) != numbers(unbroken)


def test_control_a_stage_that_saves_nothing_at_its_end_cannot_be_followed(
    near: Path, tmp_path: Path, unbroken: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step's own checkpoint, of before the evaluation, is no end of a stage."""
    visit = Keeper.visit
    monkeypatch.setattr(
        Keeper, "visit", lambda keeper, learning, ended=False, leaves_off=False: visit(keeper, learning, ended)
    )
    with pytest.raises(OtherRun):
        run(near, tmp_path / "run", plain(CHANGES))


def test_a_seed_of_it_is_verified_and_planned_like_any_other(tmp_path: Path) -> None:
    near = make_project(tmp_path)
    whole = experiment(plain(CHANGES) | {"seeds": [0]})
    run_experiment(whole, near, QUIET, "the command")
    found = verify_record(run_folder(whole, near) / "seed0" / "record.json", QUIET, "the command", lambda text: None)
    assert found.holds and all(line.equal for line in found.results)
    assert plan_experiment(whole, near, QUIET, measure=False).name == "tiny"
