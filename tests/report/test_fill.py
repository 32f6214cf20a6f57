"""The commands that fill tables, and how they are run; the whole way, with a real run, is in tests/test_cli.py."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.interrupt import Interrupted
from mmkd.record import RunRecord
from mmkd.report.fill import filling_commands, run_command
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile

MakeRecord = Callable[..., RunRecord]

FAKE = """\
import pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path("saved").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
if sys.argv[1] == "fail":
    sys.exit(3)
pathlib.Path("ready").write_text(" ".join(sys.argv[1:]))
while sys.argv[1] == "wait":
    time.sleep(0.01)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder in which `python -m mmkd` is something else."""
    (tmp_path / "mmkd").mkdir()
    (tmp_path / "mmkd" / "__main__.py").write_text(FAKE, "utf-8")
    return tmp_path


def table(name: str, records: list[RunRecord], seeds: list[int]) -> Table:
    rows = {
        "text": {"experiment": "quickstart", "role": "teacher", "teacher": "text"},
        "alone": {"experiment": "alone"},
        "distilled": {"experiment": "quickstart"},
        "best": {"experiment": "quickstart", "ceiling": "both"},
    }
    columns = {"NER": {"score": "ner.entity_f1"}, "risk": {"score": "risk.qwk"}, "size": {"value": "parameters"}}
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": columns, "seeds": seeds})
    return build_table(records, file, name)


def test_each_command_once_with_all_that_it_fills(make_record: MakeRecord) -> None:
    """Of the records that are there, no command gives the score of `risk`, or a ceiling."""
    records = [make_record(seed=0), make_record(teacher="text")]
    tables = [table("main", records, [0]), table("more", records, [0, 1])]
    assert filling_commands(tables) == {
        "mmkd run experiments/alone.yaml 'seeds=[0]'": ["table main, row alone"],
        "mmkd run experiments/alone.yaml 'seeds=[0,1]'": ["table more, row alone"],
        "mmkd run experiments/quickstart.yaml 'seeds=[1]'": ["table more, row distilled"],
    }
    whole = [*records, *(make_record(name, seed) for name, seed in (("alone", 0), ("alone", 1), ("quickstart", 1)))]
    assert filling_commands([table("more", whole, [0, 1])]) == {}


def test_a_command_runs_in_the_projects_folder(root: Path) -> None:
    assert run_command("mmkd run a.yaml 'seeds=[1]'", root) == 0
    assert (root / "ready").read_text("utf-8") == "run a.yaml seeds=[1]"
    assert run_command("mmkd fail", root) == 3


def test_a_signal_is_passed_on_and_the_run_saves(root: Path) -> None:
    def ask() -> None:
        while not (root / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Interrupted):
        run_command("mmkd wait", root)
    asking.join()
    assert (root / "saved").exists()
