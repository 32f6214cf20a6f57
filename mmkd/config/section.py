"""The base of every part of an experiment file: frozen, typed, and closed to keys that it does not know."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One mapping of the experiment file. Unknown keys, coerced types and later changes are refused.

    `kind` names the plug-in file that defines the section; sections that are no plug-in have none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)
