"""Recall of the withheld digit, and errors, before and after its bias is raised; from the stored test predictions.

    python experiments/papers/hinton_bias.py results/runs/hinton_digits_without3-<hash>

The suite has no step after training, and stores predictions of the test rows alone. So the bias is chosen as in the
paper, for the fewest errors on the rows that it is judged on (optimistic), and also on one half for the other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

DIGIT = 3
BIASES = np.arange(-5, 20.01, 0.1)


def errors(logits: np.ndarray, labels: np.ndarray, bias: float) -> np.ndarray:
    """For each row, whether it is wrong when the bias is added to the digit's logit."""
    return (logits + bias * (np.arange(10) == DIGIT)).argmax(1) != labels


def best(logits: np.ndarray, labels: np.ndarray) -> float:
    """The smallest bias with the fewest errors."""
    return float(BIASES[np.argmin([errors(logits, labels, bias).sum() for bias in BIASES])])


def main(run: Path) -> None:
    """Print a line for each seed, then mean and sample standard deviation."""
    lines = []
    for file in sorted(run.glob("seed*/predictions.parquet")):
        rows = parquet.read_table(file).to_pylist()
        logits = np.log(np.maximum([row["probabilities"] for row in rows], 1e-30))
        labels = np.array([row["labels"][0] for row in rows])
        shown, even = labels == DIGIT, np.arange(len(labels)) % 2 == 0
        bias = best(logits, labels)
        halves = np.empty(len(labels), bool)
        for part in (even, ~even):
            halves[part] = errors(logits[part], labels[part], best(logits[~part], labels[~part]))
        line = [bias]
        for wrong in (errors(logits, labels, 0), errors(logits, labels, bias), halves):
            line += [wrong.sum(), 100 * (1 - wrong[shown].mean())]
        lines.append(line)
    table = np.array(lines)
    print(
        "bias | before: errors, recall % | bias of these rows: errors, recall % | of the other half: errors, recall %"
    )
    for name, values in (*enumerate(table), ("mean", table.mean(0)), ("std", table.std(0, ddof=1))):
        print(name, *(f"{value:.1f}" for value in values))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
