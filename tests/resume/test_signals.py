"""A run that is asked to stop saves, ends with code 75 and leaves no process; the same command goes on to the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.progress import Progress
from ruamel.yaml import YAML

from mmkd.arrays import file_hash
from mmkd.interrupt import Interrupted, asked, saves_when_asked, stops_when_asked
from mmkd.lease import alone
from mmkd.record import read_record
from mmkd.run import run_experiment
from tiny_project import experiment, make_project, student_alone

LONG = 60.0
"""Seconds after which a test gives up."""


MADE = student_alone(epochs=40, checkpoint={"unit": "epochs", "every": 1})
"""An experiment whose training takes some seconds."""


def project(folder: Path, **changes: Any) -> Path:
    file = make_project(folder)
    with file.open("w") as stream:
        YAML().dump(MADE | changes, stream)
    return file


def start(file: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mmkd", "run", file.name, *options]
    return subprocess.Popen(
        command, cwd=file.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def until(done: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 3 * LONG
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def saved(file: Path, seed: int = 0) -> list[Path]:
    return [p for p in file.parent.glob(f"results/runs/*/seed{seed}/checkpoints/*") if p.name.isdigit()]


def processes_of(group: int) -> list[psutil.Process]:
    """Those of a session that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def none_left(group: int) -> bool:
    """Whether the session ends: the standard library's tracker of resources needs a moment to see that it is alone."""
    end = time.monotonic() + LONG / 6
    while processes_of(group) and time.monotonic() < end:
        time.sleep(0.05)
    return processes_of(group) == []


def result(file: Path, seed: int = 0) -> tuple[str, str, Any]:
    (folder,) = file.parent.glob(f"results/runs/*/seed{seed}")
    history = read_record(folder / "record.json").history
    return file_hash(folder / "student" / "weights.safetensors"), file_hash(folder / "predictions.parquet"), history


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Any]:
    file = project(tmp_path_factory.mktemp("unbroken") / "project")
    run_experiment(experiment(MADE), file, Progress(disable=True), "unbroken", say=lambda line: None)
    return result(file)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_and_the_same_command_ends_it(
    tmp_path: Path, unbroken: tuple[str, str, Any], number: signal.Signals
) -> None:
    file = project(tmp_path / "project")
    process = start(file, "train.workers=1" if number is signal.SIGINT else "train.workers=0")
    until(lambda: saved(file), process)
    # The terminal sends Ctrl-C to all processes of the group, a scheduler sends a signal to the first.
    (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == 75, errors
    assert f"stopped by {number.name}; saved after step" in errors and "Traceback" not in errors
    assert none_left(process.pid)
    step = max(int(place.name) for place in saved(file))
    again = start(file)
    out, errors = again.communicate(timeout=5 * LONG)
    assert again.returncode == 0, errors
    assert f"goes on after step {step}" in out
    assert result(file) == unbroken
    assert saved(file) == []


def test_seeds_in_processes_of_their_own_all_save(tmp_path: Path) -> None:
    file = project(tmp_path / "project", seeds=[0, 1])
    process = start(file, "--jobs", "2")
    until(lambda: saved(file, 0) and saved(file, 1), process)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == 75, errors
    assert "stopped by SIGTERM; saved after step" in errors and "Traceback" not in errors
    assert none_left(process.pid)
    assert saved(file, 0) and saved(file, 1)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    """The first one is noted in a step that does not end; the second ends the process all the same."""
    (tmp_path / "stuck.py").write_text(
        "import time\n"
        "from mmkd.interrupt import saves_when_asked, stops_when_asked\n"
        "with stops_when_asked(), saves_when_asked():\n"
        "    print('in', flush=True)\n"
        "    while True:\n"
        "        time.sleep(0.1)\n"
    )
    command = [sys.executable, str(tmp_path / "stuck.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors


def test_where_nothing_is_saved_the_first_signal_ends_the_work() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="stopped by SIGTERM") as found, stops_when_asked():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert found.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_after_the_last_look_is_not_lost() -> None:
    with pytest.raises(Interrupted), stops_when_asked():
        with saves_when_asked():
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.1)
            assert asked() == "SIGUSR1"
        pytest.fail("it went on")


def test_what_was_asked_is_forgotten_when_nobody_heeds_signals_any_more() -> None:
    """A notebook's next run in the same process was asked nothing."""
    with pytest.raises(Interrupted), stops_when_asked(), saves_when_asked():
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked() == "SIGTERM"
    assert asked() is None


def test_what_was_asked_of_an_earlier_run_is_forgotten() -> None:
    with pytest.raises(Interrupted), stops_when_asked():
        os.kill(os.getpid(), signal.SIGTERM)
    with stops_when_asked():
        assert asked() is None


WRITER = """
import sys, time
from pathlib import Path
from mmkd.errors import MmkdError
from mmkd.lease import only_writer
folder = Path(sys.argv[1])
while not (folder / "go").exists():
    time.sleep(0.01)
try:
    with only_writer(folder, ".seed0.run"):
        with (folder / "written").open("a") as file:
            file.write("one\\n")
        while not (folder / "end").exists():
            time.sleep(0.01)
except MmkdError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_of_twenty_starts_at_once_one_writes_and_nineteen_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(20)]
    (tmp_path / "go").touch()
    end = time.monotonic() + 3 * LONG
    while sum(each.poll() is not None for each in starts) < 19:
        assert time.monotonic() < end
        time.sleep(0.05)
    (tmp_path / "end").touch()
    said = [each.communicate(timeout=LONG)[0] for each in starts]
    assert sorted(each.returncode for each in starts) == [0] + 19 * [4]
    assert (tmp_path / "written").read_text() == "one\n"
    writer = next(each.pid for each in starts if each.returncode == 0)
    assert all(f"process {writer} on " in text for text in said if text)
    assert json.dumps(said).count("holds it; wait until it has ended") == 19


def test_a_forked_process_does_not_keep_the_lease_of_one_that_is_gone(tmp_path: Path) -> None:
    """Processes that read data live on for some seconds when the run is killed."""
    holds = (
        "import os, sys, time; from pathlib import Path; from mmkd.lease import only_writer\n"
        "with only_writer(Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n"
        "        print('forked', flush=True); time.sleep(60); os._exit(0)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "forked\n"
    with alone(tmp_path) as held:
        assert not held
    process.kill()
    process.wait(timeout=LONG)
    with alone(tmp_path) as held:
        found = held
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    assert found


def test_a_run_whose_folder_another_process_writes_is_refused(tmp_path: Path) -> None:
    file = project(tmp_path / "project")
    first = start(file, "train.epochs=10000")
    until(lambda: saved(file), first)
    second = start(file, "train.epochs=10000")
    _, errors = second.communicate(timeout=LONG)
    first.kill()
    first.communicate(timeout=LONG)
    assert second.returncode == 4, errors
    assert f"process {first.pid} on " in errors and "Traceback" not in errors
