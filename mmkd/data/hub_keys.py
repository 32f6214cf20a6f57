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
    files = _files(card)
    if files:
        named = [{"split": split, "path": paths[0] if len(paths) == 1 else paths} for split, paths in files.items()]
        keys["configs"] = [{"config_name": "default", "data_files": named}]
    features: list[dict[str, Any]] = [{"name": "id", "dtype": "string"}]
    if "text" in card.modalities:
        features.append({"name": "words", "sequence": "string"})
    if "image" in card.modalities:
        features.append({"name": "image", "dtype": "image"})
    features += [{"name": name, **_feature(task)} for name, task in card.tasks.items()]
    splits = [{"name": str(split), "num_examples": rows} for split, rows in card.splits.items()]
    return keys | {"dataset_info": {"features": features, "splits": splits}}


def _files(card: Card) -> dict[str, list[str]]:
    """Split -> its files, as patterns of the hub; none where the source's splits are no files of the card.

    Those of `hf_datasets` are splits of a data set that lies elsewhere.
    """
    splits = card.source.get("splits")
    if not isinstance(splits, dict):
        return {}
    found: dict[str, list[str]] = {}
    for split, named in splits.items():
        paths = [named] if isinstance(named, str) else list(named)
        folders = [f"{path.rstrip('/')}/" for path in paths]
        pairs = list(zip(paths, folders, strict=True))
        if not all(path in card.files or folder in card.files for path, folder in pairs):
            return {}
        found[str(split)] = [f"{folder}**" if folder in card.files else path for path, folder in pairs]
    return found


def _feature(task: CardTask) -> dict[str, Any]:
    if task.kind == "regress":
        return {"dtype": "float32"}
    label = {"class_label": {"names": {str(number): name for number, name in enumerate(task.labels)}}}
    return {"sequence": label} if task.kind in ("tag", "multilabel") else {"dtype": label}
