"""Keys that take other values while a run goes on: from which epoch on, which keys, which values. No torch here.

Only what leaves every network as it is can change, so that the state of one stage is a state of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from mmkd.config.problems import did_you_mean, listed, shown
from mmkd.config.schedule import Schedule
from mmkd.config.section import PositiveInt, Section
from mmkd.config.yaml_tree import Node

OF_TRAINING = ("train.lr", "train.weight_decay")
ALLOWED = f"{', '.join(OF_TRAINING)}, or a number, a boolean or a schedule of a loss or of the weighting"


class Change(Section):
    """Values that keys have from an epoch on.

    epoch: the first, counted from 0: 2 is after two epochs.
    set: keys -> value: `train.lr`, `train.weight_decay`, and numbers, booleans and schedules of losses and of the
        weighting, such as `losses.text_ner.weight`.
    """

    epoch: PositiveInt
    set: Annotated[dict[str, bool | int | float | Schedule], Field(min_length=1)]


def mistake_of(key: str, plain: Mapping[str, Any]) -> str | None:
    """Why a key cannot change; None when it can. plain: the experiment with every default written out."""
    section, *inner = key.split(".")
    if key in OF_TRAINING:
        return None
    if section not in ("losses", "weighting") or len(inner) < (2 if section == "losses" else 1):
        return f"it cannot change while a run goes on; expected {ALLOWED}"
    value: Any = plain
    for name in (section, *inner):
        if not isinstance(value, dict) or name not in value:
            known = list(value) if isinstance(value, dict) else []
            return f"unknown key `{name}`; expected one of {listed(known)}{did_you_mean(name, known)}"
        value = value[name]
    if not (isinstance(value, bool | int | float) or (isinstance(value, dict) and {"kind", "from", "to"} <= {*value})):
        return f"it is {shown(value)}, which cannot change while a run goes on; expected {ALLOWED}"
    return None


def with_values(root: Node, values: Mapping[str, Node]) -> Node:
    """The tree with these values at these keys; of two keys, the outer one first."""
    for key in sorted(values):
        root = _with_value(root, key.split("."), values[key])
    return root


def _with_value(node: Node, keys: list[str], value: Node) -> Node:
    if not keys:
        return value
    entries = node.entries
    below = entries.get(keys[0], Node({}, value.place))
    return Node({**entries, keys[0]: _with_value(below, keys[1:], value)}, node.place)
