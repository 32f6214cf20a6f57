"""mmkd's own arms: the loop, teachers and cache that a run uses, on the workload. All contact with mmkd is here."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from benchmarks import workload as work
from benchmarks.workload import Workload
from mmkd.cache.store import Making, cached
from mmkd.checkpoints import Checkpoints
from mmkd.config.checkpoint import Checkpoint
from mmkd.config.encoders import ImageEncoder, TextEncoder
from mmkd.config.experiment import Student as StudentConfig
from mmkd.config.experiment import Train
from mmkd.data.base import Example
from mmkd.data.batches import load, reading_rows
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.encode import DataSplit
from mmkd.data.pixels import ImageReader
from mmkd.data.relabel import same_labels
from mmkd.data.tokens import TextReader
from mmkd.keeper import Keeper
from mmkd.losses import feature, hint, logit_kl, supervised
from mmkd.losses.base import Loss, Setting
from mmkd.objective import Objective, Terms
from mmkd.student.student import Student
from mmkd.tasks import classify, tag
from mmkd.tasks.base import Task
from mmkd.teachers import hf_text, timm
from mmkd.teachers.base import Speaker, Teacher
from mmkd.train import Players, train
from mmkd.weighting import fixed

BERT = {"model_type": "bert", "max_position_embeddings": 512, "vocab_size": work.VOCABULARY, "pad_token_id": 0}
BASE = {**BERT, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
SMALL = {**BERT, "hidden_size": 312, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1200}
BATCH = 32
TEACHER_IMAGE, STUDENT_IMAGE = "vit_small_patch16_224", "mobilenetv3_small_100"
CPU = torch.device("cpu")
Mark = Callable[[], None]
"""Called before the first epoch and after each."""


def last_layer() -> int:
    """Number of the text teacher's last layer."""
    return int(BASE["num_hidden_layers"]) - 1


def tasks() -> dict[str, Task]:
    """The three tasks, as classes."""
    numbers = {"sentiment": work.SENTIMENTS, "risk": work.RISKS}
    found: dict[str, Task] = {
        name: classify.Task(classify.Config(), name, [f"{name} {n}" for n in range(count)])
        for name, count in numbers.items()
    }
    kinds = [f"{place}-{kind}" for kind in ("A", "C", "D", "E") for place in "BI"]
    return {**found, "ner": tag.Task(tag.Config(), "ner", ["O", *kinds])}


class Pairs:
    """The workload as rows of a data set."""

    def __init__(self, workload: Workload) -> None:
        """workload: whose words are named after their ids, so that each is one sub-token."""
        self._workload = workload

    def read(self, split: str) -> Iterator[Example]:
        """All pairs; of `validation` four, which is as little evaluation as can be."""
        own = self._workload
        for row in range(len(own) if split == "train" else 4):
            words = tuple(f"w{number}" for number in own.ids[row][1:-1])
            labels = {
                "sentiment": int(own.sentiment[row]),
                "risk": int(own.risk[row]),
                "ner": tuple(int(each) for each in own.ner[row][1:-1]),
            }
            yield Example(f"{split}/{row}", words, partial(_bitmap, own.images[row]), labels)

    def fingerprint(self, split: str) -> str:
        """Stands for the rows: an arm has a folder of its own, so nothing else is ever found there."""
        return f"{split} of {len(self._workload)}"


def _bitmap(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "BMP")
    return stream.getvalue()


def reader() -> TextReader:
    """Reads the word `w1234` as the sub-token 1234."""
    vocabulary = {f"w{number}": number for number in range(work.VOCABULARY)}
    special = {"[PAD]": work.PADDING, "[UNK]": 100, "[CLS]": work.BEGIN, "[SEP]": work.END}
    vocabulary = {word: n for word, n in vocabulary.items() if n not in special.values()} | special
    rules = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    rules.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("[CLS]", work.BEGIN), ("[SEP]", work.END)]
    rules.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return TextReader(PreTrainedTokenizerFast(tokenizer_object=rules, **names), work.LONGEST)


class Ours:
    """A student of mmkd on the workload."""

    def __init__(
        self,
        workload: Workload,
        teaching: str,
        text_only: bool,
        folder: Path,
        diagnose_every: int | None = None,
        saves: bool = False,
    ) -> None:
        """Build everything up to the first step. teaching: `none`, `live` or `cached`.

        diagnose_every: steps between diagnostics, which no peer has. saves: a checkpoint after each epoch.
        text_only: no images and no image teacher. folder: of the encoded data and the cache, shared by arms.
        """
        self._folder, self._diagnose_every, self._saves = folder, diagnose_every, saves
        self._tasks, text = tasks(), reader()
        images = {} if text_only else {"student": ImageReader(work.SIZE), "vit": ImageReader(work.SIZE)}
        uses = {name: same_labels(name, task.config.kind, len(task.labels)) for name, task in self._tasks.items()}
        forms = {name: use.form for name, use in uses.items()}
        source = Pairs(workload)
        splits = {n: DataSplit("pairs", n, source, self._folder / "data", uses) for n in ("train", "validation")}

        def corpus(split: str, *names: str) -> Corpus:
            own = Readers(
                {n: text for n in names if n != "vit"}, {n: images[n] for n in names if n in images and n != "bert"}
            )
            return Corpus([splits[split]], forms, own)

        torch.manual_seed(0)
        self._live = {} if teaching == "none" else self._new_teachers(text, images)
        self._teacher_corpora = {name: corpus("train", name) for name in self._live}
        self._cache = teaching == "cached"
        names = ("student", *self._live) if teaching == "live" else ("student",)
        self._corpus, self._validation = corpus("train", *names), corpus("validation", "student")
        self._shapes = {name: teacher.shape for name, teacher in self._live.items()}
        readers = Readers({"student": text}, {n: images[n] for n in images if n == "student"})
        self._new_student = partial(self._student_of, readers)
        torch.manual_seed(0)
        self._student = self._new_student()
        self._terms = self._new_terms()
        self.first_loss = math.nan
        """Value of the whole objective at the first step, once it was taken."""

    def _student_of(self, readers: Readers) -> Student:
        plain = {
            "text": {"architecture": SMALL, "vocabulary": work.VOCABULARY, "max_tokens": work.LONGEST},
            "image": None if not readers.image else {"model": STUDENT_IMAGE, "size": work.SIZE},
            "width": SMALL["hidden_size"],
            "modality_dropout": 0.0,
        }
        return Student(StudentConfig.model_validate(plain), self._tasks, readers, {})

    def _new_teachers(self, text: TextReader, images: dict[str, ImageReader]) -> dict[str, Teacher]:
        own = TextEncoder(architecture=BASE, vocabulary=work.VOCABULARY, max_tokens=work.LONGEST).model_dump()
        bert = hf_text.Config(**own, tasks=tuple(self._tasks), layers=(last_layer(),))
        found: dict[str, Teacher] = {"bert": hf_text.Teacher(bert, "bert", self._tasks, Readers({"bert": text}, {}))}
        if images:
            seen = ImageEncoder(model=TEACHER_IMAGE, size=work.SIZE).model_dump()
            some = {name: self._tasks[name] for name in ("sentiment", "risk")}
            vit = timm.Config(**seen, tasks=tuple(some))
            found["vit"] = timm.Teacher(vit, "vit", some, Readers({}, {"vit": images["vit"]}))
        for teacher in found.values():
            teacher.freeze()
        return found

    def _cached(self, teacher: Teacher, folder: Path) -> Speaker:
        making = Making(folder=folder, dtype="fp16", device=CPU, say=lambda text: None, progress=lambda a, b: None)
        corpora = [self._teacher_corpora[teacher.name]]
        # The weights are those of one seed, and the folder is the arm's own: its name says all that matters.
        return cached(teacher, {"weights": f"{teacher.name}, seed 0"}, corpora, making, np.random.default_rng(0))

    def _new_terms(self) -> Terms:
        setting = Setting(self._tasks, self._student.shape, self._shapes)
        losses: dict[str, Loss] = {n: supervised.Loss(supervised.Config(task=n), setting) for n in self._tasks}
        for name in self._shapes:
            for task in self._tasks if name == "bert" else ("sentiment", "risk"):
                config = logit_kl.Config(teacher=name, task=task, temperature=2.0)
                losses[f"{name}_{task}"] = logit_kl.Loss(config, setting)
            if name == "bert":
                losses["words"] = hint.Loss(hint.Config(teacher=name, layer=last_layer(), modality="text"), setting)
            else:
                losses["picture"] = feature.Loss(feature.Config(teacher=name, modality="image"), setting)
        return Terms(losses)

    def run(self, epochs: int, mark: Mark) -> int:
        """Train; return the rows trained on. Cached teachers are asked within the first epoch, into a new cache."""

        def note(module: object, inputs: object, objective: Objective) -> None:
            if math.isnan(self.first_loss):
                rest = 0.0 if objective.rest is None else float(objective.rest.detach())
                self.first_loss = rest + sum(float(group.detach()) for group in objective.by_task.values())

        self._terms.register_forward_hook(note)
        with tempfile.TemporaryDirectory(prefix="mmkd-bench-") as folder:
            mark()
            return self._train(self._speakers(Path(folder)), epochs, 0, Path(folder) / "logs", mark)

    def run_seeds(self, seeds: int, epochs: int) -> int:
        """One cache, then a student of each seed; where no teacher is cached, their bare passes and students alone."""
        rows = 0
        with tempfile.TemporaryDirectory(prefix="mmkd-bench-") as folder:
            if not self._cache:
                self.teacher_forward()
                self._live, self._shapes = {}, {}
            speakers = self._speakers(Path(folder))
            for seed in range(seeds):
                torch.manual_seed(seed)
                self._student, self._terms = self._new_student(), self._new_terms()
                rows += self._train(speakers, epochs, seed, Path(folder) / f"logs{seed}", lambda: None)
        return rows

    def _speakers(self, folder: Path) -> dict[str, Speaker]:
        if not self._cache:
            return dict(self._live)
        found = {name: self._cached(teacher, folder) for name, teacher in self._live.items()}
        self._live.clear()  # as in a run, the networks leave the memory
        return found

    def _train(self, speakers: dict[str, Speaker], epochs: int, seed: int, logs: Path, mark: Mark) -> int:
        rows = 0

        def report(entry: dict[str, dict[str, int]]) -> bool:
            nonlocal rows
            rows += sum(entry["rows"].values())
            mark()
            return False

        weighting = fixed.Weighting(fixed.Config(), list(self._tasks))
        players = Players(self._student, speakers, self._terms, weighting, self._tasks)
        threads, every = torch.get_num_threads(), self._diagnose_every
        settings = Train(epochs=epochs, batch_size=BATCH, threads=threads, diagnose_every=every)
        accelerator, keeper = Accelerator(cpu=True), None
        if self._saves:
            checkpoints = Checkpoints(logs.with_name("checkpoints"), {}, print)
            keeper = Keeper(checkpoints, Checkpoint(unit="epochs", every=1), accelerator, print)
        own = (self._validation, settings, seed, accelerator, logs)
        train(players, lambda epoch: self._corpus, *own, report=report, keeper=keeper)
        return rows

    def teacher_forward(self) -> int:
        """The teachers' bare forward passes over all rows, as short as their order can make them; rows per teacher."""
        with torch.no_grad():
            for name, teacher in self._live.items():
                corpus = self._teacher_corpora[name]
                for batch in load(corpus, reading_rows(corpus.words(), 64)):
                    teacher(batch)
        return len(self._corpus)

    def build_cache(self) -> int:
        """The same passes into a new cache, which is compared with the teachers at the end; rows per teacher."""
        with tempfile.TemporaryDirectory(prefix="mmkd-bench-") as folder:
            for teacher in self._live.values():
                self._cached(teacher, Path(folder))
        return len(self._corpus)
