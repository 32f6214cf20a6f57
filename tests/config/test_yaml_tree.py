"""Text -> tree: the core schema's scalars, the place of every value, and what is refused."""

import math

import pytest

from mmkd.config.problems import ConfigError, Place
from mmkd.config.yaml_tree import MAX_VALUES, Node, parse, scalar


def read(text: str) -> tuple[Node, list[str]]:
    root, problems = parse(text, lambda line: Place("f", line))
    return root, [str(problem) for problem in problems]


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 0.0003), ("1E3", 1000.0), (".5", 0.5), ("-.5e3", -500.0), ("1.", 1.0), ("+1.5e+3", 1500.0),
        ("12", 12), ("-3", -3), ("+3", 3), ("010", 10), ("0x1F", 31), ("0o17", 15), (".inf", math.inf),
        ("-.INF", -math.inf), ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("1_000", "1_000"), ("1:20", "1:20"),
        ("2020-01-01", "2020-01-01"), ("0b1", "0b1"), ("e3", "e3"), ("tRue", "tRue"), ("\u0663", "\u0663"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_and_an_endless_integer() -> None:
    nan = scalar(".nan")
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert scalar("1" * 5000) == math.inf


def test_quotes_make_text_and_a_version_directive_changes_nothing() -> None:
    assert read("%YAML 1.1\n---\na: '3e-4'\nb: \"true\"\nc: no\nd: |\n  1\n")[0].plain() == {
        "a": "3e-4",
        "b": "true",
        "c": "no",
        "d": "1\n",
    }


def test_every_value_knows_its_line() -> None:
    root, problems = read("a:\n  b:\n    1\n  c: [x,\n      y]\nd:\n- {e: 1}\n")
    assert problems == []
    lines = {path: root.nearest(path).place.line for path in [("a",), ("a", "b"), ("a", "c"), ("a", "c", 1)]}
    assert lines == {("a",): 1, ("a", "b"): 2, ("a", "c"): 4, ("a", "c", 1): 5}
    assert root.nearest(("d", 0, "e")).place.line == 7
    assert root.nearest(("d", 9, "e")).place.line == 6  # the nearest that is there


def test_a_key_given_twice_is_named_with_both_lines_and_the_first_counts() -> None:
    root, problems = read("a: 1\nb: {c: 1,\n  c: 2}\na: 3\n")
    assert root.plain() == {"a": 1, "b": {"c": 1}}
    assert [text.split(";")[0] for text in problems] == [
        "f:3: b.c: found the key a second time, first at f:2",
        "f:4: a: found the key a second time, first at f:1",
    ]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: &x [1]", "f:1: a: found the anchor `&x`"),
        ("a: 1\nb: *x", "f:2: b: found the alias `*x`"),
        ("a: !!python/object/apply:os.getcwd []", "f:1: a: found the tag `tag:yaml.org,2002:python/object"),
        ("a: !!str 3", "f:1: a: found the tag"),
        ("1: x", "f:1: found 1 as a key"),
        ("a: {null: x}", "f:1: a: found nothing (null) as a key"),
        ("? [a]\n: 1", "f:1: found a list of 1 as a key"),
        ("a: 1\n---\nb: 2", "f:2: found a second document"),
    ],
)
def test_more_than_plain_data_is_refused_and_the_rest_is_read(text: str, start: str) -> None:
    _, problems = read(text)
    assert [problem[: len(start)] for problem in problems] == [start]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a:\n\tb: 1", "f:2: found a tab"),
        ("a: 1\nb: [1, 2", "f:2: not YAML"),
        ('a: 1\nb: "x', "f:2: not YAML"),
        ("a: b: c", "f:1: not YAML"),
        ("a: 1\nb: x\0y", "f:2: found a character"),
        ("[" * 20_000, "f:1: 0.0.0: found values nested deeper"),
        ("{a: " * 5_000, "f:1: a.a.a: found values nested deeper"),
        ("? " * 5_000, "f:1: ?.?.?: found values nested deeper"),
        ("- " * 5_000, "f:1: 0.0.0: found values nested deeper"),
    ],
)
def test_what_is_no_yaml_is_one_clear_line(text: str, start: str) -> None:
    assert refusal(text)[: len(start)] == start


def test_a_syntax_error_does_not_hide_what_came_before() -> None:
    assert [line.split(":")[1] for line in refusal("a: 1\na: 2\nb: [1").splitlines()] == ["2", "3"]


def test_a_billion_laughs_is_refused_unexpanded() -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    root, problems = read("\n".join(lines))
    assert len(problems) == 10 + 9 * 9
    assert root.plain()["a9"] == [None] * 9


def test_a_file_has_so_many_values_and_no_more() -> None:
    most = "[" + "0, " * (MAX_VALUES - 1) + "]"  # and the list itself
    assert read(most)[1] == []
    assert refusal(most.replace("[", "[0, ")) == f"f:1: found more than {MAX_VALUES} values"


@pytest.mark.parametrize(("text", "digits"), [("9223372036854775808", 19), ("-9223372036854775809", 20)])
def test_an_integer_has_64_bits_at_most(text: str, digits: int) -> None:
    assert read(f"a: {text[:-1]}7")[1] == []
    assert read(f"a: '{text}'")[1] == []
    assert read(f"a: {text}")[1] == [f"f:1: a: found an integer of {digits} digits; expected one of 64 bits at most"]
