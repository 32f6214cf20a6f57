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
PREFIX = "student.adapt.{}={{kind: prefix, tokens: 4}}"
IMAGE_START = "student.image={{model: null, start: {{teacher: {}, layers: {}}}, size: {}}}"
SCORES = "losses.scores={{kind: tinybert_attention, teacher: bert, modality: text, pairs: [[{}, 1]]}}"
SMALL_STUDENT = "student.text={model: null, architecture: {model_type: bert, num_hidden_layers: 2}, vocabulary: 100}"
BERT_OF_3 = "teachers.bert={model: null, architecture: {model_type: bert, num_hidden_layers: 3}, vocabulary: 100}"
SMALL_BERT = f"{BERT_OF_3[:-1]}, layers: [2]}}"

# Overrides, and what they make wrong: the key and words of the message.
CASES = [
    (["losses.bert_ner.task=nr"], [("losses.bert_ner.task", "unknown task `nr`; ...sentiment, ner; ...mean `ner`?")]),
    (["losses.ner.task=nerr", "losses.bert_ner.task=sentiment"],
     [("tasks.ner", "no loss trains the head"), ("losses.ner.task", "unknown task `nerr`")]),
    (["teachers.student={kind: hf_text, model: m, tasks: [ner]}"], [("teachers.student", "expected another name")]),
    (["losses.bert_ner.teacher=brt"], [("losses.bert_ner.teacher", "unknown teacher `brt`; ...mean `bert`?")]),
    (["losses.bert_ner.teacher=vit"], [("losses.bert_ner.task", "no head for `ner`; ...teachers.vit.tasks")]),
    (["losses.features.layer=10"], [("losses.features.layer", "`vit` does not keep layer 10; ...(11)")]),
    (["losses.features.layer=blocks.3.mlp"], [("losses.features.layer", "keep layer blocks.3.mlp; ...vit.layers")]),
    ([SCORES.format(5), SMALL_BERT], [("losses.scores", "`bert` does not keep layer 1.key; ...teachers.bert.layers"),
                                      ("losses.scores", "`bert` does not keep layer 1.query")]),
    ([BERT_OF_3, "teachers.bert.layers=[3, 3.query, embedding]"],
     [("teachers.bert.layers.0", "no layer 3; expected blocks from 0 to 2"),
      ("teachers.bert.layers.1", "no layer 3.query")]),
    ([SCORES.format(2), BERT_OF_3, "teachers.bert.layers=[1.query, 1.key]", SMALL_STUDENT],
     [("losses.scores.pairs.0.0", "the student has no layer 2.key; expected blocks from 0 to 1"),
      ("losses.scores.pairs.0.0", "the student has no layer 2.query")]),
    (["losses.features.student_layer=embedding", "student.image={model: null, pixels: {}}"],
     [("losses.features.student_layer", "no layer embedding; `student.image.pixels` has the layer 0 alone")]),
    (["losses.features.teacher=bert", "losses.features.layer=5"],
     [("losses.features.teacher", "`bert` reads text; expected one that reads image")]),
    ([PAIR.format("bert", "bert")], [("losses.pair.image", "`bert` reads text; expected one that reads image")]),
    ([PAIR.format("vit", "vit")], [("losses.pair.text", "`vit` reads image; expected one that reads text")]),
    ([PAIR.format("gone", "vit")], [("losses.pair.text", "unknown teacher `gone`")]),
    (["losses.head={kind: srrl, teacher: api, task: sentiment}",
      "teachers.api={kind: precomputed, file: ., tasks: [sentiment], labels: {sentiment: [a]}}"],
     [("losses.head.teacher", "of the kind precomputed, which has no head...hf_multimodal, hf_text, run, timm")]),
    (["losses.head={kind: srrl, teacher: both, task: sentiment}",
      "teachers.both={kind: ensemble, members: {bert: 1.0, vit: 1.0}, tasks: [sentiment]}"],
     [("losses.head.teacher", "of the kind ensemble, which has no head that can be taken")]),
    (["losses.head={kind: srrl, teacher: bert, task: ner}"],
     [("losses.head.task", "`ner` is over words; expected a task over examples")]),
    (["losses.head={kind: srrl, teacher: vit, task: sentiment}", "train.cache_features={width: 8}"],
     [("train.cache_features", "`losses.head` reads features as the teacher's own head does")]),
    (["student.heads={sentiment: {teacher: vit}}"],
     [("student.heads.sentiment", "no loss teaches the feature that the head of `vit` reads...kind: simkd")]),
    (["student.heads={sentment: {teacher: vit}, ner: {teacher: vt}}"],
     [("student.heads.ner.teacher", "unknown teacher `vt`"), ("student.heads.sentment", "unknown task `sentment`")]),
    (["losses.vit_sentiment={kind: simkd, teacher: vit, task: sentiment}"],
     [("losses.vit_sentiment.kind", "has a head of its own for `sentiment`; ...{sentiment: {teacher: vit}}`")]),
    (["losses.vit_sentiment={kind: simkd, teacher: vit, task: sentiment}",
      "student.heads={sentiment: {teacher: bert}}"],
     [("losses.vit_sentiment.kind", "has that of `bert` for `sentiment`; expected"),
      ("student.heads.sentiment", "no loss teaches the feature that the head of `bert` reads")]),
    (["losses.vit_ner={kind: simkd, teacher: vit, task: ner}", "student.heads={ner: {teacher: vit}}"],
     [("losses.vit_ner.task", "`ner` is over words"),
      ("losses.vit_ner.task", "the teacher `vit` has no head for `ner`")]),
    (["losses.api={kind: simkd, teacher: api, task: sentiment}", "student.heads={sentiment: {teacher: api}}",
      "teachers.api={kind: precomputed, file: ., tasks: [sentiment], labels: {sentiment: [a]}}"],
     [("losses.api.teacher", "of the kind precomputed, which has no head that can be taken from it")]),
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
     [("losses.vit_sentiment.kind", "`emd` reads classes in their order...kind classify...no order...one of c2kd")]),
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
    ([IMAGE_START.format("vit", "[0, 4]", 64), "teachers.vit={options: {depth: 4}, layers: [3]}",
      "losses.features.layer=3"],
     [("student.image.size", "found 64; the teacher `vit` reads images of 224"),
      ("student.image.start.layers", "the teacher `vit` has no block 4; expected blocks from 0 to 3")]),
    (["losses.sentiment={kind: mutual, task: sentiment}", "losses.vit_sentiment=null"],
     [("tasks.sentiment", "no loss trains the head of this task")]),
    ([RUN_START.format("/gone/seed0", "[text, image]")],
     [("student.start.run", "there is no `/gone/seed0`")]),
    ([RUN_START.format(".", "[image]")],
     [("tasks.ner", "over words; expected a student with `text`")]),
    (["train.adversarial={text: 1.0, image: 0.03}", "student.image=null", "losses.features=null"],
     [("train.adversarial.image", "the student reads no image; expected `student.image`, or null")]),
    (["train.adversarial={}"], [("train.adversarial", "expected `text`, `image` or both")]),
    (["train.adversarial={text: 1.0}", "train.compile=true"],
     [("train", "`adversarial.text` moves what a compiled encoder no longer shows")]),
    (["train.adversarial={image: 0.03, steps: 3, step_size: 0.5}", "train.compile=true"], []),
    (["train.mixup={of: pixels}", "student.image=null", "losses.features=null"],
     [("train.mixup.of", "`pixels` mixes images, and the student reads none; expected `features`")]),
    (["train.mixup={of: features}", "student.image=null", "losses.features=null"], []),
    (["train.mixup={}", "train.batch_size=1"], [("train", "expected a `batch_size` above 1")]),
    (["train.mixup={}", "tasks.sentiment=null", "losses.sentiment=null", "losses.vit_sentiment=null",
      "teachers.bert.tasks=[ner]", "teachers.vit.tasks=[]"],
     [("train.mixup", "every task is over words, which cannot be mixed; expected a task over examples")]),
    (["losses.features={kind: masked_feature, teacher: vit, modality: image}"], []),
    (["losses.features={kind: masked_feature, teacher: bert, modality: image}"],
     [("losses.features.teacher", "`bert` reads text; expected one that reads image")]),
    (["teachers.bert.model=./gone"], [("teachers.bert.model", "there is no `./gone`")]),
    (["student.text.model=/gone/model"], [("student.text.model", "there is no `/gone/model`")]),
    (["student.image=null", "losses.features=null", "student.adapt.image={kind: lora, targets: [qkv]}"],
     [("student.adapt.image", "does not read image; expected `student.image`")]),
    (["student.text={model: null, bag: {width: 8}, vocabulary: 90}", PREFIX.format("text")],
     [("student.adapt.text", "is of the kind `bag`; expected a transformers encoder")]),
    (["student.image={model: null, pixels: {width: 8}}", "student.adapt.image={kind: lora, targets: [qkv]}"],
     [("student.adapt.image", "is of the kind `pixels`; expected a timm model")]),
    ([PREFIX.format("image")], [("student.adapt.image", "as `kind`; expected one of lora, adapter")]),
    (["student.adapt.text={kind: lora}"], [("student.adapt.text.targets", "missing")]),
    (["student.adapt.text={kind: adapter, targets: []}"], [("student.adapt.text.targets", "at least 1")]),
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
