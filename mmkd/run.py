"""One experiment, all its seeds, one after the other or at the same time. What a seed does stands in `seed`."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain
from mmkd.data.account import accounted
from mmkd.errors import MmkdError
from mmkd.interrupt import saves_when_asked, stops_when_asked
from mmkd.lease import in_turn, only_writer
from mmkd.places import Places
from mmkd.processes import told_by_main
from mmkd.ready import make_ready
from mmkd.record import RunRecord, experiment_hash, read_record
from mmkd.seed import PROFILE, finished_seed, run_seed
from mmkd.teacher_record import record_teacher, unheard_rows
from mmkd.watch.profile import read_profile
from mmkd.write_up import RECORD, finished


def run_experiment(
    experiment: Experiment,
    near: Path,
    progress: Progress,
    command: str,
    fresh: bool = False,
    jobs: int = 1,
    say: Callable[[str], None] = print,
    profile: bool = False,
) -> list[RunRecord]:
    """Run every seed of an experiment, then the teachers' own evaluation; return the students' and teachers' records.

    near: the experiment file. command: how the run was started, for the records. fresh: run again what has a
    record from the same experiment, data and code. jobs: seeds that run at the same time, each in its own process.
    profile: run the first seed, finished or not, and say where the time of a batch of it goes.

    In one of several processes that a launcher started, each seed trains in all of them; the main one writes. Raises
    MmkdError when `jobs` is above 1 there, Busy while another process runs one of the seeds.
    """
    if jobs > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MmkdError(f"--jobs: found {jobs} under a launcher; expected 1: its processes train each seed together")
    folder = run_folder(experiment, near)
    with ExitStack() as leases:
        for seed in experiment.seeds if os.environ.get("RANK", "0") == "0" else ():
            # Beside the runs: of one whose data are refused, nothing is left.
            leases.enter_context(only_writer(folder.with_name(".locks"), f"{folder.name}-seed{seed}"))
        return _run_experiment(experiment, near, progress, command, fresh, jobs, say, profile)


def _run_experiment(
    experiment: Experiment,
    near: Path,
    progress: Progress,
    command: str,
    fresh: bool,
    jobs: int,
    say: Callable[[str], None],
    profile: bool,
) -> list[RunRecord]:
    ready = make_ready(experiment, near, progress)
    accelerator = ready.workspace.accelerator
    if not accelerator.is_main_process:
        say = _silent
    for line in accounted(ready.workspace.mix.accounts()):
        say(line)
    folder = run_folder(experiment, near)
    say(f"results go to {os.path.relpath(folder)}")
    open_seeds: list[int] = []
    watched = experiment.seeds[0] if profile else None
    for seed in experiment.seeds if accelerator.is_main_process else ():
        found = None if fresh or seed == watched else finished_seed(folder / f"seed{seed}", ready, seed)
        if found is None:
            open_seeds.append(seed)
        else:
            say(
                f"seed {seed}: finished on {found.created} by the same experiment, data and code; --fresh runs it again"
            )
    open_seeds = told_by_main(open_seeds, accelerator)
    if jobs == 1 or len(open_seeds) < 2:
        for seed in open_seeds:
            run_seed(ready, seed, folder / f"seed{seed}", command, profile=seed == watched, fresh=fresh)
    else:
        bar = ready.workspace.follow("seeds")
        _run_in_processes(experiment, near, folder, open_seeds, jobs, command, bar, watched, fresh)
    if watched is not None:
        place = folder / f"seed{watched}" / PROFILE
        say(f"{read_profile(place).text()}  written to {os.path.relpath(place)}")
    records = [read_record(folder / f"seed{seed}" / RECORD) for seed in experiment.seeds]
    for name in experiment.teachers if accelerator.is_main_process else ():
        place = folder / f"teacher-{name}"
        if unheard := unheard_rows(ready.workspace, name, ready.prepared[name]):
            count, first = len(unheard), unheard[0]
            say(f"teacher {name}: no record of its own: it knows nothing about {count} rows, the first {first}")
        else:
            with in_turn(folder, f".{place.name}.lock", say):  # runs of other seeds write it too
                found = finished(place, ready.workspace, ready.prepared)
                records.append(found or record_teacher(ready.workspace, ready.prepared, name, place, command))
    learned, kept = records[0].trained_parameters, records[0].parameters
    if learned not in (None, kept):  # an older version's record does not say
        say(f"the student trained {learned:,} of {kept:,} parameters")
    return told_by_main(records, accelerator)


def _silent(text: str) -> None:
    pass


def _run_in_processes(
    experiment: Experiment,
    near: Path,
    folder: Path,
    seeds: Sequence[int],
    jobs: int,
    command: str,
    progress: Callable[[int, int], None],
    watched: int | None,
    fresh: bool,
) -> None:
    # Forking a process that has run torch can hang; a new one imports everything again.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [
            pool.submit(
                _run_one, experiment.dump(), near, seed, folder / f"seed{seed}", command, seed == watched, fresh
            )
            for seed in seeds
        ]
        with stops_when_asked(partial(_ask_all, pool)), saves_when_asked():
            try:
                for done, future in enumerate(as_completed(waiting), start=1):
                    future.result()
                    progress(done, len(seeds))
            except KeyboardInterrupt:
                for process in multiprocessing.active_children():
                    process.kill()
                raise
            finally:
                pool.shutdown(cancel_futures=True)


def _ask_all(pool: ProcessPoolExecutor) -> None:
    """Ask the seeds' processes to stop. What reached them by the terminal as well is not a second demand."""
    for process in multiprocessing.active_children():
        if process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)


def _run_one(
    plain: dict[str, Any],
    near: Path,
    seed: int,
    folder: Path,
    command: str,
    profile: bool = False,
    fresh: bool = False,
) -> None:
    with stops_when_asked():
        ready = make_ready(from_plain(plain), near, Progress(disable=True))
        run_seed(ready, seed, folder, command, profile=profile, fresh=fresh)


def run_folder(experiment: Experiment, near: Path) -> Path:
    """Scratch folder of an experiment; other values of its keys have another folder. near: the experiment file."""
    return Places.near(near).run(experiment.name, experiment_hash(experiment))
