"""One arm in its own process: `python -m benchmarks.measure ARM SAMPLES EPOCHS FOLDER` prints what it found as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.arms import ARMS
from benchmarks.workload import make_workload


def measure(name: str, samples: int, epochs: int, folder: Path) -> dict[str, object]:
    """CPU and wall seconds of each epoch, rows worked on in all, and the process's peak memory in bytes."""
    arm = ARMS[name].build(make_workload(samples), folder)
    marks: list[tuple[float, float]] = []
    rows = arm.run(epochs, lambda: marks.append((time.process_time(), time.perf_counter())))
    steps = list(pairwise(marks))
    return {
        "arm": name,
        "rows": rows,
        "cpu": [after[0] - before[0] for before, after in steps],
        "wall": [after[1] - before[1] for before, after in steps],
        "threads": torch.get_num_threads(),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, samples, epochs, folder = sys.argv[1:]
    found = measure(name, int(samples), int(epochs), Path(folder))
    print(json.dumps(found))
