"""The mistakes that need two sections to see, each at the key that is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.config import plugins
from mmkd.config.load import load
from mmkd.config.problems import ConfigError, Problem, dotted

Write = Callable[..., Path]


def mistakes(path: Path, *overrides: str) -> list[Problem]:
    try:
        load(path, overrides)
    except ConfigError as error:
        return error.problems
    return []


SENTIMENT = "losses.vit_sentiment={{kind: {}, teacher: vit, task: sentiment}}"
NER = "losses.bert_ner={{kind: {}, teacher: bert, task: {}}}"
PAIR = "losses.pair={{kind: affinity, text: {}, image: {}}}"
TEXT_START = "student.text={{model: null, start: {{teacher: {}, layers: {}}}}}"
RUN_START = "student={{text: null, image: null, start: {{run: {}, reads: {}}}}}"
IMAGE_START = "student.image={{model: null, start: {{teacher: {}, layers: {}}}, size: {}}}"
SMALL_BERT = "teachers.bert={model: null, architecture: {model_type: bert, num_hidden_layers: 3}, vocabulary: 100}"

# Overrides, and what they make wrong: the key and words of the message.
CASES = [
    (["losses.bert_ner.task=nr"], [("losses.bert_ner.task", "unknown task `nr`; ...sentiment, ner; ...mean `ner`?")]),
    (["losses.ner.task=nerr", "losses.bert_ner.task=sentiment"],
     [("tasks.ner", "no loss trains the head"), ("losses.ner.task", "unknown task `nerr`")]),
    (["teachers.student={kind: hf_text, model: m, tasks: [ner]}"], [("teachers.student", "expected another name")]),
    (["losses.bert_ner.teacher=brt"], [("losses.bert_ner.teacher", "unknown teacher `brt`; ...mean `bert`?")]),
    (["losses.bert_ner.teacher=vit"], [("losses.bert_ner.task", "no head for `ner`; ...teachers.vit.tasks")]),
    (["losses.features.layer=10"], [("losses.features.layer", "`vit` does not keep layer 10; ...(11)")]),
    (["losses.features.teacher=bert", "losses.features.layer=5"],
     [("losses.features.teacher", "`bert` reads text; expected one that reads image")]),
    ([PAIR.format("bert", "bert")], [("losses.pair.image", "`bert` reads text; expected one that reads image")]),
    ([PAIR.format("vit", "vit")], [("losses.pair.text", "`vit` reads image; expected one that reads text")]),
    ([PAIR.format("gone", "vit")], [("losses.pair.text", "unknown teacher `gone`")]),
    (["student.image=null"], [("losses.features.modality", "needs a student that reads image")]),
    ([PAIR.format("bert", "vit"), "losses.features=null", "student.image=null"],
     [("losses.pair", "needs a student that reads image")]),
    (["student.text=null"], [("tasks.ner", "the task is over words; expected a student with `text`")]),
    (["student.text=null", "student.image=null", "losses.features=null"], [("student", "found no encoder")]),
    (["teachers.vit.tasks=[sentiment, sentimnt]"], [("teachers.vit.tasks.1", "did you mean `sentiment`?")]),
    (["teachers.vit.tasks=[sentiment, ner]"], [("teachers.vit.tasks.1", "`ner` is over words")]),
    (["tasks.extra.kind=classify"], [("tasks.extra", "no loss trains the head of this task")]),
    (["losses.ner.weight=0", "losses.bert_ner.weight={kind: linear, from: 0, to: 0}"],
     [("tasks.ner", "no loss trains the head of this task")]),
    (["losses.bert_ner=null", "losses.vit_sentiment=null", "losses.features=null"],
     [("data.notes.train.1", "transfer rows have no labels, and no loss has a teacher")]),
    (["augment={views: null, text: {drop: 0.1}}"], [("augment.views", "no cache holds; expected a number of views")]),
    (["train.live={process: true}"], [("train.live", "the cache speaks in their place...`train.cache: false`")]),
    (["mixing={kind: ratio, shares: {notse: 1}}"],
     [("mixing.shares", "no share for notes"), ("mixing.shares.notse", "did you mean `notes`?")]),
    (["data.notes.tasks={sentment: x}"], [("data.notes.tasks.sentment", "did you mean `sentiment`?")]),
    (["tasks.sentiment.kind=multilabel"],
     [("losses.vit_sentiment.kind", "`logit_kl` reads logits over classes...multilabel...labels...of binary_kl")]),
    (["tasks.sentiment.kind=regress"],
     [("losses.vit_sentiment.kind", "`logit_kl` reads logits over classes...regress...one value...of regression")]),
    ([NER.format("binary_kl", "ner")],
     [("losses.bert_ner.kind", "`binary_kl` reads logits over labels...kind tag...over classes...one of ...logit_kl")]),
    ([SENTIMENT.format("regression")],
     [("losses.vit_sentiment.kind", "`regression` reads logits over one value...kind classify...one of ...logit_kl")]),
    ([SENTIMENT.format("emd")],
     [("losses.vit_sentiment.kind", "`emd` reads classes in their order...kind classify...no order...one of ctkd")]),
    ([NER.format("binary_kl", "nr")],
     [("losses.bert_ner.task", "unknown task `nr`")]),
    ([TEXT_START.format("brt", "[0]")], [("student.text.start.teacher", "unknown teacher `brt`; ...mean `bert`?")]),
    ([TEXT_START.format("vit", "[0]")],
     [("student.text.start.teacher", "`vit` is of the kind timm; expected...a transformers encoder")]),
    ([TEXT_START.format("bert", "[1, 3]"), SMALL_BERT],
     [("student.text.start.layers", "the teacher `bert` has no block 3; expected blocks from 0 to 2")]),
    ([TEXT_START.format("bert", "[2]"), SMALL_BERT], []),
    ([IMAGE_START.format("bert", "[0]", 224)],
     [("student.image.start.teacher", "`bert` is of the kind hf_text; expected...a timm model")]),
    ([IMAGE_START.format("vit", "[0, 4]", 64), "teachers.vit.options={depth: 4}"],
     [("student.image.size", "found 64; the teacher `vit` reads images of 224"),
      ("student.image.start.layers", "the teacher `vit` has no block 4; expected blocks from 0 to 3")]),
    (["losses.sentiment={kind: mutual, task: sentiment}", "losses.vit_sentiment=null"],
     [("tasks.sentiment", "no loss trains the head of this task")]),
    ([RUN_START.format("/gone/seed0", "[text, image]")],
     [("student.start.run", "there is no `/gone/seed0`")]),
    ([RUN_START.format(".", "[image]")],
     [("tasks.ner", "over words; expected a student with `text`")]),
    (["teachers.bert.model=./gone"], [("teachers.bert.model", "there is no `./gone`")]),
    (["student.text.model=/gone/model"], [("student.text.model", "there is no `/gone/model`")]),
    (["student.image.weights=gone.safetensors"], [("student.image.weights", "there is no `gone.safetensors`")]),
    (["teachers.vit.weights=gone.safetensors"], [("teachers.vit.weights", "there is no `gone.safetensors`")]),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "expected"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_what_two_sections_disagree_on(write: Write, overrides: list[str], expected: list[tuple[str, str]]) -> None:
    problems = mistakes(write(), *overrides)
    assert [dotted(problem.path) for problem in problems] == [key for key, _ in expected]
    for problem, (_, words) in zip(problems, expected, strict=True):
        message = problem.message
        for piece in words.split("..."):
            assert piece in message
            message = message.partition(piece)[2]


def test_the_line_is_that_of_the_offending_key(write: Write) -> None:
    (problem,) = mistakes(write({"teacher: vit\n    task: sentiment": "teacher: vit\n    task: ner"}))
    assert (problem.line, dotted(problem.path)) == (26, "losses.vit_sentiment.task")
    (problem,) = mistakes(write({"layer: 11": "weight: 12, layer: 12"}))
    assert dotted(problem.path) == "losses.features.layer"  # and not the weight, which has the same value


def test_a_section_that_is_wrong_by_itself_is_not_blamed_again(write: Write) -> None:
    # bert is wrong, but it is there; the loss that would train `ner` is wrong, but it is there.
    problems = mistakes(write(), "teachers.bert.layers=2", "losses.ner.weight=-1", "losses.bert_ner.task=sentiment")
    assert [dotted(problem.path) for problem in problems] == ["losses.ner.weight", "teachers.bert.layers"]
    # A loss that is wrong may be the one whose teacher speaks on the transfer rows.
    problems = mistakes(write(), "losses.bert_ner=null", "losses.vit_sentiment=null", "losses.features.layer=-1")
    assert [dotted(problem.path) for problem in problems] == ["losses.features.layer"]
    problems = mistakes(write(), "teachers=[]")
    assert [dotted(problem.path) for problem in problems] == ["teachers"]


def test_fresh_views_go_with_live_teachers_or_none(write: Write) -> None:
    fresh = "augment={views: null, text: {drop: 0.1}}"
    assert mistakes(write(), fresh, "train.cache=false") == []
    alone = ("losses.bert_ner=null", "losses.vit_sentiment=null", "losses.features=null", "data.notes.train=[train]")
    assert mistakes(write(), fresh, *alone) == []


def test_live_teachers_may_have_a_process(write: Write) -> None:
    assert mistakes(write(), "train.live={process: true}", "train.cache=false") == []


def test_teachers_that_no_loss_uses_are_allowed(write: Write) -> None:
    assert mistakes(write(), "losses.bert_ner=null") == []


@pytest.mark.parametrize(("task", "loss"), [("multilabel", "binary_kl"), ("regress", "regression")])
def test_a_task_s_own_form_of_logits_is_accepted(write: Write, task: str, loss: str) -> None:
    assert mistakes(write(), f"tasks.sentiment.kind={task}", SENTIMENT.format(loss)) == []


def test_plug_ins_of_one_s_own_need_not_name_a_form(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss reads any form, a task has classes, unless they say so."""
    lab = tmp_path / "form_lab"
    lab.mkdir()
    (lab / "__init__.py").write_text("", "utf-8")
    heads = "from mmkd.config.plugin_base import TaskConfig, TaskLossConfig\n"
    (lab / "loss.py").write_text(f"{heads}class Config(TaskLossConfig):\n    teacher: str\n", "utf-8")
    (lab / "task.py").write_text(f"{heads}class Config(TaskConfig):\n    level = 'example'\n", "utf-8")
    (lab / "labels.py").write_text(f"{heads}class Config(TaskConfig):\n    level = 'example'\n    logits = 'labels'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for kind in ("classify", "multilabel", "regress"):
        assert mistakes(write(), f"tasks.sentiment.kind={kind}", SENTIMENT.format("form_lab.loss")) == []
    assert mistakes(write(), "tasks.sentiment.kind=form_lab.task") == []
    (problem,) = mistakes(write(), "tasks.sentiment.kind=form_lab.labels")
    assert "`sentiment` is of the kind form_lab.labels, with logits over labels" in problem.message
    plugins.config_class.cache_clear()


def test_models_are_looked_for_from_the_working_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write()
    (tmp_path / "models" / "bert").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert mistakes(path, "teachers.bert.model=./models/bert", "student.text.model=models/bert") == []
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MMKD_DATA", str(tmp_path / "models"))
    assert mistakes(path, "student.text.model=bert") == []
    monkeypatch.delenv("MMKD_DATA")
    (problem,) = mistakes(path, "teachers.bert.model=models/bert")  # a hub name by its look, and a folder beside
    assert problem.message.endswith(f"did you mean `{tmp_path}/models/bert`?")
    assert mistakes(path, "teachers.bert.model=google/electra-small") == []
