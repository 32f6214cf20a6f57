"""Teachers: what they say, and that they are frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmkd.data.corpus import Corpus, Readers
from mmkd.teachers import hf_text, timm
from mmkd.teachers.base import Teacher
from mmkd.types import Outputs
from tiny_project import IMAGE, TASKS, TEXT, everything, listed_corpus, random_rows, same_weights


def corpus_of(folder: Path) -> Corpus:
    return listed_corpus(random_rows(12), folder, "bert", "net", "student")


def text_teacher(corpus: Corpus, **changes: object) -> Teacher:
    torch.manual_seed(0)
    config = hf_text.Config(**{**TEXT, "tasks": ["mood", "ner"], "layers": [0], **changes})
    tasks = {name: TASKS[name] for name in config.tasks}
    return hf_text.Teacher(config, "bert", tasks, Readers({"bert": corpus.readers.text["bert"]}, {}))


def image_teacher(corpus: Corpus, **changes: object) -> Teacher:
    torch.manual_seed(0)
    config = timm.Config(**{**IMAGE, "tasks": ["mood", "risk"], "layers": [1, 3], **changes})
    tasks = {name: TASKS[name] for name in config.tasks}
    return timm.Teacher(config, "net", tasks, Readers({}, {"net": corpus.readers.image["net"]}))


BUILD = pytest.mark.parametrize("build", [text_teacher, image_teacher])


def outputs_of(outputs: Outputs) -> list[torch.Tensor]:
    hidden = [layer.values for layers in outputs.hidden.values() for layer in layers.values()]
    return [*outputs.logits.values(), *outputs.pooled.values(), *hidden]


@BUILD
def test_a_frozen_teacher_neither_learns_nor_changes(tmp_path: Path, build):
    corpus = corpus_of(tmp_path)
    teacher, batch = build(corpus), everything(corpus)
    assert any(tensor.requires_grad for tensor in outputs_of(teacher(batch)))  # before it is frozen
    teacher.freeze()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = torch.nn.Linear(3, 3)
    student.train()
    first = outputs_of(teacher(batch))
    assert not any(tensor.requires_grad for tensor in first)
    loss = (student(teacher(batch).logits["mood"]) ** 2).mean()
    loss.backward()
    torch.optim.SGD([*student.parameters(), *teacher.parameters()], lr=1.0).step()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert same_weights(teacher.state_dict(), before)
    assert all(torch.equal(one, other) for one, other in zip(first, outputs_of(teacher(batch)), strict=True))


@BUILD
def test_the_stated_shape_is_the_shape_of_the_outputs(tmp_path: Path, build):
    corpus = corpus_of(tmp_path)
    teacher = build(corpus)
    outputs = teacher(everything(corpus))
    (modality,) = teacher.shape.pooled
    assert outputs.pooled.keys() == outputs.has.keys() == outputs.hidden.keys() == {modality}
    assert outputs.pooled[modality].shape == (12, teacher.shape.pooled[modality])
    assert outputs.hidden[modality].keys() == teacher.shape.hidden[modality].keys() == set(teacher.config.layers)
    for layer, width in teacher.shape.hidden[modality].items():
        assert outputs.hidden[modality][layer].values.shape[2] == width
    assert teacher.shape.depth == {modality: {"text": 2, "image": 4}[modality]}
    assert teacher.shape.fused is None
    assert outputs.fused is None


def test_a_text_teacher_speaks_where_there_is_text(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    batch = everything(corpus)
    outputs = text_teacher(corpus)(batch)
    assert torch.equal(outputs.speaks, batch.has_text)
    assert torch.equal(outputs.words, batch.word_mask)
    assert outputs.logits["mood"].shape == (12, 3)
    assert outputs.logits["ner"].shape == (*batch.word_mask.shape, 3)


def test_a_text_teacher_is_silent_about_words_that_its_tokenizer_cut(tmp_path: Path):
    corpus = listed_corpus(random_rows(12), tmp_path, "bert", max_tokens=5)
    batch = everything(corpus)
    words = text_teacher(corpus, max_tokens=5)(batch).words
    first_three = torch.arange(batch.word_mask.shape[1]) < 3  # [CLS], three words of one sub-token each, [SEP]
    assert torch.equal(words, batch.word_mask & first_three)
    assert not torch.equal(words, batch.word_mask)


def test_an_image_teacher_speaks_where_there_is_an_image_and_never_about_words(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    batch = everything(corpus)
    outputs = image_teacher(corpus)(batch)
    assert torch.equal(outputs.speaks, batch.has_image)
    assert not outputs.words.any()
    assert outputs.logits.keys() == {"mood", "risk"}
    for layer in (1, 3):
        assert torch.equal(outputs.hidden["image"][layer].mask.any(1), batch.has_image)


@BUILD
def test_dropout_acts_while_it_is_fine_tuned_alone(tmp_path: Path, build):
    corpus = corpus_of(tmp_path)
    teacher, batch = build(corpus, dropout=0.5), everything(corpus)
    teacher.train()
    assert not torch.equal(teacher(batch).logits["mood"], teacher(batch).logits["mood"])
    teacher.freeze()
    assert torch.equal(teacher(batch).logits["mood"], teacher(batch).logits["mood"])


@pytest.mark.parametrize(("build", "layer"), [(text_teacher, 2), (image_teacher, 4)])
def test_a_layer_that_is_not_there_is_refused(tmp_path: Path, build, layer: int):
    with pytest.raises(ValueError, match="has the layers 0 to"):
        build(corpus_of(tmp_path), layers=[layer])
