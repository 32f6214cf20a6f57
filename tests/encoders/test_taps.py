"""Taps: what they give is what the model itself says, and a model that nobody asks is left alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmkd.config.encoders import TextEncoder as Config
from mmkd.config.layers import Layer
from mmkd.encoders import taps
from mmkd.encoders.image import ImageEncoder
from mmkd.encoders.taps import attention_scores
from mmkd.encoders.text import TextEncoder
from mmkd.types import Tokens
from tiny_project import Row, everything, image_config, listed_corpus

ROWS = [Row("Acme shares fell sharply today"), Row("profit rises"), Row(""), Row("unpronounceable outlook")]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", **SIZES},
    "roberta": {"model_type": "roberta", **SIZES},
    "electra": {"model_type": "electra", "embedding_size": 8, **SIZES},
    "distilbert": {"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
}
QUERY_OF = {
    "bert": "encoder.layer.1.attention.self.query",
    "roberta": "encoder.layer.1.attention.self.query",
    "electra": "encoder.layer.1.attention.self.query",
    "distilbert": "transformer.layer.1.attention.q_lin",
}
OUTPUT_OF = {
    "bert": "encoder.layer.0.attention.output",
    "roberta": "encoder.layer.0.attention.output",
    "electra": "encoder.layer.0.attention.output",
    "distilbert": "transformer.layer.0.ffn",
}
EVERY = pytest.mark.parametrize("name", ARCHITECTURES)
PARTS = ("1.query", "1.key", "1.value")
VIT = {"model": "test_vit", "size": 48, "options": {"img_size": 48}}


def made(
    folder: Path, name: str, layers: tuple[Layer, ...], pooling: str = "first", **more: Any
) -> tuple[TextEncoder, Tokens, int]:
    """An encoder in evaluation mode, with weights large enough for scores that differ; the texts; number of words."""
    corpus = listed_corpus(ROWS, folder)
    reader = corpus.readers.text["student"]
    torch.manual_seed(0)
    section = {**ARCHITECTURES.get(name, {"model_type": name, **SIZES}), "initializer_range": 0.3, **more}
    config = Config(architecture=section, vocabulary=120, max_tokens=32, pooling=pooling)
    own = TextEncoder(config, reader, layers).eval()
    batch = everything(corpus)
    return own, batch.tokens["student"], batch.word_mask.shape[1]


def by_word(tokens: Tokens, row: int, values: Tensor, pooling: str) -> dict[int, Tensor]:
    """A row's values of words, sub-token by sub-token."""
    places: dict[int, list[int]] = {}
    for place, word in enumerate(tokens.word[row].tolist()):
        if word >= 0:
            places.setdefault(word, []).append(place)
    return {w: values[own[:1] if pooling == "first" else own].mean(0) for w, own in places.items()}


@EVERY
@pytest.mark.parametrize("pooling", ["first", "mean"])
@torch.no_grad()
def test_scores_of_queries_and_keys_are_the_models_own_attention(tmp_path: Path, name: str, pooling: str):
    own, tokens, words = made(tmp_path, name, PARTS, pooling)
    found = own(tokens, words).hidden
    scores = attention_scores(found["1.query"].values, found["1.key"].values, own.heads["1.query"])
    own.model.set_attn_implementation("eager")
    said = own.model(tokens.ids, attention_mask=tokens.mask.long(), output_attentions=True).attentions[1].log()
    spread = 0.0
    for row in range(len(ROWS)):
        for head in range(2):
            # The mean of logs is the mean of scores up to a number for each row, which the softmax takes away.
            rows = by_word(tokens, row, said[row, head], pooling)
            for word, values in rows.items():
                expected = torch.stack(list(by_word(tokens, row, values, pooling).values())).log_softmax(0)
                kept = scores[row, head, word, : len(expected)].log_softmax(0)
                torch.testing.assert_close(kept, expected, rtol=1e-4, atol=1e-4)
                spread = max(spread, float(expected.max() - expected.min()))
    assert spread > 0.1  # else equal scores would pass


@EVERY
@torch.no_grad()
def test_parts_and_embedding_are_recomputed_from_hidden_states(tmp_path: Path, name: str):
    own, tokens, words = made(tmp_path, name, ("embedding", *PARTS))
    found = own(tokens, words).hidden
    states = own.model(tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True).hidden_states
    expected = {"embedding": states[0]}
    for part in ("query", "key", "value"):
        letter = {"query": "q_lin", "key": "k_lin", "value": "v_lin"}[part]
        path = QUERY_OF[name].replace("q_lin", letter) if "q_lin" in QUERY_OF[name] else QUERY_OF[name][:-5] + part
        expected[f"1.{part}"] = own.model.get_submodule(path)(states[1])
    for layer, values in expected.items():
        assert own.width_of(layer) == values.shape[-1]
        for row in range(len(ROWS)):
            for word, vector in by_word(tokens, row, values[row], "first").items():
                torch.testing.assert_close(found[layer].values[row, word], vector, rtol=1e-5, atol=1e-5)


@EVERY
@torch.no_grad()
def test_a_modules_path_gives_what_a_hook_placed_by_hand_gets(tmp_path: Path, name: str):
    own, tokens, words = made(tmp_path, name, (OUTPUT_OF[name],))
    got: list[Tensor] = []
    own.model.get_submodule(OUTPUT_OF[name]).register_forward_hook(lambda module, inputs, output: got.append(output))
    found = own(tokens, words).hidden[OUTPUT_OF[name]]
    for row in range(len(ROWS)):
        for word, vector in by_word(tokens, row, got[0][row], "first").items():
            torch.testing.assert_close(found.values[row, word], vector)


@EVERY
@torch.no_grad()
def test_padding_changes_nothing(tmp_path: Path, name: str):
    layers = ("embedding", *PARTS, OUTPUT_OF[name])
    own, tokens, words = made(tmp_path, name, layers)
    whole = own(tokens, words).hidden
    for row in (1, 3):
        length, count = int(tokens.mask[row].sum()), len(ROWS[row].text.split())
        alone = own(Tokens(*(each[row : row + 1, :length] for each in (tokens.ids, tokens.mask, tokens.word))), count)
        for layer in layers:
            assert alone.hidden[layer].mask.all()
            expected = whole[layer].values[row]
            torch.testing.assert_close(alone.hidden[layer].values[0], expected[:count], rtol=1e-4, atol=1e-5)
            assert whole[layer].mask[row].sum() == count
            assert not expected[count:].any()


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def test_nothing_is_hooked_or_computed_that_nobody_asked_for(tmp_path: Path):
    own, tokens, words = made(tmp_path, "bert", (0,))
    assert hooks(own) == 0
    assert list(own(tokens, words).hidden) == [0, 1]
    assert hooks(ImageEncoder(image_config(**VIT), (0,))) == 0
    asked, _, _ = made(tmp_path, "bert", ("1.query",))
    assert hooks(asked) == 1
    assert list(asked(tokens, words).hidden) == [1, "1.query"]


def test_the_model_is_as_it_was_before_it_was_looked_at(tmp_path: Path):
    plain, tokens, words = made(tmp_path, "bert", ())
    tapped, _, _ = made(tmp_path, "bert", ("embedding", *PARTS))
    assert tapped.model.config._attn_implementation == plain.model.config._attn_implementation == "sdpa"
    assert torch.equal(tapped(tokens, words).pooled, plain(tokens, words).pooled)
    assert tapped.state_dict().keys() == plain.state_dict().keys()
    assert all(block.attn.fused_attn for block in ImageEncoder(image_config(**VIT), ("0.query", "0.key")).model.blocks)


def test_taps_carry_a_gradient(tmp_path: Path):
    own, tokens, words = made(tmp_path, "bert", ("embedding", "1.query"))
    own.train()
    own(tokens, words).hidden["1.query"].values.square().sum().backward()
    assert own.model.get_submodule(QUERY_OF["bert"]).weight.grad.any()
    assert own.model.embeddings.word_embeddings.weight.grad.any()


def test_a_copy_has_taps_of_its_own(tmp_path: Path):
    own, tokens, words = made(tmp_path, "bert", ("1.query",))
    other = copy.deepcopy(own)
    with torch.no_grad():
        other.model.get_submodule(QUERY_OF["bert"]).weight.zero_()
        other.model.get_submodule(QUERY_OF["bert"]).bias.fill_(2.0)
    found = other(tokens, words).hidden["1.query"]
    assert (found.values[found.mask] == 2.0).all()
    assert not (own(tokens, words).hidden["1.query"].values == 2.0).any()


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("bert", "encoder.layer.0.atention.output", "did you mean `encoder.layer.0.attention.output`"),
        ("bert", "2.query", "the blocks 0 to 1"),
        ("bert", "pooler", r"of 6 tokens it has the shape \[1, 16\]; expected \[1, 6, 'D'\]"),
        ("bert", "encoder", "gives no tensor"),
        ("albert", "0.query", "expected one list of 2 equal blocks, found none"),
        ("mpnet", "0.query", "found no query in its MPNetLayer.*as BERT, DistilBERT, RoBERTa"),
    ],
)
def test_a_layer_that_cannot_be_tapped_is_refused(tmp_path: Path, name: str, layer: str, expected: str):
    with pytest.raises(ValueError, match=expected):
        made(tmp_path, name, (layer,))


def test_attention_that_is_more_than_its_queries_and_keys_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r"0\.query and 0\.key: this network's attention is more"):  # rotary
        made(tmp_path, "roformer", ("0.query", "0.key"), embedding_size=16)
    made(tmp_path, "roformer", ("0.query", "0.value"), embedding_size=16)
    normed = image_config(**{**VIT, "options": {"img_size": 48, "qk_norm": True}})
    with pytest.raises(ValueError, match="is more than the softmax"):
        ImageEncoder(normed, ("1.query", "1.key"))
    monkeypatch.setattr(taps.Taps, "require_whole_attention", lambda *given: None)
    ImageEncoder(normed, ("1.query", "1.key"))  # the control: nothing else refuses it


@torch.no_grad()
def test_a_vits_parts_are_those_of_its_fused_layer():
    torch.manual_seed(0)
    own = ImageEncoder(image_config(**VIT), ("embedding", "1.query", "1.key", "1.value", "blocks.0.mlp")).eval()
    pixels = torch.randint(256, (2, 3, 48, 48), dtype=torch.uint8)
    attention, got = own.model.blocks[1].attn, dict[str, Tensor]()
    attention.fused_attn = False
    attention.attn_drop.register_forward_hook(lambda m, i, output: got.update(attention=output))
    attention.register_forward_pre_hook(lambda m, inputs: got.update(read=inputs[0]))
    own.model.blocks[0].register_forward_pre_hook(lambda m, inputs: got.update(embedding=inputs[0]))
    own.model.blocks[0].mlp.register_forward_hook(lambda m, i, output: got.update(mlp=output))
    found = own(pixels, torch.tensor([True, True])).hidden
    patches = own.model.patch_embed.grid_size[0] * own.model.patch_embed.grid_size[1]
    before = got["embedding"].shape[1] - patches
    assert before == own.model.num_prefix_tokens > 0  # a class token, which is no patch
    torch.testing.assert_close(found["embedding"].values, got["embedding"][:, before:])
    torch.testing.assert_close(found["blocks.0.mlp"].values, got["mlp"][:, before:])
    width = got["read"].shape[-1]
    for number, part in enumerate(("query", "key", "value")):
        rows = slice(number * width, (number + 1) * width)
        bias = attention.qkv.bias[rows]
        expected = got["read"] @ attention.qkv.weight[rows].T + bias
        torch.testing.assert_close(found[f"1.{part}"].values, expected[:, before:], rtol=1e-4, atol=1e-5)
        assert found[f"1.{part}"].grid == own.model.patch_embed.grid_size
    scores = attention_scores(found["1.query"].values, found["1.key"].values, own.heads["1.query"])
    among = got["attention"][:, :, before:, before:]
    torch.testing.assert_close(scores.softmax(-1), among / among.sum(-1, keepdim=True), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_map_is_read_as_positions_and_an_absent_image_gives_zeros():
    own = ImageEncoder(image_config(), ("embedding", "stages.1.downsample")).eval()
    got: list[Tensor] = []
    own.model.stages[1].downsample.register_forward_hook(lambda m, i, output: got.append(output))
    pixels = torch.randint(256, (3, 3, 48, 48), dtype=torch.uint8)
    present = torch.tensor([True, False, True])
    found = own(pixels, present).hidden
    maps = got[0]
    for number, row in enumerate((0, 2)):
        cells = [maps[number, :, i, j] for i in range(maps.shape[2]) for j in range(maps.shape[3])]
        torch.testing.assert_close(found["stages.1.downsample"].values[row], torch.stack(cells))
    for layer in ("embedding", "stages.1.downsample"):
        assert found[layer].mask.any(1).tolist() == [True, False, True]
        assert own.width_of(layer) == found[layer].values.shape[-1]
