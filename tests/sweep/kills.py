"""A sweep whose processes are killed at random: `python tests/sweep/kills.py FOLDER [DRIVERS WORKERS NODES [SEED]]`.

The sweep is run once unbroken, on this machine's own cluster. Then it is run on a cluster of a head and two nodes, and
its driver, its workers and its nodes are killed (SIGKILL) at random moments, so many times each; a killed driver is
started again at once. Every trial must have ended once, with the same values, scores, weights and winner.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import ray
from ray.cluster_utils import Cluster

from mmkd.record import read_record
from mmkd.sweep.journal import read_journal
from mmkd.sweep.trials import trials_of
from tiny_project import make_project, plain_experiment

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "RAY_AUTH_TOKEN"
SWEEP = """\
experiment: ../tiny.yaml
trials: 24
search: {kind: optuna, startup: 6, ahead: 4}
stop_early: {kind: asha, grace_epochs: 2, reduction: 2}
retry: {lost: 100}
space:
  losses.words.weight: {log_uniform: [0.1, 10]}
  train.lr: {log_uniform: [1e-4, 1e-1]}
  weighting.kind: {choice: [fixed, uncertainty]}
  weighting.bound: {uniform: [0.5, 2], when: {weighting.kind: uncertainty}}
"""
COMMAND = [sys.executable, "-m", "mmkd", "sweep", "sweeps/small.yaml"]


def project(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "sweeps").mkdir(parents=True)
    make_project(folder)
    plain = plain_experiment()
    plain["data"]["market_notes"]["options"] |= {"train": 64, "transfer": 64}
    plain["train"] |= {"epochs": 8, "checkpoint": {"unit": "steps", "every": 3}, "preflight": False}
    (folder / "tiny.yaml").write_text(json.dumps(plain), "utf-8")
    (folder / "sweeps" / "small.yaml").write_text(SWEEP, "utf-8")
    return folder


def start(folder: Path, address: str | None) -> subprocess.Popen:
    more = [] if address is None else ["--address", address]
    with (folder / "said.txt").open("a") as said:
        return subprocess.Popen(
            [*COMMAND, *more],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=said,
            stderr=said,
        )


def run_of(folder: Path) -> Path:
    (found,) = folder.glob("results/sweeps/*/run*")
    return found


def result(folder: Path) -> dict[str, Any]:
    """All that must be the same: trials as the journal tells them, and what their records say."""
    run = run_of(folder)
    found: dict[str, Any] = {}
    for number, trial in trials_of(read_journal(run / "journal.jsonl")).items():
        record = read_record(run / "trials" / f"{number:04}" / "seed0" / "record.json")
        scores = [seed.objectives for seed in trial.seeds]
        found[str(number)] = [trial.values, trial.rungs, trial.status, trial.curve, scores, record.weights]
        found[f"{number} history"] = [{**entry, "seconds": 0} for entry in record.history]
    winner = (run / "winner.yaml").read_text("utf-8").replace(str(folder), "")
    found["winner"] = [line for line in winner.splitlines() if "mmkd run" not in line]
    return found


def workers() -> list[psutil.Process]:
    """Processes in which trials of this cluster run, by its token: another sweep on the machine is left alone."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            runs = line.startswith("ray::ImplicitFunc") and process.status() != psutil.STATUS_ZOMBIE
            if runs and process.environ().get(TOKEN) == os.environ[TOKEN]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def main(folder: Path, drivers: int = 20, others: int = 10, nodes: int = 5, seed: int = 0) -> int:
    os.environ[TOKEN] = secrets.token_hex(32)  # of the cluster, and of who comes to it
    draws = random.Random(seed)
    whole = project(folder / "whole")
    began = time.time()
    assert start(whole, None).wait() == 0, (whole / "said.txt").read_text()
    print(f"unbroken: {time.time() - began:.0f} s", flush=True)
    broken = project(folder / "broken")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    added = [cluster.add_node(num_cpus=1) for _ in range(2)]
    left = ["driver"] * drivers + ["worker"] * others + ["node"] * nodes
    draws.shuffle(left)
    begun, orphans, starts = time.time(), 0, 1
    driver = start(broken, cluster.address)
    try:
        while True:
            wait = draws.uniform(4, 30)
            until = time.time() + wait
            while time.time() < until and driver.poll() is None:
                time.sleep(0.05)
            if driver.poll() is not None:
                if driver.returncode == 0 and not left:
                    break
                if driver.returncode != 0:
                    print(f"the driver ended with {driver.returncode}", flush=True)
                    return 1
                print(f"ended with {len(left)} kills left: {left}", flush=True)
                break
            kind = left.pop() if left else None
            if kind == "driver":
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                driver = start(broken, cluster.address)
                starts += 1
                orphans += len(workers())
            elif kind == "worker":
                if alive := workers():
                    draws.choice(alive).kill()
                else:
                    left.insert(0, kind)
            elif kind == "node":
                node = added.pop(draws.randrange(len(added)))
                cluster.remove_node(node, allow_graceful=False)
                added.append(cluster.add_node(num_cpus=1))
        seconds = time.time() - begun
        print(f"broken: {seconds:.0f} s, {starts} starts, {orphans} workers lived on at a start", flush=True)
    finally:
        if driver.poll() is None:
            driver.kill()
        ray.shutdown()
        cluster.shutdown()
    expected, found = result(whole), result(broken)
    different = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
    events = read_journal(run_of(broken) / "journal.jsonl")
    ends = sorted(event["trial"] for event in events if event["event"] == "ended")
    reasons = [event["reason"] for event in events if event["event"] == "broke off"]
    time.sleep(3)
    remaining = [each.cmdline() for each in workers()]
    print(f"{len(set(ends))} of 24 trials, {len(ends) - len(set(ends))} twice; {len(reasons)} attempts broke off")
    print(f"different: {different}; processes left: {remaining}; kills not used: {len(left)}")
    return int(bool(different or remaining or left or ends != list(range(24))))


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[2:]]
    sys.exit(main(Path(sys.argv[1]).resolve(), *numbers))
