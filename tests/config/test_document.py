"""A file, its base and the overrides become one tree whose places are those of the parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmkd.config.document import MAX_BYTES, read_document
from mmkd.config.problems import ConfigError

BASE = """\
data:
  a: {card: one, train: [train]}
  b: {card: two}
losses:
  x: {kind: logit_kl, task: t, temperature: 3}
  y: {kind: supervised, task: t}
student:
  text: {model: m}
train:
  lr: 1
  patience: 3
seeds: [0, 1, 2]
"""

Write = Callable[..., Path]


def read(path: Path, *overrides: str) -> Any:
    root, problems = read_document(path, overrides)
    assert problems == []
    return root.plain()


def messages(path: Path, *overrides: str) -> list[str]:
    try:
        _, problems = read_document(path, overrides)
    except ConfigError as error:
        problems = error.problems
    return [str(problem).replace(f"{path.parent}/", "") for problem in problems]


def extending(write: Write, text: str, base: str = BASE) -> Path:
    write(text=base, name="base.yaml")
    return write(text=f"extends: base.yaml\n{text}")


def test_maps_merge_by_key_and_all_else_replaces(write: Write) -> None:
    child = "name: c\nlosses:\n  x: {temperature: 9}\n  z: {kind: hint}\nseeds: [7]\ndata: {a: {card: three}}\n"
    plain = read(extending(write, child))
    assert plain["losses"] == {
        "x": {"kind": "logit_kl", "task": "t", "temperature": 9},
        "y": {"kind": "supervised", "task": "t"},
        "z": {"kind": "hint"},
    }
    assert plain["seeds"] == [7]
    assert plain["data"] == {"a": {"card": "three", "train": ["train"]}, "b": {"card": "two"}}
    assert "extends" not in plain


def test_a_changed_kind_clears_the_old_keys_and_the_same_kind_keeps_them(write: Write) -> None:
    changed = read(extending(write, "losses: {x: {kind: hint, layer: 1}, y: {kind: supervised, weight: 2}}\n"))
    assert changed["losses"]["x"] == {"kind": "hint", "layer": 1}
    assert changed["losses"]["y"] == {"kind": "supervised", "task": "t", "weight": 2}


def test_null_removes_a_named_entry_and_is_a_value_elsewhere(write: Write) -> None:
    plain = read(
        extending(write, "losses: {x: null}\ndata: {b: null}\ntrain: {patience: null}\nstudent: {text: null}\n")
    )
    assert set(plain["losses"]) == {"y"}
    assert set(plain["data"]) == {"a"}
    assert plain["train"] == {"lr": 1, "patience": None}
    assert plain["student"] == {"text": None}


def test_null_for_an_entry_that_is_not_there_is_a_mistake(write: Write) -> None:
    (message,) = messages(extending(write, "losses:\n  yy: null\n"))
    assert message.startswith("experiment.yaml:3: losses.yy: null removes an entry")
    assert message.endswith("there are: x, y; did you mean `y`?")


def test_places_survive_the_merge(write: Write) -> None:
    path = extending(write, "losses:\n  x: {temperature: 9}\ntrain:\n  lr: 2\n")
    root, _ = read_document(path, ["train.patience=4"])
    where = {
        ("losses", "x", "temperature"): "experiment.yaml:3",
        ("losses", "x", "task"): "base.yaml:5",
        ("losses", "x"): "base.yaml:5",  # what it lacks, it lacked there
        ("train", "lr"): "experiment.yaml:5",
        ("train", "patience"): "command line: train.patience=4",
        ("seeds", 1): "base.yaml:12",
        (): "experiment.yaml:1",
    }
    found = {key: str(root.nearest(key).place).replace(f"{path.parent}/", "") for key in where}
    assert found == where


def test_overrides_are_yaml_and_their_order_does_not_matter(write: Write) -> None:
    path = write(text=BASE)
    overrides = ["losses.x.kind=hint", "losses.x.layer=3", "train.lr=3e-4", "seeds=[1, 2]", "losses.new.kind=no"]
    expected = read(path, *overrides)
    assert expected["losses"]["x"] == {"kind": "hint", "layer": 3}
    assert expected["losses"]["new"] == {"kind": "no"}
    assert expected["train"]["lr"] == 0.0003
    assert expected["seeds"] == [1, 2]
    assert read(path, *reversed(overrides)) == expected
    assert set(read(path, "losses.x=null")["losses"]) == {"y"}
    assert read(path, "train.patience=null")["train"]["patience"] is None
    assert read(path, "name='a=b.c'")["name"] == "a=b.c"


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (["train.lr"], "command line: train.lr: expected `section.key=value`"),
        (["=3"], "command line: =3: expected `section.key=value`"),
        (["train..lr=3"], "command line: train..lr=3: expected `section.key=value`"),
        (["train.lr= "], "command line: train.lr= : expected `section.key=value`"),
        (["train.lr=[1"], "command line: train.lr=[1: train.lr: not YAML"),
        (["seeds={a: 1, a: 2}"], "command line: seeds={a: 1, a: 2}: seeds.a: found the key a second time"),
        (["train.lr=1", "train.lr=2"], "command line: train.lr=2: train.lr: set twice"),
        (["train.lr=1", "train={}"], "command line: train={}: train: set twice"),
        (["train=3", "train.lr=1"], "command line: train.lr=1: train.lr: `train` is also set as a whole"),
    ],
)
def test_a_bad_override_is_named(write: Write, overrides: list[str], start: str) -> None:
    (message,) = messages(write(text=BASE), *overrides)
    assert message[: len(start)] == start


def test_one_level_of_bases(write: Write) -> None:
    write(text="seeds: [1]\n", name="first.yaml")
    (message,) = messages(extending(write, "name: x\n", base="seeds: [2]\nextends: first.yaml\n"))
    assert message.startswith("base.yaml:2: extends: a base file may not extend another")


def test_a_base_is_looked_for_beside_the_file_that_names_it(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = extending(write, "name: x\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read(path)["seeds"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        (
            "a: 1\na: 2\nextends: bsae.yaml\n",
            "experiment.yaml:3: extends: there is no file",
            "did you mean `base.yaml`?",
        ),
        ("extends: [base.yaml]\n", "experiment.yaml:1: extends: found a list of 1; expected the path", "base file"),
    ],
)
def test_without_its_base_a_file_is_judged_no_further(write: Write, text: str, start: str, end: str) -> None:
    write(text=BASE, name="base.yaml")
    message = messages(write(text=text))[-1]
    assert message.startswith(start)
    assert message.endswith(end)


def test_mistakes_of_the_base_stand_at_the_base(write: Write) -> None:
    assert messages(extending(write, "a: 1\na: 2\n", base="b: 1\nb: 2\n")) == [
        "experiment.yaml:3: a: found the key a second time, first at experiment.yaml:2; expected it once",
        "base.yaml:2: b: found the key a second time, first at base.yaml:1; expected it once",
    ]


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"", ":1: the file is empty; expected `key: value` lines (a map)"),
        (b"# only a comment\n", ":1: the file is empty; expected `key: value` lines (a map)"),
        (b"- a\n- b\n", ":1: expected `key: value` lines (a map)"),
        (b"just text", ":1: expected `key: value` lines (a map)"),
        (b"a: 1\nb: \xff\xfe", ":2: found the byte 0xff; expected text in UTF-8"),
        ("a: 1".encode("utf-16"), ":1: found the byte 0xff; expected text in UTF-8"),
        (bytes(range(256)), ":2: found the byte 0x80; expected text in UTF-8"),
        (b"a: 1\n\x00\x01", ":2: found a character that text does not hold; expected a YAML file"),
        (b"#" * (MAX_BYTES + 1), f"found {MAX_BYTES + 1} bytes; expected a YAML file of at most {MAX_BYTES}"),
    ],
)
def test_what_is_no_experiment_file_is_one_clear_line(tmp_path: Path, content: bytes, end: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(content)
    (message,) = messages(path)
    assert message.endswith(end)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    (message,) = messages(tmp_path / "absent.yaml")
    assert message == "absent.yaml: cannot be read (No such file or directory); expected a YAML file"
    (message,) = messages(tmp_path)
    assert "cannot be read (Is a directory)" in message


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read(path) == {"name": "x"}
