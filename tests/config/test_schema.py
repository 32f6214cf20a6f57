"""The JSON Schema: valid itself, true for our files, and as strict as can be without the base file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from mmkd.config import plugins
from mmkd.config.schema import PLUGIN_SECTIONS, json_schema

Write = Callable[..., Path]
EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=[path.stem for path in EXPERIMENTS])
def test_our_own_experiments_are_valid(validator: Draft202012Validator, path: Path) -> None:
    assert [error.message for error in validator.iter_errors(read(path))] == []


def test_there_is_a_branch_for_each_kind(validator: Draft202012Validator) -> None:
    titles = {definition["title"] for definition in validator.schema["$defs"].values()}
    assert {f"{key}: {kind}" for key in PLUGIN_SECTIONS for kind in plugins.kinds(key)} <= titles


def test_a_good_file_and_parts_for_a_base_are_valid(validator: Draft202012Validator, write: Write) -> None:
    good = read(write())
    assert validator.is_valid(good)
    assert validator.is_valid({"extends": "base.yaml", "losses": {"x": {"temperature": 2}, "old": None}})
    assert validator.is_valid({"losses": {"x": {"kind": "my_lab.hinge", "margin": 3}}})
    assert validator.is_valid({"teachers": {}, "train": {"patience": None}})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("temperature: 2", "temprature: 2"),
        ("temperature: 2", "temperature: -2"),
        ("temperature: 2", 'temperature: "2"'),
        ("kind: fixed", "kind: fixd"),
        ("kind: supervised, task: ner", "kind: supervised, task: ner, teacher: bert"),
        ("width: 96", "widht: 96"),
        ("from: 0.5", "start: 0.5"),
        ("seeds: [0, 1]", "seeds: [-1]"),
        ("seeds: [0, 1]", "seed: [0]"),
        ("  sentiment: {kind: supervised", "  a-b: {kind: supervised"),
        ("train: [train, transfer]", "train: [train, test]"),
        ("epochs: 3, lr", "epoch: 3, lr"),
    ],
)
def test_wrong_keys_types_and_values_are_invalid(
    validator: Draft202012Validator, write: Write, old: str, new: str
) -> None:
    assert not validator.is_valid(read(write({old: new})))


def test_keys_are_described_by_the_docstrings(validator: Draft202012Validator) -> None:
    definitions = validator.schema["$defs"]
    assert definitions["Train"]["properties"]["clip"]["description"].startswith("largest gradient norm")
    finetune = definitions["Finetune"]["properties"]
    assert finetune["lr"]["description"] == "peak learning rate of AdamW."
    assert finetune["patience"]["description"].startswith("epochs without a better")
    (teacher,) = [one for one in definitions.values() if one["title"] == "teachers: hf_text"]
    assert teacher["properties"]["pooling"]["description"] == "how sub-tokens become words."  # said by a base class


def test_each_call_gives_a_new_schema() -> None:
    json_schema()["properties"].clear()
    assert "losses" in json_schema()["properties"]


def test_the_schema_does_not_depend_on_what_was_imported_before() -> None:
    load_all = (
        "from mmkd.config import plugins\n"
        "for key in ('losses', 'weighting'):\n"
        "    for kind in plugins.kinds(key):\n"
        "        plugins.load(key, kind)\n"
    )
    show = "import json\nfrom mmkd.config.schema import json_schema\nprint(json.dumps(json_schema()))"
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for code in (show, load_all + show)
    )
    assert first == second
