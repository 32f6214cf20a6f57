"""Shows a run in Weights & Biases or MLflow: numbers per epoch, the scores at its end, how it ended.

A run that goes on after an interruption goes on there too. What the service does, or fails to do, changes no number and
stops no run.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mmkd.config.track import MLflow, Wandb
from mmkd.errors import MmkdError
from mmkd.interrupt import Interrupted
from mmkd.record import RunRecord
from mmkd.secrets import redacted

FINISHED, FAILED, INTERRUPTED = "finished", "failed", "interrupted"
DATABASE = "mlflow.db"


class Service(Protocol):
    """A run in a service. last: the last epoch that it has already, -1 for none."""

    last: int

    def log(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Numbers of an epoch."""
        ...

    def end(self, status: str, numbers: Mapping[str, float], facts: Mapping[str, str]) -> None:
        """The run ends. numbers, facts: about it as a whole."""
        ...


class Tracking:
    """A run in a service, or in none: the first failure is said, and ends it."""

    def __init__(self, open_service: Callable[[], Service] | None, say: Callable[[str], None]) -> None:
        """open_service: makes the run there, or finds it."""
        self._say, self._service = say, None
        if open_service is not None:
            self._service = self._tried(open_service)

    def log(self, entry: Mapping[str, Any]) -> None:
        """An epoch of the history. One that is there already is not written twice."""
        service = self._service
        if service is not None and entry["epoch"] > service.last:
            self._tried(lambda: service.log(entry["epoch"], numbers_of(entry)))

    def end(self, status: str, record: RunRecord | None = None) -> None:
        """The run ends. record: of one that has finished."""
        service = self._service
        if service is not None:
            numbers, facts = ({}, {}) if record is None else about(record)
            self._tried(lambda: service.end(status, numbers, facts))

    def _tried(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self._service = None
            self._say(f"track: {redacted(str(error)) or type(error).__name__}; the run goes on without")
            return None


@contextmanager
def tracking(
    track: Wandb | MLflow | None, name: str, folder: Path, root: Path, plain: dict[str, Any], say: Callable[[str], None]
) -> Iterator[Tracking]:
    """Follow a run for as long as the context lasts; who finishes it says so before it ends.

    name: of the experiment. folder: of the seed's run. root: of the project. plain: the resolved experiment.
    """
    found = Tracking(None if track is None else lambda: _opened(track, name, folder, root, plain), say)
    try:
        yield found
    except BaseException as error:
        found.end(INTERRUPTED if isinstance(error, Interrupted | KeyboardInterrupt) else FAILED)
        raise


def _opened(track: Wandb | MLflow, name: str, folder: Path, root: Path, plain: dict[str, Any]) -> Service:
    own = (name, folder, root, plain)
    return _Wandb(track, *own) if isinstance(track, Wandb) else _MLflow(track, *own)


def numbers_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """What is shown of an epoch: tag -> number, as in TensorBoard."""
    found = {"validation/mean_score": entry["mean_score"]}
    for task, metrics in entry["validation"].items():
        found |= {f"validation/{task}.{metric}": value for metric, value in metrics.items()}
    for sort, numbers in {"terms": entry["terms"], "weights": entry["weights"], **entry["diagnostics"]}.items():
        found |= {f"{sort}/{name}": value for name, value in numbers.items()}
    return found


def about(record: RunRecord) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers and facts of a finished run."""
    numbers = {
        f"{split}/{task}.{metric}": score.value
        for split, tasks in record.scores.items()
        for task, metrics in tasks.items()
        for metric, score in metrics.items()
    }
    numbers |= {"parameters": float(record.parameters), "best_epoch": float(record.selection.epoch)}
    facts = {
        "digest": record.digest,
        "command": record.command,
        "commit": record.code.commit or "",
        "seed": str(record.seed),
    }
    return numbers, facts


def run_id(folder: Path, plain: Mapping[str, Any]) -> str:
    """The same for a run that goes on: of its folder and its experiment."""
    return hashlib.sha256(f"{folder.resolve()} {plain}".encode()).hexdigest()[:16]


def labels(name: str, folder: Path) -> tuple[str, str]:
    """What a run and its group are called: `mine-seed0` and the folder that the seeds are in."""
    return f"{name}-{folder.name}", folder.parent.name


class _Wandb:
    def __init__(self, track: Wandb, name: str, folder: Path, root: Path, plain: dict[str, Any]) -> None:
        import wandb

        if not track.offline and not os.environ.get("WANDB_API_KEY") and wandb.api.api_key is None:
            raise MmkdError("wandb: no key in WANDB_API_KEY; set it, or `track.offline: true`")
        # Nothing of the process but what is told: no output, no code, no look at git, no measuring beside the run.
        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
        )
        own, group = labels(name, folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=track.project,
            entity=track.entity,
            mode="offline" if track.offline else "online",
            id=run_id(folder, plain),
            resume="allow",
            name=own,
            group=group,
            config=plain,
            dir=str(folder),
            settings=settings,
            reinit="create_new",
        )
        self.last = self._run.step - 1

    def log(self, epoch: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=epoch)

    def end(self, status: str, numbers: Mapping[str, float], facts: Mapping[str, str]) -> None:
        self._run.summary.update({**numbers, **facts, "status": status})
        self._run.finish(exit_code=0 if status == FINISHED else 1)


class _MLflow:
    def __init__(self, track: MLflow, name: str, folder: Path, root: Path, plain: dict[str, Any]) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        (root / "results").mkdir(exist_ok=True)
        self._client = MlflowClient(tracking_uri=track.uri or f"sqlite:///{root / 'results' / DATABASE}")
        own, group = labels(name, folder)
        try:
            place = self._client.create_experiment(track.experiment)
        except MlflowException:  # it is there
            place = self._client.get_experiment_by_name(track.experiment).experiment_id
        mark = run_id(folder, plain)
        found = self._client.search_runs([place], f"tags.mmkd_run = '{mark}'")
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            steps = self._client.get_metric_history(self._run, "validation/mean_score")
            self.last = max((each.step for each in steps), default=-1)
        else:
            self._run = self._client.create_run(
                place, run_name=own, tags={"mmkd_run": mark, "group": group}
            ).info.run_id
            self.last = -1
            for key, value in flat(plain).items():
                self._client.log_param(self._run, key, value)

    def log(self, epoch: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._run, [Metric(tag, value, now, epoch) for tag, value in numbers.items()])

    def end(self, status: str, numbers: Mapping[str, float], facts: Mapping[str, str]) -> None:
        for tag, value in numbers.items():
            self._client.log_metric(self._run, tag, value)
        for tag, text in {**facts, "status": status}.items():
            self._client.set_tag(self._run, tag, text)
        states = {FINISHED: "FINISHED", FAILED: "FAILED", INTERRUPTED: "KILLED"}
        self._client.set_terminated(self._run, states[status])


def flat(plain: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """The experiment as `a.b.c` -> text, as overrides name its keys; nothing that is null."""
    found: dict[str, str] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{path}{key}.")
        elif value is not None:
            found[f"{path}{key}"] = str(value)[:500]
    return found
