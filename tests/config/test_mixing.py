"""The key `mixing`: what is read, what is refused, and what its sets count."""

from fractions import Fraction

import pytest
from pydantic import TypeAdapter, ValidationError

from mmkd.config.mixing import Mixing, Ratio, RoundRobin, Size, Temperature, mistakes, weight
from mmkd.config.plain_words import validated
from mmkd.config.problems import Place
from mmkd.config.section import Section
from mmkd.config.yaml_tree import parse


class Whole(Section):
    mixing: Mixing = Size()


def words(text: str) -> list[str]:
    problems = []
    root, wrong = parse(f"mixing: {text}", lambda line: Place("file", line))
    validated(Whole, root, (), problems)
    return [str(problem) for problem in (*wrong, *problems)]


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"kind": "size"}, Size()),
        ({"kind": "size", "rows": 7, "batches": "pure"}, Size(rows=7, batches="pure")),
        ({"kind": "temperature", "temperature": 2}, Temperature(kind="temperature", temperature=2.0)),
        ({"kind": "ratio", "shares": {"a": 2, "b": 0.5}}, Ratio(kind="ratio", shares={"a": 2.0, "b": 0.5})),
        ({"kind": "round_robin"}, RoundRobin(kind="round_robin")),
    ],
)
def test_each_kind_is_read_and_loads_back_equal(plain, expected):
    mixing = Whole.model_validate({"mixing": plain}).mixing
    assert mixing == expected
    assert Whole.model_validate({"mixing": mixing.model_dump(mode="json")}).mixing == expected


def test_every_row_once_is_the_default_and_round_robin_is_pure():
    assert Whole().mixing == Size(rows=None, batches="mixed")
    assert RoundRobin(kind="round_robin").batches == "pure"
    with pytest.raises(ValidationError):
        TypeAdapter(Mixing).validate_python({"kind": "round_robin", "batches": "mixed"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "{kind: temprature, temperature: 2}",
            'mixing: found "temprature" (text) as `kind`; expected one of size, temperature, ratio, round_robin; '
            "did you mean `temperature`?",
        ),
        ("{temperature: 2}", "mixing: found nothing (null) as `kind`; expected one of size,"),
        ("{kind: [size]}", "mixing: found a list of 1 as `kind`; expected one of size,"),
        ("{kind: temperature}", "mixing.temperature: missing; expected a number of at least 1"),
        ("{kind: temperature, temperature: 0.5}", "mixing.temperature: found 0.5; expected a number of at least 1"),
        ("{kind: temperature, temperature: .inf}", "mixing.temperature: found inf"),
        ("{kind: temperature, temperature: 2, limit: 0}", "mixing.limit: found 0; "),
        ("{kind: ratio, shares: {}}", "mixing.shares: found an empty map"),
        ("{kind: ratio, shares: {a: 0}}", "mixing.shares.a: found 0; expected a number greater than 0"),
        ("{kind: size, rows: 0}", "mixing.rows: found 0; expected an integer greater than 0"),
        ("{kind: size, row: 3}", "mixing.row: unknown key `row`"),
        ("size", 'mixing: found "size" (text); expected a map'),
    ],
)
def test_a_mistake_is_said_in_plain_words(text, says):
    assert any(f"file:1: {says}" in found for found in words(text))


def test_what_a_set_counts():
    assert weight(Size(), "a", 9) == 9
    assert weight(Temperature(kind="temperature", temperature=1), "a", 9) == 9
    assert weight(Temperature(kind="temperature", temperature=2), "a", 9) == 3
    assert weight(Temperature(kind="temperature", temperature=2, limit=4), "a", 9) == 2
    assert weight(Temperature(kind="temperature", temperature=2, limit=100), "a", 9) == 3
    assert weight(Ratio(kind="ratio", shares={"a": 0.1, "b": 7}), "a", 9) == Fraction(1, 10)
    assert weight(RoundRobin(kind="round_robin"), "a", 9) == 1


def test_shares_must_name_the_data_sets():
    mixing = Ratio(kind="ratio", shares={"mvsa": 2, "harn": 1})
    assert list(mistakes(mixing, {"mvsa": 1, "harm": 1, "wnut": 1})) == [
        (("shares", "harn"), "unknown data set `harn`; expected one of harm, mvsa, wnut; did you mean `harm`?"),
        (("shares",), "found no share for harm, wnut; expected one for each data set"),
    ]
    assert list(mistakes(mixing, ["harn", "mvsa"])) == []
    assert list(mistakes(Size(), ["harm"])) == []
