"""Puts pydantic's findings into the suite's words: where, what was found, what was expected, did you mean."""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mmkd.config.problems import did_you_mean, listed, shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]


def mistakes(model: type[BaseModel], error: ValidationError) -> list[tuple[Location, str]]:
    """Each mistake of a section: its place below the section, and the message without the place."""
    return [(_location(each), _message(model, each)) for each in error.errors(include_url=False)]


def _location(error: ErrorDetails) -> Location:
    return tuple(part for part in error["loc"] if part != "[key]")


def _message(model: type[BaseModel], error: ErrorDetails) -> str:
    location, found = _location(error), error["input"]
    if error["type"] == "missing":
        return "is missing; expected a value"
    if error["type"] == "extra_forbidden":
        known = _keys(model, location[:-1])
        return f"unknown key; expected one of {listed(known)}{did_you_mean(str(location[-1]), known)}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if error["type"] == "literal_error":
        message += did_you_mean(str(found), re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    return message if error["type"] == "value_error" else f"found {shown(found)}; {message}"


def _keys(model: Any, location: Location) -> list[str]:
    """Keys of the section that lies at a place below another."""
    for part in location:
        model = _below(_bare(model), part)
    return list(_bare(model).model_fields)


def _below(kind: Any, part: str | int) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields[str(part)].annotation
    return get_args(kind)[-1]


def _bare(kind: Any) -> Any:
    """The type without `Annotated` and without `None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return _bare(next(each for each in get_args(kind) if each is not NoneType))
    return kind
