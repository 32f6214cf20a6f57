"""One of two processes that train one student, with a term that is NaN on one row.

`python -m lab.one_that_fails FOLDER`
Prints, as JSON, the weights' sha256, the steps left out, what was said, and how the run ends that stops at it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from mmkd.checkpoint import weights_hash
from mmkd.objective import NonFinite
from mmkd.train import train
from test_finite import SETTINGS, with_term
from test_train import corpus_of, players_of

if __name__ == "__main__":
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    folder = Path(sys.argv[1]) / str(accelerator.process_index)
    corpus, said, stopped = corpus_of(folder), [], ""
    settings = SETTINGS.model_copy(update={"non_finite": "skip"})
    rest = (accelerator, folder / "logs")
    found = train(with_term(players_of(corpus)), lambda _: corpus, corpus, settings, 0, *rest, say=said.append)
    try:
        train(with_term(players_of(corpus)), lambda _: corpus, corpus, SETTINGS, 0, *rest)
    except NonFinite as error:
        stopped = str(error)
    skipped = [entry["skipped_steps"] for entry in found.history]
    print(json.dumps({"weights": weights_hash(found.weights), "skipped": skipped, "said": said, "stopped": stopped}))
    accelerator.end_training()
