"""Every kind of weighting as cases: from `weightings/<kind>.py`.

A file of `weightings/` has, where the method is not as most are,
  CASES: name -> keys of the `Config`, without `kind`. Default: one without keys.
  HEADS: what a task's own parameters get: `loss`, the gradient of the weighted loss; `own`, that of the loss; `log`,
    that of its logarithm. Default `loss`: the method scales losses. Otherwise it combines gradients.
  COMBINES: whether the update of the shared parameters is the sum of gradients with the weights. Default: true.
  ALONE: the weight of a task alone; None where it goes by its gradient or loss. Default 1.
  SIZE: by which power of the size of all gradients the weights grow, of the configuration. Default 0.
  EQUAL: the weight of each of three tasks without conflict, None where they differ. Default None.
  OPPOSES_NONE: whether no task's gradient is opposed by the update. Default: false.
  RANDOM: whether random numbers are drawn. Default: false.
  formula(config, steps): the weights of each step, from the paper, as loops over scalars (see `Step`). A method that
    scales losses must have it, unless it is random.
  updates(config, steps): the update of the shared parameters in each step, where it is no sum with the weights.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mmkd.config import plugins
from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting.base import Weighting

FOLDER = Path(__file__).parent / "weightings"
TASKS = ("task0", "task1", "task2")
RATE = 0.1
"""Step size of the plain gradient descent in which a weighting's own parameters learn."""


@dataclass(frozen=True)
class Step:
    """One batch. losses, gradients: of the tasks that are there. ends_epoch: whether an epoch ends after it."""

    losses: dict[str, float]
    gradients: dict[str, tuple[float, ...]]
    ends_epoch: bool = False


@dataclass(frozen=True)
class Case:
    """One configuration of a kind. module: the plug-in, or what stands in for it. facts: the file of `weightings/`."""

    kind: str
    name: str
    config: WeightingConfig
    module: Any
    facts: ModuleType | None

    def weighting(self) -> Weighting:
        """A new weighting, in float64."""
        made: Weighting = self.module.Weighting(self.config, TASKS).double()
        return made

    def fact(self, name: str, default: Any) -> Any:
        """What the file of `weightings/` states under this name."""
        return getattr(self.facts, name, default)

    @property
    def scales_losses(self) -> bool:
        """Whether it weights losses, and so the heads' gradients too."""
        return bool(self.fact("HEADS", "loss") == "loss")

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"


def cases() -> list[Case]:
    """Every case of every kind."""
    return [case for kind in plugins.kinds("weighting") for case in cases_of(kind)]


def cases_of(kind: str) -> list[Case]:
    """The cases of one kind."""
    module = plugins.load("weighting", kind)
    facts = importlib.import_module(f"conformance.weightings.{kind}") if (FOLDER / f"{kind}.py").exists() else None
    named = getattr(facts, "CASES", {"default": {}})
    return [Case(kind, name, module.Config(**keys), module, facts) for name, keys in named.items()]
