"""How a run goes on after it was interrupted: what its training depends on, and where it is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmkd.arrays import code_hash
from mmkd.checkpoints import Before, Checkpoints
from mmkd.config import plugins
from mmkd.config.experiment import PLUGIN_MAPS, Experiment
from mmkd.config.stages import Stage
from mmkd.environment import package_versions
from mmkd.record import experiment_hash, hash_of
from mmkd.teach import Prepared
from mmkd.workspace import Workspace
from mmkd.write_up import identities

CHECKPOINTS = "checkpoints"
"""Folder of a seed's checkpoints, below its own."""


def checkpoints_of(
    workspace: Workspace,
    prepared: Mapping[str, Prepared],
    folder: Path,
    seed: int,
    start: str,
    stages: Sequence[Stage],
) -> list[Checkpoints]:
    """Those of a seed's training, in one folder, as each of its stages saves them and goes on from them.

    folder: the seed's. start: hash of the weights that the student starts from.
    """
    accelerator, experiment = workspace.accelerator, workspace.experiment
    common = {
        "seed": str(seed),
        "start of the student": start,
        "data": hash_of(workspace.mix.fingerprints()),
        "teachers": hash_of(identities(prepared)),
        "code of mmkd or of a plug-in": code_of(experiment),
        "version of a package": hash_of(package_versions()),
        "number of processes": str(accelerator.num_processes),
        "kind of device": accelerator.device.type,
    }
    found: list[Checkpoints] = []
    for stage in stages:
        before = Before(found[-1].made_from, stage.first) if found else None
        made_from = {"experiment": experiment_hash(stage.begun), **common}
        keep = experiment.train.checkpoint.keep
        found.append(Checkpoints(folder / CHECKPOINTS, made_from, workspace.say, keep, before))
    return found


def stage_under_way(of_stages: Sequence[Checkpoints]) -> int:
    """The number of the stage that goes on from the newest valid checkpoint; the first one, where there is none.

    Raises OtherRun when it is of a training that depends on something else.
    """
    saved = of_stages[0].newest_of_any() if len(of_stages) > 1 else None
    if saved is None:
        return 0
    numbers = [number for number, each in enumerate(of_stages) if each.goes_on_from(saved)]
    if not numbers:
        of_stages[0].require_same(saved)
    return numbers[-1]


def code_of(experiment: Experiment) -> str:
    """Hash of the package's code, and of the plug-ins that stand outside it."""
    kinds = {(folder, one.kind) for folder in PLUGIN_MAPS for one in getattr(experiment, folder).values()}
    kinds.add(("weighting", experiment.weighting.kind))
    files = {Path(str(plugins.load(folder, kind).__file__)) for folder, kind in kinds}
    return code_hash(plugins.PACKAGE, *sorted(path for path in files if not path.is_relative_to(plugins.PACKAGE)))
