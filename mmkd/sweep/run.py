"""A sweep from its file to its winner: checked, gone on with or begun, carried out, shown. The story on one page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.progress import Progress

from mmkd.config.document import override
from mmkd.config.experiment import Experiment
from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.config.sweep_file import Pbt, Sweep
from mmkd.continuing import CHECKPOINTS, code_of
from mmkd.data.cards import read_cards
from mmkd.environment import package_versions
from mmkd.errors import MmkdError
from mmkd.lease import only_writer
from mmkd.ready import make_ready
from mmkd.record import hash_of
from mmkd.student.stored import FOLDER
from mmkd.sweep.attempt import CODE
from mmkd.sweep.choose import require_hyperopt
from mmkd.sweep.course import Course, Fixed, refusal
from mmkd.sweep.folder import JOURNAL, begin_or_go_on, clear_stop, header_of, parent_of
from mmkd.sweep.journal import Journal
from mmkd.sweep.nearby import entries_of
from mmkd.sweep.order import place_of
from mmkd.sweep.population import no_longer_needed
from mmkd.sweep.ranking import ranked, winner_of
from mmkd.sweep.show import score, trial_table, troubles
from mmkd.sweep.space import change
from mmkd.sweep.trials import Trial
from mmkd.sweep.tuner import carry_out
from mmkd.sweep.winner import WINNER, command_of, with_new_seeds, write_winner

Say = Callable[[Any], None]


class UnfitPlace(MmkdError):
    """A node on which no trial can be run; the message says why. What was finished is kept."""

    exit_code: ClassVar[int] = 1


def run_sweep(
    sweep: Sweep, file: Path, progress: Progress, say: Say, fresh: bool = False, address: str | None = None
) -> list[Trial]:
    """Run a sweep, or go on with it; write its winner, and show both. Returns the trials.

    file: the sweep file. fresh: begin anew, though there is one to go on with. address: of a running Ray cluster.
    Raises ConfigError before the first trial when a key or a value of the space is not one that the experiment takes;
    OtherSweep when the one that lies there depends on something else; Busy while another process leads it; Interrupted
    when it is asked to stop.
    """
    if sweep.search.kind == "hyperopt":
        require_hyperopt()
    target = (file.parent / sweep.experiment).resolve()
    settings = fixed_overrides(sweep)
    experiment = check_space(sweep, target, settings)
    parent = parent_of(file, experiment)
    with only_writer(parent):
        # Teachers, caches and encoded data are made once, here, so that trials only read them.
        ready = make_ready(experiment, target, progress)
        parts = {
            "data": hash_of(ready.workspace.mix.fingerprints()),
            "code of mmkd or of a plug-in": code_of(experiment),
            "version of a package": hash_of(package_versions()),
        }
        header = header_of(sweep, file, target, experiment, parts, settings)
        folder = begin_or_go_on(parent, header, fresh)
        cache, entries = ready.workspace.places.cache.resolve(), entries_of(ready.teachers.values())
        fixed = Fixed(target, folder.resolve(), settings, experiment.train.epochs, CODE, cache, entries)
        del ready
        with Journal(folder / JOURNAL) as journal:
            if not journal.events:
                journal.write(header)
            course = Course(sweep, fixed, journal, refusal(partial(load_trial, target), fixed))
            say(f"{len(course.trials)} trials so far, in {os.path.relpath(folder)}")
            _lead(course, folder, progress, say, address)
            return _finish(course, fixed, say)


def fixed_overrides(sweep: Sweep) -> tuple[str, ...]:
    """What every trial sets, beside its own values."""
    seeds = ",".join(map(str, sweep.seeds))
    return f"seeds=[{seeds}]", f"train.threads={sweep.per_trial.cpus}"


def check_space(sweep: Sweep, target: Path, settings: tuple[str, ...]) -> Experiment:
    """Load the experiment with every choice, and with both bounds, of every key; return it as the file has it.

    Keys that a population varies must be such that may change while a run goes on.
    Raises ConfigError with the mistakes of all of them.
    """
    problems, search = [], sweep.search
    if isinstance(search, Pbt):
        _check_generations(search, load_trial(target, settings))
    for key, domain in sweep.space.items():
        conditions = _conditions(sweep, key)
        for value in domain.examples():
            changes = [change(search.every, {key: value})] if isinstance(search, Pbt) else []
            try:
                load_trial(target, [*settings, *conditions, override(key, value), *changes])
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(problems)
    experiment: Experiment = load_trial(target, settings)
    names = {name for name in sweep.objective.maximize if name != "validation.mean_score"}
    if wrong := sorted(name for name in names if name.split(".")[1] not in experiment.tasks):
        raise MmkdError(f"objective.maximize: found {', '.join(wrong)}; the tasks are {', '.join(experiment.tasks)}")
    return experiment


def _check_generations(search: Pbt, experiment: Experiment) -> None:
    epochs = experiment.train.epochs
    if epochs % search.every or epochs == search.every:
        raise MmkdError(
            f"search.every: found {search.every}; expected a number of epochs that divides `train.epochs`, {epochs}, "
            "into two generations or more"
        )
    if experiment.changes:
        found = ", ".join(experiment.changes)
        raise MmkdError(f"search.kind: pbt changes keys on the way, as `changes` of the experiment do; found {found}")


def _conditions(sweep: Sweep, key: str) -> list[str]:
    """Overrides under which a key is varied: those of the keys that it names, and of those that they name."""
    found: list[str] = []
    for other, values in sweep.space[key].when.items():
        found += [*_conditions(sweep, other), override(other, values[0])]
    return found


def load_trial(target: Path, overrides: Sequence[str]) -> Experiment:
    """The experiment of a trial. Raises ConfigError with every mistake."""
    return load(target, overrides, read_cards)


def _lead(course: Course, folder: Path, progress: Progress, say: Say, address: str | None) -> None:
    """Carry out the course until it ends or is asked to stop."""
    clear_stop(folder)
    bar = progress.add_task("trials", total=course.sweep.trials)

    def ended(number: int) -> None:
        trial = course.trials[number]
        over = [each for each in course.trials.values() if each.status is not None]
        best = winner_of(over, course.sweep.objective)
        label = "trials" if best is None else f"trials, best {score(best, course.sweep.objective.names[0])}"
        progress.update(bar, completed=len(over), description=label)
        if trial.status is None:
            last = trial.broke_off[-1]
            say(f"trial {number}, attempt {last.attempt}: {last.reason}: {last.says}")
        keep_best_weights(course, folder)
        remove_old_states(course, folder)

    progress.update(bar, completed=sum(each.status is not None for each in course.trials.values()))
    try:
        if not course.is_over:  # or Ray would start for nothing
            carry_out(course, folder, progress, ended, address)
    finally:
        course.close()
        clear_stop(folder)
    if course.unfit is not None:
        raise UnfitPlace(f"no trial can be run here, so that the sweep stops: {course.unfit}")


def keep_best_weights(course: Course, folder: Path) -> None:
    """Remove the weights of trials that are not among the best so far; their records stay."""
    over = [trial for trial in course.trials.values() if trial.status is not None]
    for trial in ranked(over, course.sweep.objective)[course.sweep.keep_weights :]:
        for path in place_of(folder, trial.number).glob(f"seed*/{FOLDER}"):
            shutil.rmtree(path, ignore_errors=True)


def remove_old_states(course: Course, folder: Path) -> None:
    """Remove the checkpoints of a population's members with which no other will begin."""
    if isinstance(course.sweep.search, Pbt):
        for number in no_longer_needed(course.sweep.search, course.trials):
            for path in place_of(folder, number).glob(f"seed*/{CHECKPOINTS}"):
                shutil.rmtree(path, ignore_errors=True)


def _finish(course: Course, fixed: Fixed, say: Say) -> list[Trial]:
    """Show the trials, and write the winner."""
    sweep, trials = course.sweep, list(course.trials.values())
    say(trial_table(trials, sweep, most=20))
    for line in troubles(trials):
        say(line)
    winner = winner_of(trials, sweep.objective)
    if winner is None:
        say("no trial finished, so there is no winner")
        return trials
    how = command_of(fixed.target, fixed.overrides, winner, sweep.per_trial.together)
    path = fixed.folder / WINNER
    chosen = load_trial(fixed.target, [*fixed.overrides, *winner.overrides])
    write_winner(path, winner, len(trials), sweep, chosen, how)
    name = sweep.objective.names[0]
    say(f"winner: trial {winner.number}, {name} = {winner.objectives[name]!r}; the same again:\n{how}")
    say(f"written to {os.path.relpath(path)}; with new seeds:\n{with_new_seeds(path, sweep)}")
    return trials
