"""Networks of many families as trunks: they learn, and neither neighbours, padding nor absent images change a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmkd.config.encoders import TextEncoder as Config
from mmkd.encoders.image import ImageEncoder
from mmkd.encoders.text import TextEncoder
from tiny_project import image_config, listed_corpus, random_rows

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 72,
}
TEXT_TRUNKS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES,
    "xlm-roberta": SIZES,
    "camembert": SIZES,
    "electra": {**SIZES, "embedding_size": 12},
    "roformer": SIZES,
    "deberta-v2": {**SIZES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "mpnet": SIZES,
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 72},
    "modernbert": {**SIZES, "global_attn_every_n_layers": 2, "local_attention": 8},
    "squeezebert": {
        **SIZES,
        "embedding_size": 16,
        "q_groups": 1,
        "k_groups": 1,
        "v_groups": 1,
        "intermediate_groups": 1,
        "output_groups": 1,
    },
    "megatron-bert": SIZES,
    "rembert": {**SIZES, "input_embedding_size": 12, "output_embedding_size": 12},
    "albert": {**SIZES, "embedding_size": 12},
}
SMALL_VIT = {"embed_dim": 32, "depth": 3, "num_heads": 2, "patch_size": 8}
IMAGE_TRUNKS: dict[str, tuple[int, dict[str, Any]]] = {
    "vit_tiny_patch16_224": (32, SMALL_VIT),
    "deit_tiny_distilled_patch16_224": (32, SMALL_VIT),
    "eva02_tiny_patch14_224": (32, SMALL_VIT),
    "beit_base_patch16_224": (32, SMALL_VIT),
    "swin_tiny_patch4_window7_224": (
        32,
        {"embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4, "patch_size": 4},
    ),
    "mixer_s32_224": (64, {}),
    "test_convnext": (32, {}),
    "test_resnet": (32, {}),
    "test_efficientnet": (32, {}),
    "mobilenetv3_small_050": (32, {}),
    "lcnet_035": (32, {}),
    "repvgg_a0": (32, {}),
    "regnetx_002": (32, {}),
    "coatnet_pico_rw_224": (64, {"depths": (1, 1, 1, 1), "embed_dim": (32, 32, 64, 64), "stem_width": (16, 16)}),
}


def text_trunk(kind: str, folder: Path) -> tuple[TextEncoder, Any]:
    torch.manual_seed(0)
    corpus = listed_corpus(random_rows(8), folder)
    config = Config(architecture={"model_type": kind, **TEXT_TRUNKS[kind]}, vocabulary=120, max_tokens=64)
    return TextEncoder(config, corpus.readers.text["student"], (0,)), corpus


def test_a_text_trunk_that_padding_reaches_is_refused(tmp_path: Path):
    """ConvBERT convolves over its neighbours, padding among them."""
    sizes = {**SIZES, "embedding_size": 16, "head_ratio": 1, "conv_kernel_size": 3}
    config = Config(architecture={"model_type": "convbert", **sizes}, vocabulary=120, max_tokens=64)
    reader = listed_corpus(random_rows(8), tmp_path).readers.text["student"]
    with pytest.raises(ValueError, match="convbert: padding changes what it says"):
        TextEncoder(config, reader)


@pytest.mark.parametrize("kind", TEXT_TRUNKS)
def test_a_text_trunk_learns_and_padding_changes_nothing(tmp_path: Path, kind: str):
    own, corpus = text_trunk(kind, tmp_path)
    own.eval()
    whole = corpus.batch(np.arange(8))
    said = own(whole.tokens["student"], whole.word_mask.shape[1])
    for row, words in enumerate(corpus.words()):
        batch = corpus.batch([row])
        alone = own(batch.tokens["student"], batch.word_mask.shape[1])
        torch.testing.assert_close(alone.pooled[0], said.pooled[row], rtol=1e-4, atol=1e-5)
        for layer in (0, own.depth - 1):
            one, other = alone.hidden[layer].values[0, :words], said.hidden[layer].values[row, :words]
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    own.train()
    said = own(whole.tokens["student"], whole.word_mask.shape[1])
    require_gradients(own, said.pooled.square().sum() + said.hidden[own.depth - 1].values.square().sum())


def require_gradients(network: torch.nn.Module, loss: Tensor) -> None:
    """Nearly all weights are reached: a pooler that is not read, or a mask token, is not."""
    loss.backward()
    reached = [p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters()]
    assert sum(reached) / len(reached) > 0.8


@pytest.mark.parametrize("model", IMAGE_TRUNKS)
def test_an_image_trunk_learns_and_absent_images_change_nothing(model: str):
    torch.manual_seed(0)
    size, options = IMAGE_TRUNKS[model]
    own = ImageEncoder(image_config(model=model, size=size, options=options), (0,))
    pixels = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    present = torch.tensor([True, False, True, True])
    own.eval()
    with torch.no_grad():
        some, alone = own(pixels, present), own(pixels[:1], present[:1])
        noise = own(torch.where(present[:, None, None, None], pixels, 255 - pixels), present)
    torch.testing.assert_close(alone.pooled[0], some.pooled[0], rtol=1e-3, atol=1e-4)
    assert torch.equal(noise.pooled, some.pooled)
    assert not some.pooled[1].any()
    for layer in (0, own.depth - 1):
        assert some.hidden[layer].values.shape[2] == own.width_of(layer)
        assert not some.hidden[layer].mask[1].any()
    own.train()
    for kept in (present, torch.tensor([False, True, False, False])):  # several images, and a lone one
        own.zero_grad()
        said = own(pixels, kept)
        require_gradients(own, said.pooled.square().sum() + said.hidden[own.depth - 1].values.square().sum())


@pytest.mark.parametrize("model", ["test_resnet", "mobilenetv3_small_050"])
def test_a_lone_image_is_taken_by_the_stored_statistics(model: str):
    """At 32 pixels the last map is 1 x 1: one image has no variance there."""
    torch.manual_seed(0)
    own = ImageEncoder(image_config(model=model, size=32)).train()
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    lone, two = torch.tensor([False, True, False]), torch.tensor([True, True, False])
    own(pixels, two)
    before = {name: value.clone() for name, value in own.named_buffers()}
    said = own(pixels, lone).pooled[1]
    assert all(torch.equal(before[name], value) for name, value in own.named_buffers())
    assert all(module.training for module in own.modules())
    norms = [module for module in own.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    for norm in norms:
        norm.eval()
    torch.testing.assert_close(said, own(pixels[1:2], lone[1:2]).pooled[0])
    for norm in norms:
        norm.train()
    own(pixels, two)  # two images move the statistics, as ever
    assert not all(torch.equal(before[name], value) for name, value in own.named_buffers())
