"""What the sweep asks of Ray: room for its trials, and nothing that this machine does not have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from test_sweep import SWEEP, environment, mmkd, project_in, run_folder, trials

from mmkd.config.sweep_file import PerTrial
from mmkd.record import read_record
from mmkd.sweep import tuner
from mmkd.sweep.tuner import NoRoom


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    found = {"CPU": 8.0, "GPU": 4.0}
    monkeypatch.setattr(ray, "cluster_resources", lambda: found)
    return found


@pytest.mark.parametrize(
    ("own", "room", "at_once"),
    [
        ({"cpus": 2}, {"CPU": 2, "GPU": 0}, None),
        ({"cpus": 1, "gpus": 0.25}, {"CPU": 1, "GPU": 0.25}, None),
        ({"cpus": 1, "gpus": 1}, {"CPU": 1, "GPU": 1}, None),
        ({"cpus": 2, "gpus": 2}, {"memory": tuner.WAITING}, 2),
        ({"cpus": 3, "processes": 2}, {"memory": tuner.WAITING}, 1),
    ],
)
def test_a_trial_asks_for_what_it_occupies(own: dict, room: dict, at_once: int | None) -> None:
    section = PerTrial.model_validate(own)
    (bundle,) = tuner._room(section).bundles
    assert {name: value for name, value in bundle.items() if value} == {name: v for name, v in room.items() if v}
    assert tuner._at_once(section) == at_once


@pytest.mark.parametrize(("own", "says"), [({"cpus": 9}, "9 CPU"), ({"gpus": 5}, "5 GPU"), ({"processes": 9}, "9 CPU")])
def test_a_trial_that_this_machine_can_never_hold_is_refused_and_a_cluster_may_grow(own: dict, says: str) -> None:
    section = PerTrial.model_validate(own)
    with pytest.raises(NoRoom, match=rf"needs {says}, this machine has [84]"):
        tuner._require_room(section, None)
    tuner._require_room(section, "head:6379")
    tuner._require_room(PerTrial.model_validate({"cpus": 2, "gpus": 4}), None)


@pytest.mark.slow
def test_a_trial_of_two_processes_gives_the_numbers_of_torchrun(tmp_path: Path) -> None:
    folder = project_in(tmp_path)
    text = SWEEP.replace("trials: 3", "trials: 1\nper_trial: {processes: 2}")
    (folder / "sweeps" / "small.yaml").write_text(text, "utf-8")
    done = mmkd(folder, "sweep", "sweeps/small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (trial,) = trials(folder).values()
    record = read_record(run_folder(folder) / "trials" / "0000" / "seed0" / "record.json")
    assert record.machine.processes == 2
    command = next(line for line in done.stdout.splitlines() if line.startswith("torchrun "))
    assert re.search(r"--nproc_per_node 2 -m mmkd run tiny.yaml", command)
    own = command.replace("torchrun", f"{sys.executable} -m torch.distributed.run", 1)
    alone = subprocess.run(["bash", "-c", own], cwd=folder, env=environment(), capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    (path,) = folder.glob("results/runs/tiny-*/seed0/record.json")
    assert read_record(path).selection.value == trial.objectives["validation.mean_score"]
    assert read_record(path).weights == record.weights
