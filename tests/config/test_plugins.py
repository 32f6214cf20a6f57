"""Plug-ins by file name, by module and by entry point; only what a Config needs is run."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from mmkd.config import plugins
from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.config.schema import json_schema

Write = Callable[..., Path]

CONFIG = """\
from typing import Literal
from mmkd.config.plugin_base import TaskLossConfig
class Config(TaskLossConfig):
    kind: str
    margin: float = 1.0
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "my_lab"
    folder.mkdir()
    (folder / "__init__.py").write_text("", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    plugins.config_class.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


def test_a_module_of_one_s_own(lab: Path, write: Write) -> None:
    (lab / "hinge.py").write_text("import not_installed_at_all\n" + CONFIG, "utf-8")  # not needed by Config
    experiment = load(write(), ["losses.ner.kind=my_lab.hinge", "losses.ner.task=ner", "losses.ner.margin=2"])
    assert experiment.losses["ner"].margin == 2
    with pytest.raises(ConfigError, match=r"unknown key `magin`; .*did you mean `margin`"):
        load(write(), ["losses.ner.kind=my_lab.hinge", "losses.ner.task=ner", "losses.ner.magin=2"])


@pytest.mark.parametrize(
    ("name", "head", "error"),
    [
        ("import_error", "import not_installed_at_all\nBASE = not_installed_at_all.Base\n", ModuleNotFoundError),
        ("key_error", "BASE = {}['gone']\n", KeyError),
        ("type_error", "BASE = len(3)\n", TypeError),
    ],
)
def test_an_error_inside_a_plug_in_surfaces_as_itself(
    lab: Path, write: Write, name: str, head: str, error: type[Exception]
) -> None:
    (lab / f"broken_{name}.py").write_text(f"{head}{CONFIG}    limit: float = BASE\n", "utf-8")
    with pytest.raises(error):
        load(write(), [f"losses.ner.kind=my_lab.broken_{name}", "losses.ner.task=ner"])


@pytest.mark.parametrize(("line", "error"), [("{}['gone']", KeyError), ("import gone", ModuleNotFoundError)])
def test_an_error_inside_the_plug_in_s_package_surfaces_as_itself(
    lab: Path, write: Write, line: str, error: type[Exception]
) -> None:
    (lab / "inner").mkdir()
    (lab / "inner" / "__init__.py").write_text(f"{line}\n", "utf-8")
    with pytest.raises(error, match="gone"):
        load(write(), ["losses.ner.kind=my_lab.inner.hinge", "losses.ner.task=ner"])


@pytest.mark.parametrize(
    "kind", ["my_lab.absent", "my_lab.hinge.deeper", ".hinge", "a..b", "base", "__init__", "_math"]
)
def test_what_is_no_plug_in_is_unknown(lab: Path, kind: str) -> None:
    with pytest.raises(plugins.UnknownKind):
        plugins.config_class("losses", kind)


def test_a_config_may_use_what_is_defined_after_it(lab: Path) -> None:
    (lab / "late.py").write_text(
        f"import not_installed_at_all\n{CONFIG}    @property\n    def group(self):\n        return _helper(self)\n"
        "def _helper(config):\n    return PREFIX + config.task\nPREFIX = 'late '\n",
        "utf-8",
    )
    assert plugins.config_class("losses", "my_lab.late")(kind="my_lab.late", task="t").group == "late t"


def test_a_type_without_a_json_schema_is_still_checked(lab: Path, write: Write) -> None:
    (lab / "hooked.py").write_text(f"from typing import Callable\n{CONFIG}    hook: Callable[[int], int]\n", "utf-8")
    with pytest.raises(ConfigError, match=r"losses.ner.hook: found 3; .*callable"):
        load(write(), ["losses.ner.kind=my_lab.hooked", "losses.ner.task=ner", "losses.ner.hook=3"])


def test_a_task_must_say_its_level(lab: Path, write: Write) -> None:
    (lab / "vague.py").write_text(
        "from mmkd.config.plugin_base import TaskConfig\nclass Config(TaskConfig):\n    kind: str\n", "utf-8"
    )
    with pytest.raises(ConfigError, match=r"tasks.ner.kind: `my_lab.vague`: its Config does not set level"):
        load(write(), ["tasks.ner.kind=my_lab.vague"])


def test_entry_points_of_installed_packages_count(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab / "entered.py").write_text(CONFIG, "utf-8")
    entry = EntryPoint("entered", "my_lab.entered", "mmkd.losses")
    there = {"losses": [entry]}
    monkeypatch.setattr(plugins, "_entries", lambda folder, path: EntryPoints(there.get(folder, [])))
    assert "entered" in plugins.kinds("losses")
    assert "entered" not in plugins.kinds("tasks")
    assert plugins.config_class("losses", "entered").__name__ == "Config"
    (branch,) = [one for one in json_schema()["$defs"].values() if one["title"] == "losses: entered"]
    assert branch["properties"]["kind"] == {"const": "entered"}


def test_listing_kinds_names_files_and_leaves_out_helpers() -> None:
    assert {"supervised", "logit_kl", "hint"} <= set(plugins.kinds("losses"))
    assert not {"base", "__init__", "_math"} & set(plugins.kinds("losses"))
