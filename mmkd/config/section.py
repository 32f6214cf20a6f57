"""The base of every part of an experiment file: frozen, typed, and closed to keys that it does not know."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

# YAML has lists and no tuples; a frozen section holds tuples. The items stay strictly typed.
Names = Annotated[tuple[str, ...], Strict(False)]
Integers = Annotated[tuple[int, ...], Strict(False)]

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """One mapping of the experiment file. Unknown keys, coerced types and later changes are refused.

    A section that a plug-in file defines starts with the key `kind`, which names that file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


class Plugin(Section):
    """A section whose `kind` names the plug-in file that defines it."""

    kind: str
