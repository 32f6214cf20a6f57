"""Who speaks to the student: the teachers that the losses use, each from its cache or live."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mmkd.cache.store import Making, cached
from mmkd.preflight.teachers import inspect_network
from mmkd.teach import Prepared, frozen_teacher
from mmkd.teachers.base import Speaker
from mmkd.workspace import Workspace


def speakers(workspace: Workspace, prepared: Mapping[str, Prepared], share: float | None = None) -> dict[str, Speaker]:
    """The teachers that the losses use, cached or live. The cache holds every view that the experiment has.

    A network that speaks from the cache is released: no part of it stays in memory. share: of the rows, those that
    each teacher is asked about again; None for the few that each use asks for.
    """
    configs = workspace.experiment.teachers
    used = sorted({needs.teacher for loss in workspace.experiment.losses.values() for needs in loss.teacher_needs()})
    if not workspace.experiment.train.cache:
        return {name: prepared[name].teacher for name in used}
    own = sorted({name for each in used for name in configs[each].speaks_for or (each,)})
    found = {
        name: _from_cache(workspace, name, prepared[name], share) if configs[name].network else prepared[name].teacher
        for name in own
    }
    for name in used:
        if names := configs[name].speaks_for:
            found[name] = frozen_teacher(workspace, name, {member: found[member] for member in names})
    return {name: found[name] for name in used}


def _from_cache(workspace: Workspace, name: str, prepared: Prepared, share: float | None) -> Speaker:
    augment = workspace.experiment.augment
    views = (augment.views or 1) if augment is not None else 1
    corpora = [workspace.training(workspace.reader(name), view) for view in range(views)]
    if workspace.experiment.train.preflight:
        inspect_network(workspace, name, prepared.teacher, corpora[0])
    bar = workspace.follow(f"cache {name}")
    # The rows that are asked for again are others on each use; no result depends on them.
    fresh = np.random.default_rng()
    said = cached(prepared.teacher, prepared.identity, corpora, making_of(workspace, bar), fresh, share)
    prepared.release()
    bar(1, 1)
    return said


def making_of(workspace: Workspace, progress: Callable[[int, int], None]) -> Making:
    """How the experiment's cache is made. progress: called with rows done and in all."""
    settings = workspace.experiment.train
    return Making(
        folder=workspace.places.cache / "teachers",
        dtype=settings.cache_dtype,
        device=workspace.accelerator.device,
        say=workspace.say,
        progress=progress,
        logits_top=settings.cache_logits_top,
        features=settings.cache_features,
    )
