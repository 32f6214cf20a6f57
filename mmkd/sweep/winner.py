"""The winner of a sweep, as an ordinary experiment file that says where it comes from. No torch and no Ray here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from mmkd.config.experiment import Experiment
from mmkd.config.sweep_file import Sweep
from mmkd.sweep.trials import Trial

WINNER = "winner.yaml"
NEW_SEEDS = 5
"""Seeds that the winner is run again with, none of which the sweep has seen."""


def command_of(target: Path, fixed: Sequence[str], trial: Trial, processes: int) -> str:
    """The `mmkd run` that gives the trial again. processes: that trained it together."""
    return shlex.join([*_mmkd_run(processes), os.path.relpath(target), *fixed, *trial.overrides])


def _mmkd_run(processes: int) -> list[str]:
    if processes == 1:
        return ["mmkd", "run"]
    return ["torchrun", "--standalone", "--nproc_per_node", str(processes), "-m", "mmkd", "run"]


def new_seeds(seeds: Sequence[int]) -> list[int]:
    """The first seeds that are not among those."""
    return [seed for seed in range(len(seeds) + NEW_SEEDS) if seed not in seeds][:NEW_SEEDS]


def write_winner(path: Path, trial: Trial, trials: int, sweep: Sweep, experiment: Experiment, how: str) -> None:
    """Write the trial's experiment. trials: that it was chosen from. how: the command that gives the trial again."""
    name, seeds = sweep.objective.names[0], sweep.seeds
    plain = experiment.dump() | {"name": name_of(experiment, path)}
    text = StringIO()
    YAML().dump(plain, text)
    path.write_text(
        f"# Trial {trial.number} of {trials}: {name} = {trial.objectives[name]!r}, mean over seeds {list(seeds)}.\n"
        f"# Selected on validation alone, so it is too good by chance: its score is that of new seeds.\n"
        f"# The trial again:   {how}\n"
        f"# With new seeds:    {with_new_seeds(path, sweep)}\n{text.getvalue()}",
        "utf-8",
    )


def name_of(experiment: Experiment, path: Path) -> str:
    """`<experiment>_<sweep file>`, so that tables tell its runs from those of the experiment. path: in the run's
    folder."""
    stem = path.resolve().parent.parent.name.removeprefix(f"{experiment.name}-")
    return f"{experiment.name}_{stem}"


def with_new_seeds(path: Path, sweep: Sweep) -> str:
    """The command that runs the winner with seeds that the sweep has not seen."""
    shown = ",".join(map(str, new_seeds(sweep.seeds)))
    return shlex.join([*_mmkd_run(sweep.per_trial.together), os.path.relpath(path), f"seeds=[{shown}]"])
