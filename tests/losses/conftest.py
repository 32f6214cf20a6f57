"""The conformance suite's scene, for the tests of single losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from conformance.scene import Scene, make_scene


@pytest.fixture(scope="session")
def scene() -> Callable[..., Scene]:
    return make_scene


@pytest.fixture
def regridded() -> Callable[[Scene, tuple[int, int]], Scene]:
    """The scene with the student's image positions read as another grid of as many cells."""

    def change(scene: Scene, grid: tuple[int, int]) -> Scene:
        layers = scene.student.hidden["image"]
        hidden = {**scene.student.hidden, "image": {n: replace(layer, grid=grid) for n, layer in layers.items()}}
        return replace(scene, student=replace(scene.student, hidden=hidden))

    return change
