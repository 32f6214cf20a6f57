"""Every kind of loss as cases: from `kinds/<kind>.py`, and where there is no such file, from the keys of its `Config`.

A file of `kinds/` has
  CASES: name -> keys of the `Config`, without `kind`.
  formula(loss, scene): the paper's formula as a loop over scalars (see loops.py), without a gradient to a teacher.
and, where the method is not as most are,
  LEAST: below which no value lies; None for a value that may be negative. Default 0.
  ONE_ROW: what one row alone gives: `positive`, `zero` or `finite`. Default positive.
  SHIFTS: whether a number added to all logits of a row changes nothing (True), always something (False), or neither
    (None). Default: True of logits over classes, False of labels, None of values.
  NOT_A_GRADIENT: why what is passed back is not the value's own gradient (a reversal). Default: it is.
  STEADY: the key of a temperature in which the gradient stays of one size. Default: none.
  HALF_RTOL: how far float32 may be from float64, where a factor of the formula makes its rounding larger.
    Default: 1e-5.
  prepare(loss): what a new term needs before it is looked at, where it starts at something special. Default: nothing.
  IDLE: cases in which nothing that the student says changes the value. Default: none.
  COEFFICIENTS: keys of numbers at 0 of which the value must not jump.

What its `Config` claims is taken from there: `draws`, random numbers; `zero_where_equal`, of a student that says what
the teacher says.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from conformance.scene import LAYERS, Scene, setting
from mmkd.config import plugins
from mmkd.config.plugin_base import LossConfig, TaskLossConfig
from mmkd.losses.base import Loss

KINDS = Path(__file__).parent / "kinds"
GUESSES: dict[str, tuple[object, ...]] = {
    "task": ("sentiment", "topics", "stress"),
    "teacher": ("bert", "vit"),
    "modality": ("text", "image"),
    "layer": (LAYERS["bert"], LAYERS["vit"]),
    "text": ("bert",),
    "image": ("vit",),
    "to": ("text", "fused"),
}
"""Values for keys that a `Config` requires, as the scene has them."""


@dataclass(frozen=True)
class Case:
    """One configuration of a kind. facts: the file of `kinds/`, None where there is none."""

    kind: str
    name: str
    config: LossConfig
    facts: ModuleType | None

    def loss(self, scene: Scene) -> Loss:
        """A new term, in float64, with parameters that are always the same."""
        torch.manual_seed(3)
        made: Loss = plugins.load("losses", self.kind).Loss(self.config, scene.setting).double()
        self.fact("prepare", lambda loss: None)(made)
        return made

    def fact(self, name: str, default: Any) -> Any:
        """What the file of `kinds/` states under this name."""
        return getattr(self.facts, name, default)

    @property
    def formula(self) -> Callable[[Loss, Scene], Tensor] | None:
        """The loop that the paper's formula is written as."""
        return self.fact("formula", None)

    @property
    def shifts(self) -> bool | None:
        """Whether a number added to all logits of a row changes nothing, or something; None where neither is said."""
        if not isinstance(self.config, TaskLossConfig):
            return None
        default = {"classes": True, "labels": False, "value": None}[setting().tasks[self.config.task].config.logits]
        stated: bool | None = self.fact("SHIFTS", default)
        return stated

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"


def cases() -> list[Case]:
    """Every case of every kind.

    Raises AssertionError for a kind of whose required keys one is not known: it needs a file in `kinds/`.
    """
    return [case for kind in plugins.kinds("losses") for case in cases_of(kind)]


def cases_of(kind: str) -> list[Case]:
    """The cases of one kind."""
    config = plugins.load("losses", kind).Config
    if not (KINDS / f"{kind}.py").exists():
        return [Case(kind, "guessed", guessed(kind, config), None)]
    facts = importlib.import_module(f"conformance.kinds.{kind}")
    return [Case(kind, name, config(**keys), facts) for name, keys in facts.CASES.items()]


def guessed(kind: str, config: type[LossConfig]) -> LossConfig:
    """The first values for its required keys that the `Config` and the scene take."""
    required = [name for name, field in config.model_fields.items() if field.is_required() and name != "kind"]
    assert set(required) <= set(GUESSES), f"losses/{kind}.py: write tests/conformance/kinds/{kind}.py, with CASES"
    for values in itertools.product(*(GUESSES[name] for name in required)):
        try:
            found = config(**dict(zip(required, values, strict=True)))
            if fits(found):
                return found
        except ValidationError:
            continue
    raise AssertionError(f"losses/{kind}.py: no values found for {required}; write tests/conformance/kinds/{kind}.py")


def fits(config: LossConfig) -> bool:
    """Whether the scene has what the configuration needs."""
    own = setting()
    if isinstance(config, TaskLossConfig) and config.logits not in (None, own.tasks[config.task].config.logits):
        return False
    for needs in config.teacher_needs():
        shape = own.teachers[needs.teacher]
        if needs.modality is not None and needs.modality not in shape.pooled:
            return False
        if any(layer not in layers for layer in needs.layers for layers in shape.hidden.values()):
            return False
    return True
