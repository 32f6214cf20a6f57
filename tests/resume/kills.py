"""Runs that are killed at random times: `python tests/resume/kills.py FOLDER [KILLS [NAME...]]`.

Each configuration is run once unbroken. Then it is run again and again in a folder of its own, and each time killed
(SIGKILL), by turns at a random moment of the whole and soon after a random step of those that are left, until it has
been killed KILLS times; the last start runs to its end. Weights, history, scores and predictions must be equal to the
last bit. Of `workers`, every start has another number of reading processes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.progress import Progress

from mmkd.arrays import file_hash
from mmkd.record import read_record
from mmkd.run import run_experiment
from tiny_project import experiment, make_project, plain_experiment, student_alone

Plain = dict[str, Any]


def plain() -> Plain:
    """The student alone."""
    return student_alone(epochs=4)


def taught() -> Plain:
    """Logit and feature distillation from cached teachers."""
    return plain_experiment() | {"seeds": [0]}


def mixed() -> Plain:
    """Two sets in turn, with fresh views of text and image in each epoch."""
    found = student_alone(epochs=4)
    options = {"train": 16, "transfer": 4, "validation": 12, "test": 16, "pixels": 48}
    news = {"card": "market_notes", "options": {**options, "seed": 1, "train": 8}, "tasks": {"ner": "ner"}}
    found["data"] = {"notes": {"card": "market_notes", "options": options}, "news": news}
    found["mixing"] = {"kind": "round_robin", "rows": 24}
    found["augment"] = {"views": None, "text": {"drop": 0.2}, "image": {"flip": 0.5}}
    return found


def accumulated() -> Plain:
    """Three batches a step, averaged weights."""
    return student_alone(epochs=6, batch_size=2, accumulate=3, average={"decay": 0.8})


def remembered() -> Plain:
    """A memory of features and a weighting with a state."""
    found = plain_experiment() | {"seeds": [0], "weighting": {"kind": "gradnorm"}}
    found["losses"]["memory"] = {"kind": "crd", "teacher": "net", "modality": "image", "memory": 16}
    return found


def workers() -> Plain:
    """The student alone, with images, read by another number of processes at each start."""
    return student_alone(epochs=8)


CONFIGURATIONS: dict[str, Callable[[], Plain]] = {
    each.__name__: each for each in (plain, taught, mixed, accumulated, remembered, workers)
}


def settled(make: Callable[[], Plain]) -> Plain:
    """A configuration that saves after each second step."""
    found = make()
    found["train"]["checkpoint"] = {"unit": "steps", "every": 2}
    return found


def started(file: Path, made: Plain, readers: int = 0) -> int:
    """Begin the run, or go on with it, in a process of its own; the id of the process."""
    made["train"]["workers"] = readers
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run_experiment(experiment(made), file, Progress(disable=True), "kills", say=lambda line: None)
        code = 0
    except BaseException as error:
        (file.parent / "error.txt").write_text(repr(error))
    finally:
        os._exit(code)


def ended(child: int, over: Callable[[], bool] = lambda: False) -> int | None:
    """The process's exit code, or None if it was killed because it was over."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if over():
            break
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def saved(root: Path) -> int:
    """The newest step that is saved."""
    found = root.glob("results/runs/*/seed0/checkpoints/*")
    return max((int(path.name) for path in found if path.name.isdigit()), default=0)


def after(seconds: float) -> Callable[[], bool]:
    """Whether they are over."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def soon_after_step(root: Path, last: int, generator: random.Random) -> Callable[[], bool]:
    """Whether one of the steps that are left is saved, and a moment over; never, where none is left."""
    here = saved(root)
    step = generator.randint(here + 1, last) if here < last else last + 1

    def over() -> bool:
        if saved(root) < step:
            return False
        time.sleep(generator.uniform(0, 0.05))
        return True

    return over


def result(root: Path) -> dict[str, Any]:
    """What a run left behind, as far as it must be the same."""
    (folder,) = root.glob("results/runs/*/seed0")
    record = read_record(folder / "record.json")
    return {
        "weights": file_hash(folder / "student" / "weights.safetensors"),
        "predictions": file_hash(folder / "predictions.parquet"),
        "history": record.history,
        "scores": {split: {t: dict(m) for t, m in scores.items()} for split, scores in record.scores.items()},
        "selection": record.selection,
    }


def tried(name: str, folder: Path, kills: int, generator: random.Random) -> dict[str, Any]:
    """One configuration: how often it was killed and where, and what differs from the unbroken run."""
    made = settled(CONFIGURATIONS[name])
    whole, broken = make_project(folder / name / "whole"), make_project(folder / name / "broken")
    begun, last = time.monotonic(), 0

    def watched() -> bool:
        nonlocal last
        last = max(last, saved(whole.parent))
        return False

    assert ended(started(whole, made), watched) == 0, (whole.parent / "error.txt").read_text()
    length = time.monotonic() - begun
    steps: list[int] = []
    done, starts = 0, 0
    while done < kills:
        starts += 1
        readers = generator.choice((0, 1, 2, 4)) if name == "workers" else 0
        aimed = soon_after_step(broken.parent, last, generator) if starts % 2 else after(generator.uniform(0, length))
        code = ended(started(broken, made, readers), aimed)
        if code is None:
            done += 1
            steps.append(saved(broken.parent))
        else:
            assert code == 0, (broken.parent / "error.txt").read_text()
            for run in broken.parent.glob("results/runs"):  # it came to its end: the next kill needs a new run
                different = [key for key, value in result(whole.parent).items() if result(broken.parent)[key] != value]
                assert not different, (name, different)
                run.rename(run.with_name(f"runs-ended-{starts}"))
    assert ended(started(broken, made)) == 0, (broken.parent / "error.txt").read_text()
    expected, found = result(whole.parent), result(broken.parent)
    different = [key for key, value in expected.items() if found[key] != value]
    return {"kills": done, "starts": starts + 1, "steps": last, "saved at the kills": steps, "different": different}


def main(folder: Path, kills: int = 20, *names: str) -> None:
    """The configurations named, or all; a line for each."""
    generator = random.Random(0)
    for name in names or CONFIGURATIONS:
        print(name, json.dumps(tried(name, folder, kills, generator)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20, *sys.argv[3:])
