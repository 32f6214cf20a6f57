"""One attempt at one trial, in a process that may have run others before: its seeds, without the test split."""

from __future__ import annotations

import os
import shlex
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from mmkd import interrupt
from mmkd.arrays import code_hash
from mmkd.config.load import load
from mmkd.config.plugins import PACKAGE
from mmkd.continuing import CHECKPOINTS
from mmkd.data.cards import read_cards
from mmkd.disk import DiskError
from mmkd.errors import MmkdError
from mmkd.interrupt import Interrupted
from mmkd.lease import in_turn
from mmkd.places import CACHE
from mmkd.processes import told_by_main
from mmkd.ready import Ready
from mmkd.record import RunRecord
from mmkd.secrets import redacted
from mmkd.seed import finished_seed, run_seed
from mmkd.sweep.kept import Kept
from mmkd.sweep.measures import best_so_far, objective_of, objectives_of, seconds_of
from mmkd.sweep.nearby import bring_near, copy_whole
from mmkd.sweep.order import PULSE, SAID, STOP, Order, Outcome, place_of, write_outcome
from mmkd.sweep.rules import hopeless, stopped_at
from mmkd.sweep.trials import ASKED, FAILED, FINISHED, GIVEN_UP, OUT_OF_MEMORY, STOPPED, UNFIT, WENT_ON, SeedResult

CODE = code_hash(PACKAGE)
"""Hash of the code that this process has imported."""
KEPT = Kept()
"""What this process has made ready."""
BEAT = 1.0
"""Seconds between two beats of a trial's pulse, at the fastest."""


class OtherCode(MmkdError):
    """This process runs other code than the sweep began with."""


Tell = Callable[[int, float], None]
"""Told, after each epoch, how many there were, and the best score so far."""


class Pulse(Progress):
    """Progress bars that nobody sees: each step forward shows that the trial lives, and asks whether it is to stop."""

    def __init__(self, place: Path, stop: Path, console: Console) -> None:
        """place: the trial's folder. stop: a file that is there when the sweep is to stop."""
        super().__init__(console=console, disable=True)
        self._pulse, self._stop, self._last = place / PULSE, stop, 0.0
        self.beat()

    def update(self, *arguments: Any, **named: Any) -> None:
        """A bar moves."""
        super().update(*arguments, **named)
        if time.monotonic() - self._last >= BEAT:
            self.beat()

    def beat(self) -> None:
        """Show life now."""
        self._last = time.monotonic()
        self._pulse.touch()
        if self._stop.exists():
            interrupt.ask("the end of the sweep")


def attempt(order: Order, tell: Tell) -> Outcome:
    """Make the attempt; its outcome lies in the trial's folder when this returns. Whatever goes wrong is an outcome.

    Of several processes that make it together, each comes here, and the first one writes.
    """
    place = order.place
    if order.processes > 1 and (rank := int(os.environ["RANK"])) > 0:
        place = place / f"process{rank}"
    place.mkdir(parents=True, exist_ok=True)
    interrupt.ask(None)  # what this process was asked before was about another trial
    with (place / SAID).open("a", encoding="utf-8") as said, redirect_stdout(said), redirect_stderr(said):
        console = Console(file=said, width=120)
        outcome = _outcome(order, tell, Pulse(place, Path(order.folder) / STOP, console), console)
    if place == order.place:
        write_outcome(place, outcome)
    elif outcome.reason not in (None, ASKED):
        raise MmkdError(f"{place.name}: {outcome.says}")  # or the others would wait for it
    return outcome


def _outcome(order: Order, tell: Tell, pulse: Pulse, console: Console) -> Outcome:
    console.print(f"attempt {order.attempt}", highlight=False)
    try:
        # An attempt before this one may not know yet that it was given up.
        first = order.processes == 1 or os.environ["RANK"] == "0"
        with in_turn(order.place, "lock", console.print) if first else nullcontext():
            return _run(order, tell, pulse)
    except Interrupted as stopped:
        return _broken(order, ASKED, str(stopped))
    except (OtherCode, DiskError) as error:
        return _broken(order, UNFIT, redacted(str(error)))
    except Exception as error:
        text = redacted(traceback.format_exc())
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        says = str(error) if isinstance(error, MmkdError) else text.strip().splitlines()[-1]
        memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in str(error).lower()
        return _broken(order, OUT_OF_MEMORY if memory else FAILED, redacted(says))


def _broken(order: Order, reason: Any, says: str) -> Outcome:
    return Outcome(attempt=order.attempt, reason=reason, status=None, seeds=[], curve=[], says=says)


def _run(order: Order, tell: Tell, pulse: Pulse) -> Outcome:
    if order.gpus and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(min(1.0, order.gpus))
    if order.code != CODE:
        raise OtherCode(
            f"mmkd's code on this node ({CODE[:12]}) is not that which the sweep began with ({order.code[:12]}); bring "
            "that back and run the sweep again, or begin anew with --fresh"
        )
    if order.node_cache is not None:
        bring_near(Path(order.cache), Path(order.node_cache), order.entries)
        os.environ[CACHE] = order.node_cache
    target = Path(order.target)
    ready = KEPT.ready(load(target, order.overrides, read_cards), target, pulse)
    name, curve, seeds = order.objectives[0], list[float](), list[SeedResult]()
    status = FINISHED if order.until is None else WENT_ON
    for seed in order.seeds:
        record = _seed(order, ready, seed, tell, first=not seeds)
        if order.until is None:
            measured = objectives_of(order.objectives, record, order.place / f"seed{seed}", ready)
        else:  # others begin with its last state, not with its best one
            measured = {each: objective_of(record.history[-1], each) for each in order.objectives}
        seeds.append(SeedResult(seed, measured, record.digest, len(record.history), seconds_of(record)))
        if len(seeds) == 1:
            curve = best_so_far(record.history, name)
            if stopped_at(curve, order.rungs) is not None:
                status = STOPPED
                break
        done = [each.objectives[name] for each in seeds]
        if len(seeds) < len(order.seeds) and hopeless(done, order.bar_of(), order.give_up):
            status = GIVEN_UP
            break
    plain = [vars(each) for each in seeds]
    return Outcome(attempt=order.attempt, reason=None, status=status, seeds=plain, curve=curve, says="")


def _seed(order: Order, ready: Ready, seed: int, tell: Tell, first: bool) -> RunRecord:
    """One seed's record: found, or run, or gone on with from its last checkpoint."""
    folder = order.place / f"seed{seed}"
    accelerator = ready.workspace.accelerator
    found = finished_seed(folder, ready, seed) if accelerator.is_main_process else None
    if (found := told_by_main(found, accelerator)) is not None:
        return found
    if order.parent is not None and accelerator.is_main_process:
        _take_over(place_of(Path(order.folder), order.parent) / folder.name / CHECKPOINTS, folder / CHECKPOINTS)
    history: list[dict[str, Any]] = []

    def report(entry: dict[str, Any]) -> bool:
        history[entry["epoch"] :] = [entry]  # those of before an interruption or a change of values come again
        curve = best_so_far(history, order.objectives[0])
        tell(len(curve), curve[-1])
        return first and stopped_at(curve, order.rungs) is not None

    command = shlex.join(["mmkd", "run", order.target, *order.overrides])
    return run_seed(ready, seed, folder, command, report, test=False, until=order.until)


def _take_over(parents: Path, own: Path) -> None:
    """Copy the parent's last state, unless there is one of its own. Without either, all epochs are run again."""
    if not any(path.name.isdigit() for path in own.glob("*")):
        for last in sorted(path for path in parents.glob("*") if path.name.isdigit())[-1:]:
            copy_whole(last, own / last.name)
