"""The keys of a card that the Hugging Face hub reads, as they follow from its `mmkd:` block. No torch here.

`configs` names the files of each split, `dataset_info` the columns with the class labels, and the rows
(https://huggingface.co/docs/hub/datasets-cards). `mmkd data check` refuses a card whose keys say something else.
"""

from __future__ import annotations

from typing import Any

from mmkd.data.card import Card, CardTask


def hub_keys(card: Card) -> dict[str, Any]:
    """`configs` (for a source that has files of its own for each split) and `dataset_info`."""
    keys: dict[str, Any] = {}
    files = card.source.get("splits")
    if isinstance(files, dict) and card.files:
        names = {"validation": "validation", "transfer": "unlabelled"}
        keys["configs"] = [
            {
                "config_name": "default",
                "data_files": [{"split": names.get(split, split), "path": path} for split, path in files.items()],
            }
        ]
    features: list[dict[str, Any]] = [{"name": "id", "dtype": "string"}]
    if "text" in card.modalities:
        features.append({"name": "words", "sequence": "string"})
    if "image" in card.modalities:
        features.append({"name": "image", "dtype": "image"})
    features += [{"name": name, **_feature(task)} for name, task in card.tasks.items()]
    splits = [{"name": split, "num_examples": rows} for split, rows in card.splits.items()]
    return keys | {"dataset_info": {"features": features, "splits": splits}}


def _feature(task: CardTask) -> dict[str, Any]:
    if task.kind == "regress":
        return {"dtype": "float32"}
    label = {"class_label": {"names": {str(number): name for number, name in enumerate(task.labels)}}}
    return {"sequence": label} if task.kind in ("tag", "multilabel") else {"dtype": label}
