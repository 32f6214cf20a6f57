"""Pydantic's findings in plain words: the key, what was found, what was expected, for unions and validators too."""

from typing import Annotated, Self

import pytest
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mmkd.config.plain_words import validated
from mmkd.config.problems import Place, Problem
from mmkd.config.section import Integers, Section
from mmkd.config.yaml_tree import parse


class Circle(Section):
    radius: Annotated[float, Field(gt=0)]
    fill: bool = False


class Square(Section):
    side: float
    fill: str = "none"


class Drawing(Section):
    shape: Circle | Square = Circle(radius=1)
    names: dict[Annotated[str, Field(pattern="^[a-z]+$")], int] = {}
    sizes: Integers = ()
    frame: str | None = None

    @field_validator("sizes")
    @classmethod
    def _grow(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if list(sizes) != sorted(sizes):
            raise ValueError("expected sizes that grow, the smallest first")
        return sizes

    @field_validator("frame")
    @classmethod
    def _framed(cls, frame: str | None) -> str | None:
        if frame is None:
            raise ValueError("is missing; expected a frame")
        return frame

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.names and self.sizes:
            raise PydanticCustomError("not_both", "found `names` and `sizes`, in one drawing, expected one")
        return self


def words(text: str) -> list[str]:
    tree, problems = parse(text, lambda line: Place("file", line))
    root, _ = parse("drawing: null", lambda line: Place("file", line))
    root.entries["drawing"] = tree
    value = validated(Drawing, root, ("drawing",), problems)
    assert (value is None) == bool(problems)
    return [str(problem).removeprefix("file:") for problem in problems]


def test_what_is_right_has_no_problems() -> None:
    assert words("frame: a\nshape: {side: 2, fill: red}") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("frame: a\nsizes: [2, 1]", "2: drawing.sizes: expected sizes that grow, the smallest first"),
        ("sizes: [1]", "1: drawing.frame: is missing; expected a frame"),
        (
            "frame: a\nnames: {a: 1}\nsizes: [1]",
            "1: drawing: found `names` and `sizes`, in one drawing, expected one",
        ),
        ("frame: a\nnames:\n  B: 1", "3: drawing.names.B: found the name `B`; String should match pattern '^[a-z]+$'"),
        ("frame: 3", "1: drawing.frame: found 3; expected text, or null"),
    ],
)
def test_one_mistake_is_one_message_at_its_key(text: str, expected: str) -> None:
    assert words(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{side: 1, sied: 2}", "shape.sied: unknown key `sied`; expected one of side, fill; did you mean `side`?"),
        ("{radius: 1, sied: 2}", "shape.sied: unknown key `sied`; expected one of radius, fill"),
        ("{side: 1, fill: 3}", "shape.fill: found 3; expected text"),
        ("{radius: 1, fill: 3}", "shape.fill: found 3; expected true or false"),
    ],
)
def test_of_a_union_the_branch_that_knows_the_keys_is_expected(text: str, expected: str) -> None:
    found = words(f"frame: a\nshape: {text}")
    assert f"2: drawing.{expected}" in found
    other = {"side": "radius", "radius": "side"}[text[1:].partition(":")[0]]
    assert not any(f"expected one of {other}" in message for message in found)


def test_problems_are_added_to_those_before() -> None:
    before = Problem(Place("file", 1), (), "before")
    problems = [before]
    tree, _ = parse("frame: 3", lambda line: Place("file", line))
    assert validated(Drawing, tree, (), problems) is None
    assert problems == [before, Problem(Place("file", 1), ("frame",), "found 3; expected text, or null")]
