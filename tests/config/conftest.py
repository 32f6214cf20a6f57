"""A good experiment, and a way to write it down with changes."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """\
name: shared
data:
  notes: {card: market_notes, train: [train, transfer], limit: {train: 100}}
tasks:
  sentiment: {kind: classify}
  ner: {kind: tag}
student:
  text: {model: bert-base-uncased, max_tokens: 64}
  image: {model: test_resnet, size: 64}
  width: 96
teachers:
  bert: {kind: hf_text, model: bert-base-uncased, tasks: [sentiment, ner], layers: [2, 5]}
  vit:
    kind: timm
    model: test_vit
    tasks: [sentiment]
    layers: [11]
    finetune: {epochs: 3, lr: 3e-5}
losses:
  sentiment: {kind: supervised, task: sentiment}
  ner: {kind: supervised, task: ner}
  bert_ner: {kind: logit_kl, teacher: bert, task: ner, temperature: 2}
  vit_sentiment:
    kind: logit_kl
    teacher: vit
    task: sentiment
    weight: {kind: cosine, from: 0.5, to: 0}
  features: {kind: hint, teacher: vit, layer: 11, modality: image}
weighting: {kind: fixed}
train: {epochs: 2, lr: 3e-4, patience: 3}
seeds: [0, 1]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file: `GOOD`, or the text given, with each old text replaced by its new one."""

    def to_file(changes: dict[str, str] | None = None, text: str = GOOD, name: str = "experiment.yaml") -> Path:
        for old, new in (changes or {}).items():
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the text"
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return to_file
