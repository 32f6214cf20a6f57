"""One arm in its own process: `python -m benchmarks.measure ARM SAMPLES EPOCHS FOLDER` prints what it found as JSON."""

from __future__ import annotations

import json
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.arms import ARMS
from benchmarks.workload import make_workload


def measure(name: str, samples: int, epochs: int, folder: Path) -> dict[str, object]:
    """CPU and wall seconds of each epoch, the most memory that the process held in it, and rows worked on in all."""
    arm = ARMS[name].build(make_workload(samples), folder)
    marks: list[tuple[float, float]] = []
    peaks: list[int] = []

    def mark() -> None:
        peaks.append(peak_since_last())
        marks.append((time.process_time(), time.perf_counter()))

    rows = arm.run(epochs, mark)
    steps = list(pairwise(marks))
    return {
        "arm": name,
        "rows": rows,
        "cpu": [after[0] - before[0] for before, after in steps],
        "wall": [after[1] - before[1] for before, after in steps],
        "threads": torch.get_num_threads(),
        "peak_memory": peaks[1:],
        "first_loss": arm.first_loss,
    }


def peak_since_last() -> int:
    """Most resident bytes since this was last asked (Linux), as the kernel counts them; then the count starts anew."""
    status = Path("/proc/self/status").read_text("ascii")
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    return int(kibibytes) * 1024


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, samples, epochs, folder = sys.argv[1:]
    found = measure(name, int(samples), int(epochs), Path(folder))
    print(json.dumps(found))
