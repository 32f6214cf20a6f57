"""Ray Tune over `run.py`: trials share data, teachers and cache; the winner is an ordinary experiment file.

The only file that imports Ray. A trial is the experiment with overrides, nothing else, so it can be had again as a
printed `mmkd run` command.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from rich.progress import Progress
from rich.table import Table
from ruamel.yaml import YAML

from mmkd.config.experiment import Experiment
from mmkd.config.load import load
from mmkd.config.sweep_file import Domain, Sweep
from mmkd.data.cards import read_cards
from mmkd.environment import quiet_hubs
from mmkd.places import Places
from mmkd.record import RunRecord, read_record
from mmkd.run import make_ready, run_seed
from mmkd.secrets import redacted_errors
from mmkd.write_up import RECORD

OVERRIDES, JOURNAL, WINNER = "overrides.json", "trials.jsonl", "winner.yaml"


@dataclass(frozen=True)
class Trial:
    """One trial. objective: of the epoch that it keeps; None when it never finished an epoch. record: when it ended
    by itself, not stopped early and not failed."""

    name: str
    overrides: tuple[str, ...]
    objective: float | None
    epochs: int
    record: RunRecord | None
    error: str | None

    @property
    def status(self) -> str:
        """`finished`, `stopped early` or `failed`."""
        if self.record is not None:
            return "finished"
        return "failed" if self.error is not None else "stopped early"


def run_sweep(sweep: Sweep, file: Path, progress: Progress, say: Callable[[Any], None]) -> list[Trial]:
    """Run a sweep, write its journal and its winner, and show both; return the trials.

    file: the sweep file. Raises ConfigError before the first trial when a key or a value of the space is not one
    that the experiment takes.
    """
    target = file.parent / sweep.experiment
    fixed = (f"seeds=[{sweep.seed}]", f"train.threads={sweep.per_trial.cpus}")
    experiment = _check_space(sweep, target, fixed)
    folder = _new_folder(Places.near(file).sweeps / f"{experiment.name}-{file.stem}")
    # Teachers, caches and encoded data are made once, here, so that trials only read them.
    make_ready(experiment, target, progress)
    _start_ray()
    try:
        results = _tuner(sweep, experiment, target.resolve(), fixed, folder, progress, say).fit()
    finally:
        ray.shutdown()
    trials = [_read_trial(result, folder) for result in results]
    with (folder / JOURNAL).open("w", encoding="utf-8") as journal:
        for trial in trials:
            line = {"trial": trial.name, "overrides": trial.overrides, "status": trial.status}
            journal.write(json.dumps({**line, "objective": trial.objective, "error": trial.error}) + "\n")
    _show(trials, sweep, target, folder, say)
    return trials


def _new_folder(parent: Path) -> Path:
    """`run1`, `run2`, ...: an earlier sweep of the same file is kept."""
    number = 1
    while (folder := parent / f"run{number}").exists():
        number += 1
    folder.mkdir(parents=True)
    return folder


def _check_space(sweep: Sweep, target: Path, fixed: tuple[str, ...]) -> Experiment:
    """Load the experiment with every choice, and with both bounds, of every key; return it as the file has it."""
    for key, domain in sweep.space.items():
        for value in domain.examples():
            load(target, [*fixed, override(key, value)], read_cards)
    return load(target, fixed, read_cards)


def override(key: str, value: object) -> str:
    """A key and a value as the command line takes them, with all digits."""
    return f"{key}={json.dumps(value)}"


def _start_ray() -> None:
    quiet_hubs()
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own banner and tables; ours are enough
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Workers import plug-ins from where this process does.
    if not {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        # A new cluster of this Ray asks for a token: whoever reaches its ports runs code here. This one dies with it.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    paths = os.pathsep.join(path for path in sys.path if path)
    ray.init(
        include_dashboard=False,  # which runs jobs for whoever reaches it
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths, "RAY_IGNORE_UNHANDLED_ERRORS": "1"}},
    )


def _tuner(
    sweep: Sweep,
    experiment: Experiment,
    target: Path,
    fixed: tuple[str, ...],
    folder: Path,
    progress: Progress,
    say: Callable[[Any], None],
) -> tune.Tuner:
    def trial(config: Mapping[str, Any]) -> None:
        run_trial([*fixed, *(override(key, value) for key, value in config.items())], target, folder, sweep)

    resources = tune.with_resources(trial, {"cpu": sweep.per_trial.cpus, "gpu": sweep.per_trial.gpus})
    return tune.Tuner(
        resources,
        param_space={key: _domain(domain) for key, domain in sweep.space.items()},
        tune_config=tune.TuneConfig(
            metric="objective",
            mode="max",
            num_samples=sweep.trials,
            search_alg=_search(sweep),
            scheduler=_scheduler(sweep, experiment.train.epochs),
            reuse_actors=True,
            trial_dirname_creator=lambda t: t.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.resolve()),
            verbose=0,
            callbacks=[_Follow(progress, sweep.trials, say)],
        ),
    )


def run_trial(overrides: list[str], target: Path, folder: Path, sweep: Sweep) -> None:
    """One trial, in a worker of Ray: run the seed without the test split, and report the best epoch so far."""
    place = folder / "trials" / tune.get_context().get_trial_id()
    experiment = load(target, overrides, read_cards)
    quiet = Progress(disable=True)
    best: dict[str, Any] = {}

    def report(entry: dict[str, Any]) -> bool:
        if not best or entry["mean_score"] > best["mean_score"]:
            best.update(entry)
        # The last epoch is reported when the record is written: the scheduler may stop a trial at any report.
        if entry["epoch"] + 1 < experiment.train.epochs:
            tell(entry["epoch"])
        return False

    def tell(epoch: int) -> None:
        tune.report({"objective": objective_of(best, sweep.objective.maximize), "epoch": epoch})

    with redacted_errors():  # Ray writes them to files
        ready = make_ready(experiment, target, quiet)
        command = shlex.join(["mmkd", "run", str(target), *overrides])
        record = run_seed(ready, sweep.seed, place, command, report, test=False)
    tell(record.history[-1]["epoch"])


def objective_of(entry: Mapping[str, Any], name: str) -> float:
    """A number of a history entry: `validation.mean_score`, or `validation.<task>.<metric>`.

    Raises KeyError for a task or a metric that the experiment does not have.
    """
    path = name.split(".")[1:]
    if path == ["mean_score"]:
        return float(entry["mean_score"])
    task, metric = path
    return float(entry["validation"][task][metric])


def _domain(domain: Domain) -> Any:
    if domain.choice is not None:
        return tune.choice(list(domain.choice))
    if domain.integer is not None:
        return tune.randint(domain.integer[0], domain.integer[1] + 1)
    if domain.uniform is not None:
        return tune.uniform(*domain.uniform)
    assert domain.log_uniform is not None  # checked by the sweep file
    return tune.loguniform(*domain.log_uniform)


def _search(sweep: Sweep) -> Searcher:
    if sweep.search.kind == "optuna":
        return OptunaSearch(metric="objective", mode="max", seed=sweep.search.seed)
    return tune.search.BasicVariantGenerator(random_state=sweep.search.seed)


def _scheduler(sweep: Sweep, epochs: int) -> TrialScheduler:
    if sweep.stop_early is None:
        return FIFOScheduler()
    rule = sweep.stop_early
    return ASHAScheduler(
        time_attr="training_iteration",
        max_t=epochs,
        grace_period=rule.grace_epochs,
        reduction_factor=rule.reduction,
    )


class _Follow(tune.Callback):
    """A progress bar over the trials."""

    def __init__(self, progress: Progress, trials: int, say: Callable[[Any], None]) -> None:
        self._progress, self._say = progress, say
        self._bar = progress.add_task("trials", total=trials)

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its callbacks to disk; the bar belongs to this process and stays here.
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._progress.advance(self._bar)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._progress.advance(self._bar)
        self._say(f"trial {trial.trial_id} failed; see {trial.error_file}")


def _read_trial(result: tune.Result, folder: Path) -> Trial:
    name = Path(result.path).name
    path = folder / "trials" / name / RECORD
    metrics = result.metrics or {}
    overrides = tuple(override(key, value) for key, value in (result.config or {}).items())
    return Trial(
        name=name,
        overrides=overrides,
        objective=metrics.get("objective"),
        epochs=int(metrics.get("epoch", -1)) + 1,
        record=read_record(path) if path.exists() else None,
        error=None if result.error is None else str(result.error),
    )


def winner_of(trials: list[Trial]) -> Trial | None:
    """The finished trial with the largest objective; the first of equals. A stopped trial cannot win."""
    finished = [trial for trial in trials if trial.record is not None and trial.objective is not None]
    return max(finished, key=lambda trial: trial.objective or 0.0, default=None)


def _show(trials: list[Trial], sweep: Sweep, target: Path, folder: Path, say: Callable[[Any], None]) -> None:
    table = Table(title=f"{len(trials)} trials, {sweep.objective.maximize}")
    for column in ("trial", "score", "epochs", "status", *sweep.space):
        table.add_column(column.replace(".", ".\n"), no_wrap=column == "status")  # long keys on lines of their own
    for trial in sorted(trials, key=lambda t: (t.objective is None, -(t.objective or 0.0))):
        values = dict(each.split("=", 1) for each in trial.overrides)
        score = "–" if trial.objective is None else f"{trial.objective:.4f}"
        shown = (_short(json.loads(values[key])) for key in sweep.space)
        table.add_row(trial.name, score, str(trial.epochs), trial.status, *shown)
    say(table)
    winner = winner_of(trials)
    if winner is None or winner.record is None:
        say("no trial finished, so there is no winner")
        return
    fixed = [f"seeds=[{sweep.seed}]", f"train.threads={sweep.per_trial.cpus}"]
    command = shlex.join(["mmkd", "run", os.path.relpath(target), *fixed, *winner.overrides])
    path = folder / WINNER
    with path.open("w", encoding="utf-8") as file:
        file.write(f"# Winner of {len(trials)} trials: {sweep.objective.maximize} = {winner.objective!r}, seed ")
        file.write(f"{sweep.seed}.\n# Selected on validation only. The same run:\n#   {command}\n")
        YAML().dump(winner.record.experiment, file)
    say(f"winner: trial {winner.name}, {sweep.objective.maximize} = {winner.objective!r}")
    say(f"written to {os.path.relpath(path)}; the same run:\n{command}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
