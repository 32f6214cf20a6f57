"""Reading a sweep: what figures and page say is what the journal holds; odd sweeps, and text that would be code."""

from __future__ import annotations

import math
import re
import shlex
from html import escape
from pathlib import Path
from typing import Any

import pytest
from sweep_tools import NAME, simulate, sweep_of
from test_sweep import SWEEP, mmkd, project_in, run_folder

from mmkd.config.document import override
from mmkd.errors import MmkdError
from mmkd.sweep.figures import ABSENT, best_line, brief, figures, heights_of, place, rungs_reached, ticks_of
from mmkd.sweep.importance import FEWEST, importances, says
from mmkd.sweep.journal import Journal, JournalError, read_journal
from mmkd.sweep.look import look
from mmkd.sweep.order import Order
from mmkd.sweep.page import command, sweep_page
from mmkd.sweep.ranking import pareto, ranked, winner_of
from mmkd.sweep.show import score, short, spent, troubles
from mmkd.sweep.trials import FAILED, FINISHED, STOPPED, BrokeOff, Trial, trials_of

HEADER: dict[str, Any] = {
    "event": "begin",
    "time": 0.0,
    "file": "small.yaml",
    "target": "x.yaml",
    "overrides": ["seeds=[0]"],
    "experiment": {"name": "tiny"},
    "made_from": {},
}


def made(path: Path, **plain: Any) -> tuple[list[dict], list[Trial], Any]:
    """A journal with its header, the trials that it tells, and the sweep."""
    sweep = sweep_of(**plain)
    with Journal(path) as journal:
        journal.write({**HEADER, "sweep": sweep.model_dump(mode="json")})

    def fails(order: Order, draws: Any) -> str | None:
        return {3: "failed", 5: "lost"}.get(order.number) if order.attempt == 1 or order.number == 3 else None

    simulate(sweep, path, fails=fails)
    events = read_journal(path)
    return events, list(trials_of(events).values()), sweep


@pytest.fixture
def asha(tmp_path: Path) -> tuple[list[dict], list[Trial], Any]:
    return made(tmp_path / "j.jsonl", trials=40, stop_early={"kind": "asha"}, search={"kind": "optuna", "ahead": 2})


def test_the_page_holds_each_trial_its_score_its_values_and_its_command(asha: tuple[list[dict], list[Trial], Any]):
    events, trials, sweep = asha
    text = sweep_page(events[0], events, trials, figures(trials, sweep), "a machine")
    rows = dict(re.findall(r'<tr><th scope="row">(\d+)</th>(.*?)</tr>', text, re.DOTALL))
    assert [int(number) for number in rows] == [trial.number for trial in ranked(trials, sweep.objective)]
    for trial in trials:
        row = rows[str(trial.number)]
        assert str(trial.status) in row
        if trial.objectives:
            assert f'data-value="{trial.objectives[NAME]!r}"' in row and score(trial, NAME) in row
        for key, value in trial.values.items():
            assert escape(shlex.quote(override(key, value))) in row
    assert {trial.status for trial in trials} == {FINISHED, STOPPED, FAILED}
    assert "trial 3, attempt 1: failed: planted" in text and "trial 5, attempt 1: lost: planted" in text
    winner = winner_of(trials, sweep.objective)
    assert winner is not None and f"Trial {winner.number}: " in text


def test_the_page_needs_nothing_from_elsewhere(asha: tuple[list[dict], list[Trial], Any]):
    events, trials, sweep = asha
    text = sweep_page(events[0], events, trials, figures(trials, sweep), "")
    outside = re.findall(r'(?:src|href)="(?!#)[^"]*"', text)
    assert outside == [] and "@import" not in text and text.count("<svg") == len(figures(trials, sweep)) > 3


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "</svg><script>alert(1)</script>", '"><script>alert(1)'])
def test_text_that_would_be_code_is_shown_and_not_run(evil: str, tmp_path: Path):
    space = {f"student.{evil}": {"choice": [evil, "b"]}, "train.lr": {"log_uniform": [1e-4, 1e-1]}}
    events, trials, sweep = made(tmp_path / "j.jsonl", trials=40, search={"kind": "random"}, space=space)
    trials[3].broke_off[0] = BrokeOff(1, evil, evil, True)
    trials[3].says = evil
    events[0] |= {"file": evil, "target": evil, "experiment": {"name": evil}}
    drawn = figures(trials, sweep)
    assert {"importance", "coordinates", "keys"} <= set(drawn)  # which write the key
    text = sweep_page(events[0], events, trials, drawn, evil)
    assert text.count("<script") == 1 and text.count("alert(1)") > 10  # our own, which sorts


def test_a_value_with_dollars_is_no_formula(tmp_path: Path):
    space = {"student.$\\name{$": {"choice": ["a$\\bad{$", "b"]}}
    events, trials, sweep = made(tmp_path / "j.jsonl", trials=6, search={"kind": "random"}, space=space)
    text = sweep_page(events[0], events, trials, figures(trials, sweep), "")
    assert len(re.findall(r"<text[^>]*>a\$\\bad\{\$</text>", text)) == 2  # of both figures that spell choices


def test_powers_of_ten_are_written_out(asha: tuple[list[dict], list[Trial], Any]):
    events, trials, sweep = asha
    text = sweep_page(events[0], events, trials, figures(trials, sweep), "")
    assert ">0.01</text>" in text and "mathdefault" not in text


def test_what_is_drawn_is_what_the_journal_holds(asha: tuple[list[dict], list[Trial], Any]):
    _, trials, sweep = asha
    line = best_line(trials, sweep)
    finished = [trial for trial in trials if trial.status == FINISHED]
    assert [number for number, _ in line] == [trial.number for trial in finished]
    assert [best for _, best in line] == [
        max(trial.objectives[NAME] for trial in finished[: n + 1]) for n in range(len(finished))
    ]
    drawn = figures(trials, sweep)
    (axes,) = drawn["curves"].axes
    curves = sorted(trial.curve for trial in trials if trial.curve)
    assert sorted(list(line.get_ydata()) for line in axes.lines[::2]) == curves
    (axes,) = drawn["scores"].axes
    points = {(round(x), y) for each in axes.collections for x, y in each.get_offsets()}
    assert points == {(trial.number, trial.objectives[NAME]) for trial in trials if trial.objectives}


def test_rungs_that_are_drawn_are_those_of_the_journal(asha: tuple[list[dict], list[Trial], Any]):
    _, trials, sweep = asha
    reached = {(epoch, low) for t in trials for epoch, low in t.rungs.items() if epoch <= len(t.curve)}
    assert len(reached) > 1 and rungs_reached(trials) == sorted(reached)
    (axes,) = figures(trials, sweep)["curves"].axes
    (marks,) = axes.collections
    assert [(round(x), y) for x, y in marks.get_offsets()] == sorted(reached)
    stopped = next(trial for trial in trials if trial.status == STOPPED)
    stopped.rungs[len(stopped.curve) + 1] = 0.123  # where it never came
    assert rungs_reached(trials) == sorted(reached)


def test_a_key_that_a_trial_does_not_vary_stands_below_its_axis(asha: tuple[list[dict], list[Trial], Any]):
    _, trials, sweep = asha
    at = list(sweep.space).index("weighting.bound")
    absent = {trial.number for trial in trials if "weighting.bound" not in trial.values}
    assert absent and {trial.number for trial in trials if heights_of(trial, sweep)[at] == ABSENT} == absent
    (axes,) = figures(trials, sweep)["coordinates"].axes
    assert [text.get_position()[0] for text in axes.texts if text.get_text() == "not varied"] == [at + 0.03]
    lines = [list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == len(sweep.space) + 1]
    scored = [trial for trial in trials if trial.objectives]
    assert sorted(line[:-1] for line in lines) == sorted(heights_of(trial, sweep) for trial in scored)


def test_places_on_axes():
    space = sweep_of().space
    log, choice, whole = space["train.lr"], space["weighting.kind"], space["train.batch_size"]
    assert place(log, 1e-4) == 0 and place(log, 1e-1) == pytest.approx(1) and place(log, 10**-2.5) == pytest.approx(0.5)
    assert [place(choice, "fixed"), place(choice, "uncertainty")] == [0, 1]
    assert place(whole, 36) == 0.5
    assert ticks_of(whole) == {0.0: 8, 1.0: 64}


def test_importance_finds_the_key_that_matters_and_is_silent_about_few_trials(tmp_path: Path):
    _, trials, sweep = made(tmp_path / "j.jsonl", trials=80, search={"kind": "random"})
    found = importances(trials, sweep)
    assert next(iter(found)) == "train.lr" and "weighting.bound" not in found  # which has a condition
    assert sum(found.values()) == pytest.approx(1)
    finished = [trial for trial in trials if trial.status == FINISHED]
    assert importances(finished[: FEWEST - 1], sweep) == {} and importances(finished[:FEWEST], sweep) != {}


def test_the_page_says_why_there_is_no_importance(tmp_path: Path):
    _, trials, sweep = made(tmp_path / "j.jsonl", trials=40, search={"kind": "random"})
    finished = [trial for trial in trials if trial.status == FINISHED]
    assert f"{FEWEST - 1} finished trials, below {FEWEST}" in says(finished[: FEWEST - 1], sweep)
    assert "says little" in says(finished, sweep)
    for trial in finished:
        trial.seeds[0].objectives[NAME] = 0.5
    assert "the same validation.mean_score" in says(finished, sweep)


def test_the_pareto_set_is_what_nothing_surpasses(tmp_path: Path):
    _, trials, sweep = made(tmp_path / "j.jsonl", objective={"minimize": "parameters"}, search={"kind": "random"})
    for trial in trials:
        for seed in trial.seeds:
            seed.objectives["parameters"] = float(trial.values["train.batch_size"])
    front = {trial.number for trial in pareto(trials, sweep.objective)}
    for trial in (each for each in trials if each.status == FINISHED):
        mine = trial.objectives
        surpassed = any(
            o[NAME] >= mine[NAME] and o["parameters"] <= mine["parameters"] and o != mine
            for o in (each.objectives for each in trials if each.status == FINISHED)
        )
        assert (trial.number in front) == (not surpassed)
    assert "pareto" in figures(trials, sweep)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_trials_give_the_figures_that_they_can(count: int, tmp_path: Path):
    events, trials, sweep = made(tmp_path / "j.jsonl", trials=3, search={"kind": "random"})
    some = trials[:count]
    text = sweep_page(events[0], events, some, figures(some, sweep), "")
    assert text.count('<th scope="row">') == count
    assert ("No trial has finished yet." in text) == (count == 0)


def test_scores_of_several_seeds_have_their_interval(tmp_path: Path):
    _, trials, _ = made(tmp_path / "j.jsonl", trials=4, seeds=[0, 1, 2], search={"kind": "random"})
    trial = trials[0]
    values = [seed.objectives[NAME] for seed in trial.seeds]
    mean, std = sum(values) / 3, math.sqrt(sum((v - sum(values) / 3) ** 2 for v in values) / 2)
    margin = 4.302652729911275 * std / math.sqrt(3)  # t quantile, 2 degrees of freedom
    assert score(trial, NAME) == f"{mean:.4f} ({mean - margin:.4f} to {mean + margin:.4f})"


def test_what_was_spent_counts_hours_of_trials_and_of_gpus(tmp_path: Path):
    sweep = sweep_of(trials=4, search={"kind": "random"}, per_trial={"gpus": 0.5})
    path = tmp_path / "j.jsonl"
    trials = simulate(sweep, path)
    for trial in trials.values():
        trial.seconds = 1800.0
    assert spent(read_journal(path), trials.values(), sweep) == [
        "4 trials: 4 finished",
        "0.00 hours",
        "2.00 hours of trials",
        "1.00 GPU hours",
    ]


def test_a_plug_in_s_section_is_told_by_its_kind_first():
    assert short({"teacher": "net", "kind": "hint", "weight": 0.12345}) == "hint (teacher net, weight 0.1235)"
    assert brief({"teacher": "net", "kind": "attention_transfer"}) == "attention_transfer"
    assert (short({"kind": "fixed"}), short([1, 2]), short({"a": 1})) == ("fixed", "[1, 2]", "{'a': 1}")


def test_troubles_name_every_attempt_that_broke_off(asha: tuple[list[dict], list[Trial], Any]):
    _, trials, _ = asha
    assert troubles(trials) == ["trial 3, attempt 1: failed: planted", "trial 5, attempt 1: lost: planted"]


def test_show_reads_while_another_process_writes_and_writes_page_and_figures(tmp_path: Path):
    folder = project_in(tmp_path)
    (folder / "sweeps" / "small.yaml").write_text(SWEEP, "utf-8")
    file, sweep = folder / "sweeps" / "small.yaml", sweep_of(experiment="../tiny.yaml")
    said: list[Any] = []
    with pytest.raises(MmkdError, match="no sweep yet"):
        look(sweep, file, None, said.append)
    path = run_folder(folder) / "journal.jsonl"
    made(path, trials=5, search={"kind": "random"})
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])  # a line that is being written
    assert look(sweep, file, None, said.append) == run_folder(folder) / "report.html"
    assert path.read_bytes() == whole[:-30]
    winner = winner_of(trials_of(read_journal(path)).values(), sweep.objective)
    assert winner is not None and f"best so far: trial {winner.number}; " in str(said)
    lines = [line for text in said if isinstance(text, str) for line in text.splitlines()]
    assert command(read_journal(path)[0], winner) in lines
    assert not any("winner.yaml" in line for line in lines)  # which is written when the sweep ends
    (run_folder(folder) / "winner.yaml").write_text("", "utf-8")
    look(sweep, file, None, said.append)
    assert any(
        line.startswith("mmkd run ") and "winner.yaml" in line for line in "\n".join(map(str, said)).splitlines()
    )
    assert {each.name for each in (run_folder(folder) / "figures").iterdir()} >= {"scores.pdf", "keys.png"}
    path.write_bytes(whole.replace(b'"trial": 1', b'"trial": 2', 1))
    with pytest.raises(JournalError):
        look(sweep, file, "run1", said.append)
    done = mmkd(folder, "sweep", "show", "sweeps/small.yaml")
    assert done.returncode == 2 and "journal.jsonl:" in done.stderr and "Traceback" not in done.stderr
    path.write_bytes(b"")
    done = mmkd(folder, "sweep", "show", "sweeps/small.yaml", "--run", "run1")
    assert done.returncode == 2 and "nothing in it yet" in done.stderr
