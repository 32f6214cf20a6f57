"""One of several processes that train one student: `python -m lab.one_of_several FOLDER ROWS [STOP]`.

Its environment says which, as `accelerate launch` does. Writes the weights and the history to FOLDER. STOP: the second
process is asked to stop after so many steps; what was saved then is gone on with at the next start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from mmkd import checkpoint
from mmkd.checkpoints import Checkpoints
from mmkd.config.experiment import Student as StudentConfig
from mmkd.config.experiment import Train
from mmkd.interrupt import Interrupted, saves_when_asked, stops_when_asked
from mmkd.keeper import Keeper
from mmkd.losses import supervised
from mmkd.losses.base import Setting
from mmkd.objective import Terms
from mmkd.student.student import Student
from mmkd.train import Players, Trained, train
from mmkd.weighting import uncertainty
from tiny_project import BERT, IMAGE, TASKS, TEXT, Row, listed_corpus

STEADY = {**TEXT, "architecture": {**BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}}
WORDS = ("Acme", "falls", "shares", "climbs")


def rows_of(number: int) -> list[Row]:
    """Rows of as many words each, so that every share of a batch has as many rows of every task."""
    found = []
    for n in range(number):
        words = [WORDS[(n + k) % 4] for k in range(4)]
        labels = {"mood": n % 3, "risk": n // 3 % 3, "ner": tuple(int(word == "Acme") for word in words)}
        found.append(Row(" ".join(words), 40 * (n % 5), labels))
    return found


def trained(folder: Path, number: int, accelerator: Accelerator, stop: int | None = None) -> Trained:
    """The student after two epochs; without dropout, so that nothing but the shares differs.

    stop: ask the second process to stop after so many steps.
    """
    corpus = listed_corpus(rows_of(number), folder)
    torch.manual_seed(0)
    plain = {"text": STEADY, "image": IMAGE, "width": 8, "dropout": 0.0, "modality_dropout": 0.0}
    student = Student(StudentConfig.model_validate(plain), TASKS, corpus.readers, {})
    setting = Setting(TASKS, student.shape, {})
    terms = Terms({name: supervised.Loss(supervised.Config(task=name), setting) for name in TASKS})
    players = Players(student, {}, terms, uncertainty.Weighting(uncertainty.Config(), list(TASKS)), TASKS)
    settings = Train(epochs=2, batch_size=6, lr=1e-3, accumulate=2)
    checkpoints = Checkpoints(folder / "checkpoints", {}, print)
    keeper = Keeper(checkpoints, settings.checkpoint, accelerator, print)

    def progress(done: int, total: int) -> None:
        if done == stop and accelerator.process_index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    own = (corpus, settings, 0, accelerator, folder / "logs")
    with stops_when_asked(), saves_when_asked():
        return train(players, lambda epoch: corpus, *own, progress=progress, keeper=keeper)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, accelerator = Path(sys.argv[1]), Accelerator(cpu=True)
    try:
        found = trained(folder, int(sys.argv[2]), accelerator, *map(int, sys.argv[3:]))
    except Interrupted as error:
        sys.exit(error.exit_code)
    own = folder / f"process{accelerator.process_index}"
    checkpoint.save(own, found.weights, {})
    (own / "history.json").write_text(json.dumps(found.history), "utf-8")
    accelerator.end_training()
