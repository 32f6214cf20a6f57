"""Attempts at trials, in this process: how they end, and that one leaves nothing behind for the next."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkd import interrupt
from mmkd.disk import DiskError
from mmkd.lease import alone
from mmkd.ready import Ready
from mmkd.record import read_record
from mmkd.sweep import attempt as attempts
from mmkd.sweep.attempt import CODE, attempt
from mmkd.sweep.measures import best_so_far, objective_of
from mmkd.sweep.order import STOP, Order, Outcome, read_outcome
from mmkd.sweep.trials import FINISHED, GIVEN_UP, STOPPED
from tiny_project import make_project, plain_experiment, student_alone

NAME = "validation.mean_score"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    plain = plain_experiment()
    plain["train"] |= {"epochs": 4, "checkpoint": {"unit": "steps", "every": 1}, "preflight": False}
    (folder / "tiny.yaml").write_text(json.dumps(plain), "utf-8")  # JSON is YAML
    return folder / "tiny.yaml"


@pytest.fixture
def order(target: Path, tmp_path: Path) -> Callable[..., Order]:
    def make(number: int = 0, **changes: Any) -> Order:
        plain: dict[str, Any] = {
            "number": number,
            "attempt": 1,
            "overrides": ["seeds=[0]", "train.threads=1"],
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


def silent(epochs: int, best: float) -> None:
    pass


def weights(order: Order) -> str:
    found = read_record(order.place / "seed0" / "record.json").weights
    assert found is not None
    return found


def test_an_attempt_ends_with_its_records_and_says_each_epoch(order: Callable[..., Order]):
    heard: list[tuple[int, float]] = []
    own = order(seeds=[0, 1], objectives=[NAME, "validation.ner.entity_f1", "parameters", "flops", "cache_bytes"])
    outcome = attempt(own, lambda epochs, best: heard.append((epochs, best)))
    assert (outcome.status, outcome.reason) == (FINISHED, None)
    assert read_outcome(own.place, 1) == outcome and read_outcome(own.place, 2) is None
    assert [epochs for epochs, _ in heard] == [1, 2, 3, 4] * 2
    for seed in outcome.results():
        record = read_record(own.place / f"seed{seed.seed}" / "record.json")
        assert seed.record == record.digest
        assert seed.objectives[NAME] == record.selection.value
        assert seed.objectives["validation.ner.entity_f1"] == record.scores["validation"]["ner"]["entity_f1"].value
        assert seed.objectives["parameters"] == record.parameters
        assert record.test_openings == 0 and set(record.scores) == {"validation"}
    cache = Path(own.target).parent / "results" / "cache" / "teachers"
    stored = sum(path.stat().st_size for path in cache.rglob("*.npy"))
    assert outcome.results()[0].objectives["cache_bytes"] == pytest.approx(stored, rel=0.2)
    assert outcome.results()[0].objectives["flops"] > 1000


def test_flops_and_latency_are_of_one_example(order: Callable[..., Order]):
    small = attempt(order(objectives=[NAME, "flops", "latency"]), silent).results()[0].objectives
    wide = attempt(
        order(1, objectives=[NAME, "flops", "latency"], overrides=["train.threads=1", "student.width=240"]), silent
    )
    assert wide.results()[0].objectives["flops"] > small["flops"] * 1.05
    assert 0 < small["latency"] < 10_000


def test_a_rung_that_is_missed_stops_the_trial_there_and_one_that_is_met_does_not(order: Callable[..., Order]):
    whole = attempt(order(), silent)
    third = whole.curve[2]
    met = attempt(order(1, rungs={3: third}), silent)
    assert (met.status, met.curve) == (FINISHED, whole.curve)
    missed = attempt(order(2, rungs={3: third + 1e-9}, seeds=[0, 1]), silent)
    assert (missed.status, missed.curve, len(missed.seeds)) == (STOPPED, whole.curve[:3], 1)


def test_a_hopeless_trial_gets_no_further_seed(order: Callable[..., Order]):
    own = order(seeds=[0, 1, 2], bar={"best": 2.0, "seeds": 3, "std": 0.01})
    outcome = attempt(own, silent)
    assert (outcome.status, len(outcome.seeds)) == (GIVEN_UP, 1)


def test_an_attempt_that_broke_off_goes_on_to_the_same_end(order: Callable[..., Order]):
    expected = attempt(order(), silent)

    def dies(epochs: int, best: float) -> None:
        if epochs == 2:
            raise KeyboardInterrupt  # as sudden as a kill, for what lies on the disk

    with pytest.raises(KeyboardInterrupt):
        attempt(order(1), dies)
    heard: list[int] = []
    again = attempt(order(1, attempt=2), lambda epochs, best: heard.append(epochs))
    assert weights(order(1)) == weights(order())
    assert again.curve == expected.curve
    assert "goes on after step" in (order(1).place / "said.txt").read_text("utf-8")


def test_a_stopped_trial_whose_outcome_was_lost_ends_the_same_again(order: Callable[..., Order]):
    whole = attempt(order(), silent)
    own = order(1, rungs={2: whole.curve[1] + 1e-9})
    first = attempt(own, silent)
    (own.place / "outcome.json").unlink()
    again = attempt(order(1, rungs=own.rungs, attempt=2), silent)
    assert (again.status, again.curve, again.seeds) == (first.status, first.curve, first.seeds)


def test_what_a_trial_sets_does_not_reach_the_next_in_the_same_process(order: Callable[..., Order]):
    """After trials with other precision, threads, tasks' losses, an error, and an order to stop."""
    attempt(order(), silent)
    alone_ = weights(order())
    attempt(order(1, overrides=["train.precision=bf16", "train.threads=2", "weighting.kind=fixed"]), silent)
    attempt(order(2, overrides=["train.lr=1e6", "train.non_finite=stop"]), silent)
    stop = Path(order().folder) / STOP
    stop.touch()
    attempt(order(3), silent)
    stop.unlink()
    attempt(order(4), silent)
    assert weights(order(4)) == alone_


def test_an_order_to_stop_saves_and_the_next_attempt_goes_on(order: Callable[..., Order]):
    expected = attempt(order(), silent)
    stop = Path(order().folder) / STOP
    own = order(1)

    def asks(epochs: int, best: float) -> None:
        stop.touch()
        interrupt.ask("the test")  # the pulse would see the file within a second

    outcome = attempt(own, asks)
    assert outcome.reason == "stopped" and "goes on from there" in outcome.says
    stop.unlink()
    assert attempt(order(1, attempt=2), silent).curve == expected.curve
    assert weights(own) == weights(order())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (MemoryError("no room"), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"), "failed"),
        (ValueError("something else"), "failed"),
    ],
)
def test_an_error_is_an_outcome_with_its_reason(
    order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
):
    def fails(*_: Any) -> Ready:
        raise error

    monkeypatch.setattr(attempts.KEPT, "ready", fails)
    outcome = attempt(order(), silent)
    assert (outcome.reason, outcome.status) == (reason, None)
    assert str(error) in outcome.says
    assert "Traceback" in (order().place / "said.txt").read_text("utf-8")


def test_a_secret_in_an_error_is_in_no_outcome(order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")

    def fails(*_: Any) -> Ready:
        raise ValueError("refused hf_abcdefghijklmnopqrstuvwxyz")

    monkeypatch.setattr(attempts.KEPT, "ready", fails)
    attempt(order(), silent)
    for path in order().place.rglob("*"):
        assert not path.is_file() or b"hf_abcdefghij" not in path.read_bytes(), path


def test_other_code_than_the_sweep_began_with_is_refused_and_costs_no_trial(order: Callable[..., Order]):
    outcome = attempt(order(code="0" * 64), silent)
    assert outcome.reason == "unfit" and "is not that which the sweep began with" in outcome.says
    assert not (order().place / "seed0").exists()


def test_a_full_disk_is_the_places_fault(order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch):
    def fails(*_: Any, **__: Any) -> None:
        raise DiskError("no room")

    monkeypatch.setattr(attempts, "run_seed", fails)
    assert attempt(order(), silent).reason == "unfit"


def test_an_attempt_waits_for_an_orphan_that_still_writes(order: Callable[..., Order]):
    held, own = threading.Event(), order()
    done: list[Outcome] = []
    with alone(own.place, "lock") as holds:
        assert holds
        waiting = threading.Thread(target=lambda: done.append(attempt(own, silent)))
        waiting.start()
        assert not held.wait(3) and not done and not (own.place / "seed0").exists()
    waiting.join()
    assert done[0].status == FINISHED


def test_the_best_so_far_is_that_of_the_epoch_that_a_run_would_keep():
    def entry(mean: float, f1: float) -> dict[str, Any]:
        return {"mean_score": mean, "validation": {"ner": {"entity_f1": f1}}}

    history = [entry(0.5, 0.9), entry(0.7, 0.2), entry(0.7, 0.8), entry(0.6, 1.0)]
    assert best_so_far(history, NAME) == [0.5, 0.7, 0.7, 0.7]
    assert best_so_far(history, "validation.ner.entity_f1") == [0.9, 0.2, 0.2, 0.2]
    assert objective_of(history[3], "validation.ner.entity_f1") == 1.0


def test_the_student_alone_has_no_cache_bytes(order: Callable[..., Order], tmp_path: Path):
    make_project(tmp_path)
    (tmp_path / "alone.yaml").write_text(json.dumps(student_alone(epochs=1)), "utf-8")
    outcome = attempt(order(target=str(tmp_path / "alone.yaml"), objectives=[NAME, "cache_bytes"]), silent)
    assert outcome.results()[0].objectives["cache_bytes"] == 0.0
