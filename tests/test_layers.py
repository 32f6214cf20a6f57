"""The import rule: each part imports only from those before it, plug-ins never import one another."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mmkd"

LAYERS = (
    *(
        "errors",
        "disk",
        "interrupt",
        "lease",
        "secrets",
        "config",
        "record",
        "openings",
        "places",
        "arrays",
        "types",
        "pretrained",
        "data",
        "show",
        "tasks",
        "encoders",
        "heads",
        "checkpoint",
        "checkpoints",
        "lora",
        "student",
        "teachers",
        "cache",
        "losses",
    ),
    *("weighting", "environment", "looks", "mixup", "objective", "adversarial", "passes"),
    *("diagnostics", "changing", "averaging", "sums", "learning"),
    *("evaluate", "lessons", "processes", "calls", "culprit", "finite", "keeper"),
    *("watch", "tracking", "train", "workspace", "teacher_identity", "teach", "preflight", "speakers", "plan"),
    *(
        "report",
        "write_up",
        "continuing",
        "staging",
        "teacher_record",
        "ready",
        "seed",
        "run",
        "soup",
        "verify",
        "deep_check",
    ),
    *("sweep", "study", "api"),
    *("cli_tools", "cli_data", "cli_cache", "cli_sweep", "cli_report", "cli_study", "cli", "__main__"),
)
PLUGINS = {
    "data": {"base", "card", "findings"},
    "tasks": {"base"},
    "teachers": {"base"},
    "losses": {"base"},
    "weighting": {"base"},
}
"""Folders of plug-ins, and what their plug-ins may import of them beside their underscore helpers."""

ONLY_IN = {
    "transformers": ("pretrained.py", "data/tokens.py", "encoders/", "teachers/"),
    "timm": ("data/augment_image.py", "encoders/", "teachers/"),
    "ray": ("sweep/tuner.py", "sweep/together.py"),
}
WITHOUT_TORCH = (
    *("mmkd", "mmkd.config.load", "mmkd.config.check", "mmkd.config.plugins", "mmkd.config.schema", "mmkd.record"),
    "mmkd.secrets",
    *("mmkd.openings", "mmkd.data.sealed"),
    *("mmkd.places", "mmkd.arrays", "mmkd.data.base", "mmkd.data.card", "mmkd.data.cards", "mmkd.data.jsonl"),
    *("mmkd.data.dataset", "mmkd.data.conll", "mmkd.data.csv", "mmkd.data.json", "mmkd.data.lines"),
    *("mmkd.data.parquet", "mmkd.data.integrity", "mmkd.data.masking", "mmkd.data.croissant", "mmkd.data.new_card"),
    *("mmkd.data.hf_datasets", "mmkd.data.image_folder", "mmkd.data.propaganda", "mmkd.data.sroie", "mmkd.cli_data"),
    *("mmkd.cli_cache", "mmkd.cache.build", "mmkd.cache.catalogue"),
    *("mmkd.show.contact_sheet", "mmkd.show.statistics", "mmkd.show.statistics_page"),
    *("mmkd.data.market_notes", "mmkd.report.tables", "mmkd.report.keep", "mmkd.report.show"),
    *("mmkd.report.verification", "mmkd.report.figures.write"),
    *("mmkd.report.page.write", "mmkd.cli_report"),
    "mmkd.plan.show",
    *("mmkd.sweep.journal", "mmkd.sweep.trials", "mmkd.sweep.space", "mmkd.sweep.ranking", "mmkd.sweep.show"),
    "mmkd.sweep.look",
)


def violations(package: Path) -> list[str]:
    """Every import of the package that breaks a rule, as `file:line: what`."""
    return [found for path in sorted(package.rglob("*.py")) for found in violations_of(path, package)]


def violations_of(path: Path, package: Path) -> list[str]:
    """Those of one file."""
    file = path.relative_to(package)
    return [
        f"{file}:{line}: {message}"
        for line, name in imports(path, package)
        for message in judge(file, name.split("."), package)
    ]


def imports(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports anywhere, inside functions and TYPE_CHECKING too."""
    here = (package.name, *path.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(here[: len(here) + 1 - node.level]) if node.level else ""
            module = ".".join(filter(None, (start, node.module)))
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def judge(file: Path, name: list[str], package: Path) -> Iterator[str]:
    """What is wrong with this file importing this name."""
    own = file.with_suffix("").parts
    if name[0] in ONLY_IN:
        if not any(file.as_posix().startswith(place) for place in ONLY_IN[name[0]]):
            yield f"imports {name[0]}, which belongs in {', '.join(ONLY_IN[name[0]])}"
        return
    if name[0] != package.name or own == ("__init__",):
        return
    unplaced = [part for part in (own[0], name[1]) if part not in LAYERS]
    if unplaced:
        yield f"{unplaced[0]} has no place among the layers of this test"
    elif LAYERS.index(name[1]) > LAYERS.index(own[0]):
        yield f"imports {name[1]}, which comes after {own[0]}"
    elif name[1] in PLUGINS and len(name) > 2 and is_plugin(package / name[1] / f"{name[2]}.py"):
        yield f"imports the plug-in {name[1]}.{name[2]}, which only its kind may name"
    elif is_plugin(package / file) and name[1] == own[0] and not is_helper(name):
        yield f"imports {own[0]}.{name[2]}; a plug-in may import the base and underscore helpers of its folder"


def is_helper(name: list[str]) -> bool:
    """Whether a plug-in of this folder may import this name of it."""
    return name[2] in PLUGINS[name[1]] or name[2].startswith("_")


def is_plugin(path: Path) -> bool:
    """Whether the file defines a class `Config` (as `mmkd.config.plugins` tells kinds from other files)."""
    return path.is_file() and re.search(r"^class Config\b", path.read_text("utf-8"), re.MULTILINE) is not None


def test_the_package_keeps_the_rule():
    assert violations(PACKAGE) == []


def test_every_file_is_judged():
    judged = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert judged == set(LAYERS)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "mmkd", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "mmkd"


PLUGIN = "\n\nclass Config:\n    pass\n"


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("losses/bad.py", "from mmkd.train import train" + PLUGIN, "1: imports train, which comes after losses"),
        ("losses/bad.py", "def f():\n    from mmkd import train", "2: imports train, which comes after losses"),
        ("losses/bad.py", "if TYPE_CHECKING:\n    import mmkd.train", "2: imports train, which comes after losses"),
        ("losses/bad.py", "from .. import train", "1: imports train, which comes after losses"),
        ("losses/bad.py", "from ..train import mix", "1: imports train, which comes after losses"),
        (
            "losses/bad.py",
            "from mmkd.losses.logit_kl import logit_kl" + PLUGIN,
            "1: imports the plug-in losses.logit_kl, which only its kind may name",
        ),
        (
            "losses/bad.py",
            "from . import hint",
            "1: imports the plug-in losses.hint, which only its kind may name",
        ),
        (
            "data/bad.py",
            "from mmkd.data import corpus" + PLUGIN,
            "1: imports data.corpus; a plug-in may import the base and underscore helpers of its folder",
        ),
        ("tasks/bad.py", "import ray", "1: imports ray, which belongs in sweep/tuner.py, sweep/together.py"),
        (
            "tasks/bad.py",
            "from ray.tune import Tuner",
            "1: imports ray, which belongs in sweep/tuner.py, sweep/together.py",
        ),
        (
            "student/bad.py",
            "import timm",
            "1: imports timm, which belongs in data/augment_image.py, encoders/, teachers/",
        ),
        (
            "data/bad.py",
            "def f():\n    from transformers import AutoTokenizer",
            "2: imports transformers, which belongs in pretrained.py, data/tokens.py, encoders/, teachers/",
        ),
        ("serve.py", "from mmkd import run", "1: serve has no place among the layers of this test"),
    ],
)
def test_a_broken_rule_is_reported(copied: Path, file: str, text: str, expected: str):
    (copied / file).write_text(text, "utf-8")
    assert violations_of(copied / file, copied) == [f"{file}:{expected}"]


def test_in_a_whole_tree_the_broken_rules_are_reported_and_nothing_else(copied: Path):
    (copied / "losses" / "bad.py").write_text("from mmkd.train import train" + PLUGIN, "utf-8")
    (copied / "data" / "worse.py").write_text("from mmkd.data.jsonl import Source" + PLUGIN, "utf-8")
    (copied / "tasks" / "wrong.py").write_text("import ray" + PLUGIN, "utf-8")
    assert violations(copied) == [
        "data/worse.py:1: imports the plug-in data.jsonl, which only its kind may name",
        "losses/bad.py:1: imports train, which comes after losses",
        "tasks/wrong.py:1: imports ray, which belongs in sweep/tuner.py, sweep/together.py",
    ]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("losses/good.py", "from mmkd.losses import _math, base\nfrom mmkd.losses.base import Loss" + PLUGIN),
        ("data/good.py", "from mmkd.data.card import Card\nfrom . import base, _files" + PLUGIN),
        ("train.py", "from mmkd.types import Batch\nimport mmkd.config.experiment"),
        ("report/good.py", "from mmkd.report.table import Table"),
        ("teachers/good.py", "import timm\nimport transformers" + PLUGIN),
        ("sweep/tuner.py", "from ray import tune"),
    ],
)
def test_what_the_rule_allows(copied: Path, file: str, text: str):
    (copied / file).write_text(text, "utf-8")
    assert violations_of(copied / file, copied) == []


SCRIPT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "torch" in sys.modules:
        print(name)
        break
"""


def first_with_torch(*names: str) -> str:
    """The first of these modules whose import brings torch; empty when none does."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names], cwd=PACKAGE.parent, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def test_what_needs_no_torch_does_not_import_it():
    assert first_with_torch(*WITHOUT_TORCH) == ""


def test_the_check_for_torch_can_fail():
    assert first_with_torch("mmkd.record", "mmkd.types", "mmkd.report.tables") == "mmkd.types"
