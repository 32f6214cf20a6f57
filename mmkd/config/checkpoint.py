"""How often a run saves what it needs to go on. No torch here."""

from typing import Literal

from mmkd.config.section import PositiveFloat, PositiveInt, Section


class Checkpoint(Section):
    """When a run saves its state. What it computes does not depend on it.

    every: so many of `unit` after the last time; of minutes, a part of one too. A run that is asked to stop saves in
        any case.
    keep: the newest so many are kept, in case the newest is damaged.
    """

    unit: Literal["minutes", "epochs", "steps"] = "minutes"
    every: PositiveFloat = 5
    keep: PositiveInt = 2
