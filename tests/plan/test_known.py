"""What is stored of a teacher's outputs, counted by hand."""

from __future__ import annotations

import torch

from mmkd.cache.packing import Packing
from mmkd.plan.known import Storing
from mmkd.types import Hidden, Outputs

B, W, K, D = 2, 3, 11, 16
WIDE = frozenset({"hidden.text.1", "pooled.text"})
"""What can be projected."""


def outputs() -> Outputs:
    """Of a text teacher that tags words and keeps a layer."""
    words = torch.ones(B, W, dtype=torch.bool)
    hidden = Hidden(torch.randn(B, W, D), words)
    return Outputs(
        {"ner": torch.randn(B, W, K)},
        words[:, 0],
        words,
        {"text": torch.randn(B, D)},
        {"text": words[:, 0]},
        {"text": {1: hidden}},
    )


def stored(storing: Storing, dtype: str) -> dict[str, tuple[str, tuple[int, ...], str, int]]:
    found = storing.arrays(outputs(), dtype, rows=10, words=70, parts=2)
    return {each.name: (each.dtype, each.shape, each.per, each.bytes) for each in found}


def test_words_rows_types_and_widths_make_the_bytes() -> None:
    found = stored(Storing(Packing("fp16"), None, WIDE), "fp32")
    assert found["hidden.text.1"] == ("float32", (D,), "word", 4 * D * 70)
    assert found["pooled.text"] == ("float32", (D,), "row", 4 * D * 10)
    assert found["logits.ner"] == ("float32", (K,), "word", 4 * K * 70)
    assert found["speaks"] == ("bool", (), "row", 10)
    assert found["offsets"] == ("int64", (), "row", 8 * 12)


def test_narrower_features_and_cut_logits_take_less() -> None:
    found = stored(Storing(Packing("fp16", top={"ner": 5}), 4, WIDE), "fp16")
    assert found["hidden.text.1"] == ("float16", (4,), "word", 2 * 4 * 70)
    assert found["pooled.text"] == ("float16", (4,), "row", 2 * 4 * 10)
    assert found["logits.ner"] == ("float16", (5,), "word", 2 * 5 * 70)
    assert found["top.ner"] == ("int32", (5,), "word", 4 * 5 * 70)
    assert found["rest.ner"] == ("float16", (), "word", 2 * 70)
    wide = stored(Storing(Packing("fp16"), 100, WIDE), "fp16")
    assert wide["hidden.text.1"] == ("float16", (D,), "word", 2 * D * 70)
