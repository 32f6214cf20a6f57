"""What is added to encoders whose own weights stay: adapters by their formula, a prefix against peft's own."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PrefixTuningConfig, get_peft_model
from torch import nn

from mmkd.config.adapt import Adapt
from mmkd.config.experiment import Student as Config
from mmkd.data.corpus import Corpus
from mmkd.encoders.bottleneck import Bottleneck, add_bottlenecks
from mmkd.encoders.text import TextEncoder
from mmkd.lora import LoraError
from mmkd.student.adapted import AdaptError, adapt, merge
from mmkd.student.student import Student
from tiny_project import BERT, IMAGE, TASKS, TEXT, everything, listed_corpus, random_rows, text_config


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return listed_corpus(random_rows(12), tmp_path / "data", max_tokens=32)


def bert(corpus: Corpus, **changes: Any) -> TextEncoder:
    torch.manual_seed(0)
    architecture = BERT | changes
    return TextEncoder(text_config(architecture=architecture, max_tokens=32), corpus.readers.text["student"]).eval()


def student_of(corpus: Corpus, text: Any = None, image: Any = None) -> Student:
    torch.manual_seed(0)
    config = Config.model_validate({"text": text or TEXT | {"max_tokens": 32}, "image": image or IMAGE, "width": 10})
    return Student(config, TASKS, corpus.readers, {}).eval()


def test_an_adapter_adds_a_bottleneck_to_what_its_layer_gives():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    rows, before = torch.randn(4, 3), network[0].weight.clone()
    plain = network(rows)
    add_bottlenecks(network, ["0"], 5)
    assert torch.equal(network(rows), plain)  # nothing is added at the start
    adapter = network[0].get_submodule("adapter")
    nn.init.normal_(adapter.up.weight)
    nn.init.normal_(adapter.up.bias)
    h = rows @ network[0].weight.T + network[0].bias
    wide = h @ adapter.down.weight.T + adapter.down.bias
    gelu = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))
    expected = torch.tanh(h + gelu @ adapter.up.weight.T + adapter.up.bias)
    assert torch.allclose(network(rows), expected, atol=1e-6)
    assert torch.equal(network[0].weight, before)
    learns = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learns == {f"0.adapter.{layer}.{end}" for layer in ("down", "up") for end in ("weight", "bias")}


def test_a_copy_of_the_network_has_adapters_of_its_own():
    network = nn.Sequential(nn.Linear(3, 2))
    add_bottlenecks(network, ["0"], 5)
    other, rows = copy.deepcopy(network), torch.randn(4, 3)
    before = other(rows)
    nn.init.ones_(network[0].get_submodule("adapter").up.bias)
    assert torch.equal(other(rows), before) and torch.allclose(network(rows), before + 1)


def test_only_linear_layers_have_an_adapter():
    with pytest.raises(ValueError, match="`0` is a Conv2d; expected linear layers"):
        add_bottlenecks(nn.Sequential(nn.Conv2d(3, 2, 1)), ["0"], 5)
    assert Bottleneck(2, 5)(torch.zeros(1, 2)).shape == (1, 2)


def test_a_prefix_is_what_peft_computes(corpus: Corpus):
    tokens, own, other = 3, bert(corpus), bert(corpus)
    settings = PrefixTuningConfig(
        task_type="FEATURE_EXTRACTION", num_virtual_tokens=tokens, num_layers=2, token_dim=16, num_attention_heads=2
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
        theirs = get_peft_model(other.model, settings).eval()
    own.add_prefix(tokens, 32)
    for block in range(2):
        for part in range(2):
            flat = theirs.prompt_encoder["default"].embedding.weight.view(tokens, 4, 2, 8)[:, 2 * block + part]
            own.prefix.values.data[block, part] = flat.permute(1, 0, 2)
    batch = everything(corpus).tokens["student"]
    mask = batch.mask.long()
    expected = theirs(input_ids=batch.ids, attention_mask=mask, output_hidden_states=True)
    found = own._read(batch.ids, mask)
    assert len(found.hidden_states) == len(expected.hidden_states) == 3
    for one, another in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert torch.equal(one, another)
    without = bert(corpus)._read(batch.ids, mask).last_hidden_state
    assert not torch.allclose(found.last_hidden_state, without, atol=1e-2)


def test_a_prefix_learns_alone_and_padding_does_not_reach_it(corpus: Corpus):
    encoder = bert(corpus)
    encoder.add_prefix(3, 32)
    assert {name for name, p in encoder.named_parameters() if p.requires_grad} == {"prefix.values"}
    batch = everything(corpus).tokens["student"]
    short = batch.mask.sum(1).argmin()
    length = int(batch.mask[short].sum())
    among = encoder._read(batch.ids, batch.mask.long()).last_hidden_state[short, :length]
    alone = encoder._read(batch.ids[short, None, :length], batch.mask[short, None, :length].long()).last_hidden_state[0]
    assert length < batch.ids.shape[1] and torch.allclose(among, alone, atol=1e-6)
    among.square().sum().backward()
    assert all(bool((block.abs().sum((-1, -2, -3)) > 0).all()) for block in encoder.prefix.values.grad)


def test_encoders_that_take_no_prefix_are_refused(corpus: Corpus):
    config = Adapt.model_validate({"text": {"kind": "prefix", "tokens": 3}})
    for architecture, found in (
        (
            {"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
            "changes nothing in a",
        ),
        (BERT | {"model_type": "deberta-v2"}, "a deberta-v2 takes no prefix"),
    ):
        text = TEXT | {"architecture": architecture, "max_tokens": 32}
        with pytest.raises(AdaptError, match=rf"student\.adapt\.text: .*{found}.*such as bert"):
            adapt(student_of(corpus, text), config)
    few = TEXT | {"architecture": BERT | {"max_position_embeddings": 34}, "max_tokens": 32}
    with pytest.raises(AdaptError, match=r"3 tokens and texts of 32 are more than the encoder can read .*; lower"):
        adapt(student_of(corpus, few), config)
    adapt(student_of(corpus, few), Adapt.model_validate({"text": {"kind": "prefix", "tokens": 2}}))


@pytest.mark.parametrize("kind", ["lora", "adapter"])
def test_a_target_that_is_not_there_is_refused(corpus: Corpus, kind: str):
    config = Adapt.model_validate({"text": {"kind": kind, "targets": ["output.dens"]}})
    with pytest.raises(LoraError, match=r"student\.adapt\.text\.targets: found `output\.dens`, with which no layer"):
        adapt(student_of(corpus), config)


def test_merged_products_say_the_same_by_ordinary_weights(corpus: Corpus):
    student, plain, batch = student_of(corpus), student_of(corpus), everything(corpus)
    how = {"kind": "lora", "rank": 2, "alpha": 64}
    config = Adapt.model_validate({"text": how | {"targets": ["value"]}, "image": how | {"targets": ["fc1"]}})
    adapt(student, config)
    student.config = student.config.model_copy(update={"adapt": config})
    for name, parameter in student.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    before = student.eval()(batch)
    merge(student)
    after, untouched = student(batch), plain(batch)
    assert student.state_dict().keys() == plain.state_dict().keys() and student.config == plain.config
    assert all(parameter.requires_grad for parameter in student.parameters())
    for task in TASKS:
        assert torch.allclose(after.logits[task], before.logits[task], atol=1e-5)
    assert not torch.allclose(after.fused, untouched.fused, atol=1e-3)


def test_batch_norms_of_an_adapted_encoder_keep_their_statistics(corpus: Corpus):
    student = student_of(corpus, image={"model": "test_resnet", "size": 48})
    norm = next(m for m in student.encoders["image"].modules() if isinstance(m, nn.BatchNorm2d))
    adapt(student, Adapt.model_validate({"image": {"kind": "lora", "targets": ["conv2"]}}))
    before = norm.running_mean.clone()
    student.train()(everything(corpus))
    assert torch.equal(norm.running_mean, before)
