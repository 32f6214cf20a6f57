"""How a run goes on after it was interrupted: what its training depends on, and where it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmkd.arrays import code_hash
from mmkd.checkpoints import Checkpoints
from mmkd.config import plugins
from mmkd.config.experiment import PLUGIN_MAPS, Experiment
from mmkd.environment import package_versions
from mmkd.record import hash_of
from mmkd.teach import Prepared
from mmkd.workspace import Workspace
from mmkd.write_up import experiment_hash, identities

CHECKPOINTS = "checkpoints"
"""Folder of a seed's checkpoints, below its own."""


def checkpoints_of(
    workspace: Workspace, prepared: Mapping[str, Prepared], folder: Path, seed: int, start: str
) -> Checkpoints:
    """Those of a seed's training. folder: the seed's. start: hash of the weights that the student starts from."""
    accelerator, experiment = workspace.accelerator, workspace.experiment
    made_from = {
        "experiment": experiment_hash(experiment),
        "seed": str(seed),
        "start of the student": start,
        "data": hash_of(workspace.mix.fingerprints()),
        "teachers": hash_of(identities(prepared)),
        "code of mmkd or of a plug-in": code_of(experiment),
        "version of a package": hash_of(package_versions()),
        "number of processes": str(accelerator.num_processes),
        "kind of device": accelerator.device.type,
    }
    return Checkpoints(folder / CHECKPOINTS, made_from, workspace.say, experiment.train.checkpoint.keep)


def code_of(experiment: Experiment) -> str:
    """Hash of the package's code, and of the plug-ins that stand outside it."""
    kinds = {(folder, one.kind) for folder in PLUGIN_MAPS for one in getattr(experiment, folder).values()}
    kinds.add(("weighting", experiment.weighting.kind))
    files = {Path(str(plugins.load(folder, kind).__file__)) for folder, kind in kinds}
    return code_hash(plugins.PACKAGE, *sorted(path for path in files if not path.is_relative_to(plugins.PACKAGE)))
