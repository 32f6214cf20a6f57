"""Ray Tune carries out what the course decides: it finds each attempt a place, and says when one ended or was lost.

The only file that imports Ray. Tune's own state is scratch: it is never restored, since the journal says all.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher
from rich.progress import Progress, TaskID

from mmkd.config.sweep_file import PerTrial
from mmkd.disk import DiskError
from mmkd.environment import quiet_hubs
from mmkd.errors import MmkdError
from mmkd.interrupt import SIGNALS, saves_when_asked, stops_when_asked
from mmkd.secrets import redacted_errors
from mmkd.sweep.attempt import attempt
from mmkd.sweep.course import Course, Next
from mmkd.sweep.order import PULSE, STOP, Order, Outcome, place_of, read_outcome
from mmkd.sweep.together import attempt_together, resources
from mmkd.sweep.trials import ASKED, HANGING, LOST, OUT_OF_MEMORY, UNFIT

SCRATCH = "tune"
"""Folder of Tune's own state, below the sweep's."""
LET_GO = 8.0
"""Seconds that attempts have to save when the sweep is to stop; then their processes are killed."""
STORE = 100 * 2**20
"""Bytes of Ray's object store, which hardly anything goes through: caches and data are files."""


class NoRoom(MmkdError):
    """A trial needs more than the machine has; the message says how much."""


ADDRESS = "RAY_ADDRESS"
WAITING = 2**20
"""Bytes that a process is said to need which only waits for others."""

Ended = Callable[[int], None]
"""Told the number of a trial that has ended, or whose attempt broke off."""


def carry_out(course: Course, folder: Path, progress: Progress, ended: Ended, address: str | None) -> None:
    """Make every attempt that the course asks for. folder: of the sweep. address: of a running Ray cluster, or None.

    Raises NoRoom when no trial can ever run on this machine; Interrupted when it was asked to stop; and what Ray raises
    when there is no cluster at that address.
    """
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)

    def stop() -> None:
        course.stopping = True

    # Ray sets its own answers to signals when it starts; ours come after.
    with cluster(address), stops_when_asked(stop), saves_when_asked():
        _require_room(course.sweep.per_trial, address or os.environ.get(ADDRESS))
        try:
            _tuner(course, folder, progress, ended).fit()
        finally:
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A Ray cluster: the one at the address or in RAY_ADDRESS, or one on this machine that ends with this process."""
    address = address or os.environ.get(ADDRESS)
    quiet_hubs()
    # Tune's own tables, files for each trial, and answers to Ctrl-C are not wanted beside ours.
    for name in ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_SIGINT_HANDLER"):
        os.environ[name] = "1"
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it looks for those files at the end
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"
    if address is None and not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        # A new cluster of this Ray asks for a token: whoever reaches its ports runs code here. This one dies with it.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    paths = os.pathsep.join(path for path in sys.path if path)  # workers import plug-ins from where this process does
    common = {
        "log_to_driver": False,
        "configure_logging": False,
        "runtime_env": {"env_vars": {"PYTHONPATH": paths, "RAY_IGNORE_UNHANDLED_ERRORS": "1"}},
    }
    if address is not None:
        ray.init(address=address, **common)
        try:
            yield
        finally:
            ray.shutdown()
        return
    with tempfile.TemporaryDirectory(prefix="mmkd-ray-", ignore_cleanup_errors=True) as scratch:
        # The dashboard runs jobs for whoever reaches it.
        ray.init(address="local", include_dashboard=False, object_store_memory=STORE, _temp_dir=scratch, **common)
        try:
            yield
        finally:
            ray.shutdown()


def _require_room(own: PerTrial, address: str | None) -> None:
    """A cluster may grow; this machine does not."""
    found = ray.cluster_resources()
    for name, wanted in (("CPU", own.cpus * own.together), ("GPU", own.gpus)):
        if address is None and wanted > found.get(name, 0):
            raise NoRoom(
                f"per_trial: a trial needs {wanted:g} {name}, this machine has {found.get(name, 0):g}; lower it, or "
                "give the --address of a cluster"
            )


def _tuner(course: Course, folder: Path, progress: Progress, ended: Ended) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(_work, _room(course.sweep.per_trial)),
        param_space={},
        tune_config=tune.TuneConfig(
            num_samples=-1,
            max_concurrent_trials=_at_once(course.sweep.per_trial),
            search_alg=_Orders(course),
            reuse_actors=True,
            trial_dirname_creator=lambda t: t.trial_id,
        ),
        run_config=tune.RunConfig(
            name=SCRATCH,
            storage_path=str(folder.resolve()),
            verbose=0,
            callbacks=[_Follow(course, folder, progress, ended)],
        ),
    )


def _room(own: PerTrial) -> tune.PlacementGroupFactory:
    """What a trial occupies. Of one that several processes train, this one only waits; Ray Train finds theirs room."""
    return tune.PlacementGroupFactory(
        [{"CPU": own.cpus, "GPU": own.gpus} if own.together == 1 else {"memory": WAITING}]
    )


def _at_once(own: PerTrial) -> int | None:
    """How many trials the cluster has room for now; None where Tune sees to it."""
    if own.together == 1:
        return None
    found, wanted = ray.cluster_resources(), resources(own.cpus, own.gpus)
    return max(1, int(min(found.get(name, 0) / (own.together * each) for name, each in wanted.items())))


def _work(config: dict[str, Any]) -> None:
    """An attempt, in a worker. It reports what is shown while it runs; its outcome lies in the trial's folder."""

    def tell(epochs: int, best: float) -> None:
        tune.report({"epochs": epochs, "best": best})

    order = Order.model_validate_json(config["order"])
    with redacted_errors():  # Ray writes them to files
        if order.processes > 1:
            attempt_together(order)
        else:
            attempt(order, tell)
    tune.report({"over": True})


class _Orders(Searcher):
    """Gives Tune the course's orders as if they were its own suggestions. Nothing is kept here."""

    def __init__(self, course: Course) -> None:
        super().__init__(metric="best", mode="max")
        self._course = course

    def suggest(self, trial_id: str) -> Any:
        found = self._course.next()
        if found is Next.WAIT:
            return None
        return Searcher.FINISHED if found is Next.END else {"order": found.model_dump_json()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """What ended is seen by `_Follow`."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Follow(tune.Callback):
    """Tells the course how attempts ended, ends those that hang, and shows those that run."""

    def __init__(self, course: Course, folder: Path, progress: Progress, ended: Ended) -> None:
        self._course, self._folder, self._progress, self._ended = course, folder, progress, ended
        self._begun: dict[str, float] = {}
        self._bars: dict[str, TaskID] = {}
        self._hanging: set[str] = set()
        self._asked_at: float | None = None
        self._answers = {number: signal.getsignal(number) for number in SIGNALS}

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its callbacks to disk; this one belongs to this process and stays here.
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look for what hangs, and for what did not stop when it was asked to."""
        for number, answer in self._answers.items():  # Tune sets one of its own when it begins
            if signal.getsignal(number) is not answer:
                signal.signal(number, answer)
        now = time.time()
        if self._course.stopping and self._asked_at is None:
            (self._folder / STOP).touch()
            self._asked_at = now
        too_late = self._asked_at is not None and now - self._asked_at > LET_GO
        for trial in trials:
            if trial.trial_id not in self._begun or trial.trial_id in self._hanging:
                continue
            pulse = place_of(self._folder, _order(trial).number) / PULSE
            last = max(pulse.stat().st_mtime if pulse.exists() else 0.0, self._begun[trial.trial_id])
            hangs = now - last > 60 * self._course.sweep.hang_minutes
            if (hangs or too_late) and (actor := trial.temporary_state.ray_actor) is not None:
                if hangs:
                    self._hanging.add(trial.trial_id)
                ray.kill(actor)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        order = _order(trial)
        self._begun[trial.trial_id] = time.time()
        label = f"trial {order.number}" + (f", attempt {order.attempt}" if order.attempt > 1 else "")
        self._bars[trial.trial_id] = self._progress.add_task(label, total=None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "epochs" in result:
            order = _order(trial)
            label = f"trial {order.number}, best {result['best']:.4f}"
            bar = self._bars[trial.trial_id]
            self._progress.update(bar, description=label, completed=result["epochs"], total=self._course.epochs)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, LOST, "its process ended without an outcome")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_error()
        cause = getattr(error, "cause", error)
        if isinstance(cause, DiskError):  # not even the outcome could be written
            self._end(trial, UNFIT, str(cause))
        else:
            memory = isinstance(error, ray.exceptions.OutOfMemoryError)
            self._end(trial, OUT_OF_MEMORY if memory else LOST, _first_line(error) or "its process or its node ended")

    def _end(self, trial: Any, reason: str, says: str) -> None:
        order = _order(trial)
        seconds = time.time() - self._begun.pop(trial.trial_id, time.time())
        if (bar := self._bars.pop(trial.trial_id, None)) is not None:
            self._progress.remove_task(bar)
        outcome = read_outcome(order.place, order.attempt)
        if outcome is not None and outcome.reason is None:
            self._course.ended(order.number, outcome, seconds)
        else:
            self._broke_off(trial, order, outcome, reason, says, seconds)
        self._ended(order.number)

    def _broke_off(
        self, trial: Any, order: Order, outcome: Outcome | None, reason: str, says: str, seconds: float
    ) -> None:
        if outcome is not None and outcome.reason is not None:
            reason, says = outcome.reason, outcome.says
        elif trial.trial_id in self._hanging:
            reason, says = HANGING, f"no step for {self._course.sweep.hang_minutes:g} minutes"
        elif self._asked_at is not None:
            reason, says = ASKED, "it had not saved in time when the sweep was stopped"
        self._course.broke_off(order.number, reason, says, seconds)


def _order(trial: Any) -> Order:
    return Order.model_validate_json(trial.config["order"])


def _first_line(error: Exception | None) -> str:
    return "" if error is None else (str(error).strip().splitlines() or [type(error).__name__])[0]
