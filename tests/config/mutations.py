"""Experiment files spoiled, or changed without harm, in ways whose right verdict follows from how each is made.

No code of the suite is used here: a mutation knows the lines that it touches.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

Verdict = range | None
"""Lines, one of which a refusal must name; None: the file is accepted, and means what it meant."""


@dataclass(frozen=True)
class Mutation:
    """content: of the file; None: a folder lies in its place. means: the text that it must load equal to."""

    content: bytes | None
    refused_at: Verdict
    means: str = ""


def lines_of(text: str) -> int:
    return text.count("\n")


def ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def with_line(text: str, key: str, line: str) -> tuple[str, int]:
    """The text in which a top-level key of one line reads so, or a new last line; and the line's number."""
    match = re.search(rf"^{key}:.*\n(?![ \t-])", ended(text), re.MULTILINE)
    if match is None:
        found = re.search(rf"^{key}:", text, re.MULTILINE)
        assert found is None, f"{key} has more lines than one"
        return f"{ended(text)}{line}\n", lines_of(ended(text)) + 1
    changed = ended(text)[: match.start()] + line + "\n" + ended(text)[match.end() :]
    return changed, lines_of(text[: match.start()]) + 1


def with_train(text: str, key: str, value: str) -> tuple[str, int]:
    """The text in which `train.key` reads so."""
    match = re.search(r"^train: \{(.*?)\}(.*)$", text, re.MULTILINE)
    if match is None:
        return with_line(text, "train", f"train: {{{key}: {value}}}")
    kept = [part for part in match[1].split(", ") if not part.startswith(f"{key}:")]
    return with_line(text, "train", f"train: {{{', '.join([*kept, f'{key}: {value}'])}}}")


def refused(made: tuple[str, int]) -> Mutation:
    text, line = made
    return Mutation(text.encode(), range(line, line + 1))


def appended(more: str, first: int = 1, last: int | None = None) -> Callable[[str, random.Random], Mutation]:
    """Refused at one of the lines added, counted from 1."""

    def make(text: str, rng: random.Random) -> Mutation:
        start = lines_of(ended(text))
        return Mutation((ended(text) + more).encode(), range(start + first, start + (last or first) + 1))

    return make


def train(key: str, *values: str) -> Callable[[str, random.Random], Mutation]:
    """Refused for a value of `train.key`."""
    return lambda text, rng: refused(with_train(text, key, rng.choice(values)))


def line(key: str, *values: str) -> Callable[[str, random.Random], Mutation]:
    """Refused for the value of a top-level key."""
    return lambda text, rng: refused(with_line(text, key, f"{key}: {rng.choice(values)}"))


def whole(*contents: bytes) -> Callable[[str, random.Random], Mutation]:
    """Refused at its first line, since it holds no experiment."""
    return lambda text, rng: Mutation(rng.choice(contents), range(1, 2))


def inserted(junk: bytes) -> Callable[[str, random.Random], Mutation]:
    """Refused at the line that bytes were put into."""

    def make(text: str, rng: random.Random) -> Mutation:
        rows = ended(text).encode().split(b"\n")
        number = rng.randrange(len(rows) - 1)
        rows[number] = rows[number] + b" " + junk
        return Mutation(b"\n".join(rows), range(number + 1, number + 2))

    return make


def same(change: Callable[[str], str | bytes]) -> Callable[[str, random.Random], Mutation]:
    """Accepted, and equal to the file as it was."""

    def make(text: str, rng: random.Random) -> Mutation:
        content = change(ended(text))
        return Mutation(content if isinstance(content, bytes) else content.encode(), None, text)

    return make


def as_well(key: str, plain: str, *other: str) -> Callable[[str, random.Random], Mutation]:
    """Accepted: another way to write a value of `train.key`."""

    def make(text: str, rng: random.Random) -> Mutation:
        return Mutation(with_train(text, key, rng.choice(other))[0].encode(), None, with_train(text, key, plain)[0])

    return make


def again(text: str, rng: random.Random) -> Mutation:
    """A top-level key of the file once more, at its end."""
    key = rng.choice(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    return appended(f"{key}: 1\n")(text, rng)


def too_deep(text: str, rng: random.Random) -> Mutation:
    opening, closing = rng.choice([("[", "]"), ("{a: ", "}")])
    depth = rng.randrange(40, 3000)
    return appended(f"deep: {opening * depth}1{closing * depth}\n")(text, rng)


def bomb(text: str, rng: random.Random) -> Mutation:
    levels = [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 20)]
    return appended("\n".join(["b0: &b0 [x, x]", *levels, ""]))(text, rng)


def base_that_is_not_there(text: str, rng: random.Random) -> Mutation:
    return refused(with_line(text, "extends", f"extends: {rng.choice(['gone.yaml', '[base.yaml]', '7', '/dev/null'])}"))


def moved_to_the_end(text: str) -> str:
    name = re.search(r"^name:.*\n", text, re.MULTILINE)
    assert name is not None
    return text.replace(name[0], "", 1) + name[0]


def quoted_name(text: str) -> str:
    return re.sub(r"^name: *([a-z0-9_]+)", r'"name": "\1"', text, count=1, flags=re.MULTILINE)


HUGE = b"#" * 99 + b"\n"

LONG = ("a-" * 60_000, "eyJ-" * 30_000, "'" + "-----BEGIN PRIVATE KE-----" * 5_000 + "'", "'" + "://:@" * 25_000 + "'")
"""What a careless search for secrets reads again and again."""

SPOILED: dict[str, Callable[[str, random.Random], Mutation]] = {
    "unknown key": lambda text, rng: appended(f"key_{rng.randrange(10**6)}: 1\n")(text, rng),
    "unknown key of train": train("epochz", "1", "null", "[]"),
    "wrong type of seeds": line("seeds", "[a]", "no", "{a: 1}", "[1.5]", "[true]", "'0'", "[[0]]", "3"),
    "wrong type of a map": line("weighting", "fixed", "[fixed]", "7", "{}", "{kind: 7}", "{kind: [fixed]}"),
    "unknown kind": line("weighting", "{kind: fixedd}", "{kind: ../fixed}", "{kind: no.such}", "{kind: base}"),
    "wrong type": train("epochs", "'20'", "2.0", "true", "[20]", "{a: 1}", "twenty", "1e1", "1_000", "0b11"),
    "1e-3 for a count": train("batch_size", "1e-3"),
    "no for a truth value": train("cache", "no", "yes", "on", "0", "'true'", "tRue"),
    "out of range": train("lr", "0", "-1e-3", "-.5"),
    "count out of range": train("epochs", "0", "-1"),
    "share out of range": train("warmup", "1.0", "-0.1", "7"),
    "no number": train("lr", ".nan", ".inf", "-.inf", "1e999", "NaN", "inf"),
    "huge integer": line(
        "seeds", f"[{10**19}]", f"[0, {2**63}]", f"[{'9' * 400}]", f"[0x{'f' * 17}]", "[1" + "0" * 5000 + "]"
    ),
    "key twice": again,
    "alias bomb": bomb,
    "anchor": line("name", "&a mine", "&a"),
    "alias": line("name", "*a"),
    "merge key": line("train", "{<<: {epochs: 2}}", "{<<: [{epochs: 2}], lr: 1e-3}"),
    "tag": line("name", "!!str mine", "!!python/object/apply:os.getcwd []", "!mine x", "!!binary aGk="),
    "tab": appended("x:\n\ty: 1\n", 2),
    "second document": appended("---\nname: other\n"),
    "open bracket": appended("x: [1, 2\n", 1, 2),
    "open quote": appended("x: 'abc\n", 1, 2),
    "key of a number": appended("7: x\n"),
    "key of nothing": appended("null: x\n"),
    "key of a list": appended("? [a, b]\n: x\n"),
    "nested deep": too_deep,
    "many keys": appended("".join(f"k{number}: 1\n" for number in range(5000)), 1, 5000),
    "many items": appended(f"seedz: [{'0, ' * 9000}0]\n"),
    "long word": lambda text, rng: appended(f"x: {rng.choice(LONG)}\n")(text, rng),
    "NUL": inserted(b"\0"),
    "control character": inserted(b"\x07"),
    "not UTF-8": inserted(b"\xff"),
    "half a character": inserted(b"\xed\xa0\x80"),
    "UTF-16": lambda text, rng: Mutation(ended(text).encode(rng.choice(["utf-16", "utf-32"])), range(1, 2)),
    "nothing": whole(b"", b"\n", b"# a comment\n", b"---\n", b"null\n", b"~"),
    "no map": whole(b"[]\n", b"mine\n", b"7\n", b"- a\n- b\n", b"'name: x'\n"),
    "10 MB": lambda text, rng: Mutation(ended(text).encode() + HUGE * 100_000, range(1, 2)),
    "no such base": base_that_is_not_there,
    "a folder": lambda text, rng: Mutation(None, range(1)),
}

HARMLESS: dict[str, Callable[[str, random.Random], Mutation]] = {
    "CRLF": same(lambda text: text.replace("\n", "\r\n")),
    "byte order mark": same(lambda text: b"\xef\xbb\xbf" + text.encode()),
    "comments": same(lambda text: text.replace("\n", "   # no: [tag] &a *b {\n\n")),
    "no line end": same(lambda text: text.rstrip("\n")),
    "directive": same(lambda text: f"%YAML 1.2\n---\n{text}...\n"),
    "long comment": same(lambda text: text + "#" * 150_000 + "\n"),
    "quotes": same(quoted_name),
    "order": same(moved_to_the_end),
    "tab before a comment": same(lambda text: text.replace("\n", "\t# x\n", 1)),
    "1e-3": as_well("lr", "0.001", "1e-3", "1.0E-03", "+.001", "001e-03", "0.1e-2"),
    "0123": as_well("epochs", "123", "0123", "+123", "0x7b", "0o173", "000123"),
    "null": as_well("patience", "null", "~", "Null", "NULL"),
    "false": as_well("cache", "false", "False", "FALSE"),
}
