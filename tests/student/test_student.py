"""The shared student: text alone, image alone, both; and what it does without one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmkd.config.experiment import Student as Config
from mmkd.data.corpus import Corpus
from mmkd.student.student import Student, drop_modalities
from mmkd.types import Batch
from tiny_project import IMAGE, TASKS, TEXT, everything, listed_corpus, random_rows

LAYERS = {"text": (0,), "image": (1,)}


def corpus_of(folder: Path) -> Corpus:
    return listed_corpus(random_rows(12), folder)


def student_of(corpus: Corpus, text: dict | None = TEXT, image: dict | None = IMAGE, **changes: object) -> Student:
    torch.manual_seed(0)
    config = Config.model_validate({"text": text, "image": image, "width": 10, **changes})
    tasks = TASKS if text else {name: task for name, task in TASKS.items() if task.level == "example"}
    student = Student(config, tasks, corpus.readers, LAYERS)
    with torch.no_grad():
        for name, vector in student.absent.items():
            vector.copy_(torch.full_like(vector, 0.5 if name == "text" else -0.5))
    return student


def without(batch: Batch, *modalities: str) -> Batch:
    return replace(batch, **{f"has_{name}": torch.zeros_like(batch.has_text) for name in modalities})


@pytest.mark.parametrize(("text", "image"), [(True, True), (True, False), (False, True)])
def test_outputs_have_the_stated_shapes(tmp_path: Path, text: bool, image: bool):
    corpus = corpus_of(tmp_path)
    student, batch = student_of(corpus, TEXT if text else None, IMAGE if image else None).eval(), everything(corpus)
    out = student(batch)
    modalities = {name for name, there in (("text", text), ("image", image)) if there}
    assert out.pooled.keys() == out.has.keys() == out.hidden.keys() == student.shape.pooled.keys() == modalities
    assert out.fused is not None
    assert out.fused.shape == (12, student.shape.fused) == (12, 10)
    for name in modalities:
        assert out.pooled[name].shape == (12, student.shape.pooled[name])
        assert out.hidden[name].keys() == {LAYERS[name][0], student.shape.depth[name] - 1}
        for layer, hidden in out.hidden[name].items():
            assert hidden.values.shape[2] == student.shape.hidden[name][layer]
    has = torch.stack([{"text": batch.has_text, "image": batch.has_image}[name] for name in modalities])
    assert torch.equal(out.speaks, has.any(0))
    assert out.logits["mood"].shape == (12, 3)
    if text:
        assert out.logits["ner"].shape == (*batch.word_mask.shape, 3)
        assert torch.equal(out.words, batch.word_mask)
    else:
        assert not out.words.any()


def test_hiding_a_modality_changes_nothing_in_the_other(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    student, batch = student_of(corpus).eval(), everything(corpus)
    whole = student(batch)
    for hidden, other in (("text", "image"), ("image", "text")):
        out = student(without(batch, hidden))
        torch.testing.assert_close(out.pooled[other], whole.pooled[other], rtol=0, atol=1e-5)
        has = {"text": batch.has_text, "image": batch.has_image}
        changed = (out.fused - whole.fused).abs().amax(1) > 1e-4
        assert torch.equal(changed, has[hidden])  # and where it was absent anyway, nothing at all changes
        assert not out.has[hidden].any()
        assert torch.equal(out.speaks, has[other])
    assert not student(without(batch, "text")).words.any()


def test_what_an_absent_modality_holds_does_not_matter(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    student, batch = student_of(corpus).eval(), everything(corpus)
    garbage = {"student": torch.where(batch.has_image[:, None, None, None], batch.images["student"], 255)}
    tokens = batch.tokens["student"]
    ids = torch.where(batch.has_text[:, None], tokens.ids, 7)
    changed = replace(batch, images=garbage, tokens={"student": replace(tokens, ids=ids)})
    torch.testing.assert_close(student(changed).fused, student(batch).fused, rtol=0, atol=1e-6)


def gradients(student: Student, batch: Batch) -> dict[str, torch.Tensor | None]:
    student.zero_grad()
    out = student(batch)
    sum(logits.square().mean() for logits in out.logits.values()).backward()
    return {name: p.grad for name, p in student.named_parameters()}


def test_the_absent_vector_learns_only_where_a_modality_is_absent(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    student, batch = student_of(corpus).eval(), everything(corpus)
    complete = corpus.batch((batch.has_text & batch.has_image).nonzero().flatten().numpy())
    text_only = corpus.batch((batch.has_text & ~batch.has_image).nonzero().flatten().numpy())
    found = gradients(student, complete)
    assert not found["absent.text"].any()
    assert not found["absent.image"].any()
    found = gradients(student, text_only)
    assert not found["absent.text"].any()
    assert found["absent.image"].any()


@pytest.mark.parametrize("model", ["test_convnext", "test_resnet"])
def test_a_batch_of_texts_alone_trains_the_text_side_alone(tmp_path: Path, model: str):
    corpus = corpus_of(tmp_path)
    student = student_of(corpus, modality_dropout=0.0, image={**IMAGE, "model": model}).train()
    batch = everything(corpus)
    text_only = corpus.batch((batch.has_text & ~batch.has_image).nonzero().flatten().numpy())
    for name, gradient in gradients(student, text_only).items():
        if gradient is not None:
            assert gradient.isfinite().all(), name
        if name.startswith(("encoders.image", "project.image")):
            assert gradient is None or not gradient.any(), name
    assert student.encoders["text"].model.embeddings.word_embeddings.weight.grad.any()


def test_mixed_batches_have_finite_gradients_everywhere(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    student = student_of(corpus, modality_dropout=0.5).train()
    found = gradients(student, everything(corpus))
    assert all(gradient.isfinite().all() for gradient in found.values() if gradient is not None)
    assert found["project.image.weight"].any()
    assert found["project.text.weight"].any()


ROWS = 20_000


@pytest.mark.parametrize("chance", [0.0, 0.1, 0.5, 1.0])
def test_modality_dropout_hides_one_modality_with_the_asked_chance(chance: float):
    torch.manual_seed(0)
    text, image = torch.ones(ROWS, dtype=torch.bool), torch.ones(ROWS, dtype=torch.bool)
    text[:2000], image[2000:5000] = False, False
    seen = drop_modalities({"text": text, "image": image}, chance)
    complete = text & image
    for name, has in (("text", text), ("image", image)):
        assert torch.equal(seen[name][~complete], has[~complete])  # what has one modality keeps it
        share = (~seen[name][complete]).float().mean()
        expected, n = chance / 2, int(complete.sum())
        assert abs(float(share) - expected) <= 5 * (expected * (1 - expected) / n) ** 0.5
    assert (seen["text"] | seen["image"]).all()


def test_a_single_modality_is_never_hidden():
    has = {"text": torch.ones(50, dtype=torch.bool)}
    assert drop_modalities(has, 1.0)["text"].all()


def test_modality_dropout_acts_in_training_alone(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    student, batch = student_of(corpus, dropout=0.0, modality_dropout=1.0), everything(corpus)
    student.encoders["text"].model.config.hidden_dropout_prob = 0.0
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    complete = batch.has_text & batch.has_image
    whole = student.eval()(batch)
    assert torch.equal(student(batch).fused, whole.fused)
    torch.manual_seed(0)
    trained = student.train()(batch)
    changed = (trained.fused - whole.fused).abs().amax(1) > 1e-4
    assert torch.equal(changed, complete)
    assert torch.equal(trained.speaks, whole.speaks)
    torch.testing.assert_close(trained.pooled["text"], whole.pooled["text"], rtol=0, atol=1e-5)  # only the fusion


def test_a_word_that_was_cut_is_not_spoken_of(tmp_path: Path):
    corpus = listed_corpus(random_rows(12), tmp_path, max_tokens=5)
    batch = everything(corpus)
    words = student_of(corpus, text={**TEXT, "max_tokens": 5}).eval()(batch).words
    assert torch.equal(words, batch.word_mask & (torch.arange(batch.word_mask.shape[1]) < 3))
    assert not torch.equal(words, batch.word_mask)


def test_the_seed_determines_the_weights(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    one, other = student_of(corpus), student_of(corpus)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
