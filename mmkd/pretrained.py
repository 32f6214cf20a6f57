"""Models that others made, of the hub or of this machine, read as data: nothing of theirs runs.

Weights are safetensors, never pickles, which run what they hold. `auto_map` in a model's files names Python code that
transformers would import: such a model is refused unless its section says `trust_remote_code: true`. No other file of
the suite calls transformers' `from_pretrained` (a test enforces it).
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from mmkd.config.local import local_path
from mmkd.errors import MmkdError

if TYPE_CHECKING:
    from mmkd.config.encoders import TextEncoder

NAMES_CODE = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
"""Files of a model in which `auto_map` counts."""

SHARDS = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"


class PretrainedError(MmkdError):
    """A model or a weights file that is not read; the message names it, what was found and what to do."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name.

    Raises PretrainedError for a file that cannot be read or is none: its header must give each byte to one tensor.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        message = f"{path}: not a whole safetensors file: {error}; expected weights as `safetensors` writes them"
        raise PretrainedError(message) from error


def pretrained_config(section: TextEncoder) -> PretrainedConfig:
    """The transformers config of the section's `model`.

    Raises PretrainedError for a model that would run code, and what transformers raises for one that it cannot read.
    """
    found: PretrainedConfig = AutoConfig.from_pretrained(_inspected(section), **_trust(section))
    return found


def pretrained_model(section: TextEncoder) -> Any:
    """The section's `model` with its weights.

    Raises PretrainedError for a model that would run code, for one without safetensors and for damaged ones.
    """
    named = _inspected(section)
    if _cached(named, "model.safetensors") is None and _cached(named, SHARDS) is None and Path(named).is_dir():
        message = f"{named}: found no model.safetensors; expected weights in that format; others can run code when read"
        raise PretrainedError(f"{message}: save the model again with `safe_serialization`")
    try:
        return AutoModel.from_pretrained(named, use_safetensors=True, **_trust(section))
    except SafetensorError as error:
        raise PretrainedError(f"{named}: not whole safetensors files: {error}; get the model again") from error


def pretrained_tokenizer(section: TextEncoder) -> PreTrainedTokenizerBase:
    """The tokenizer of the section's `model`.

    Raises PretrainedError for one that would run code.
    """
    # Byte-level tokenizers need the space that stands before every word but the first.
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        _inspected(section), add_prefix_space=True, **_trust(section)
    )
    return found


def _trust(section: TextEncoder) -> dict[str, bool]:
    return {"trust_remote_code": section.trust_remote_code}  # transformers asks at the terminal where it is not said


def _inspected(section: TextEncoder) -> str:
    """The folder or the hub's name of the section's `model`, once its files are looked at."""
    assert section.model is not None  # checked by the callers
    named = str(local_path(section.model) or section.model)
    for name in NAMES_CODE:
        if not section.trust_remote_code and "auto_map" in _content(named, name):
            raise PretrainedError(
                f"{named}: `auto_map` of {name} names Python code of the model's own, which would run here; expected a "
                "model that transformers knows by itself; read the code, and set `trust_remote_code: true` beside "
                "`model` if you trust it"
            )
    if _cached(named, ADAPTER) is not None:
        message = f"{named}: found {ADAPTER}, an addition to another model; expected a whole model"
        raise PretrainedError(f"{message}: merge the two, and save the result")
    shards = _content(named, SHARDS).get("weight_map", {})
    for shard in sorted(set(map(str, shards.values() if isinstance(shards, dict) else [shards]))):
        if PurePosixPath(shard).name != shard or not shard.endswith(".safetensors"):
            raise PretrainedError(f"{named}: {SHARDS} names {shard!r}; expected safetensors files beside it")
    return named


def _content(named: str, name: str) -> dict[str, Any]:
    """A JSON file of a model; empty where there is none."""
    path = _cached(named, name)
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PretrainedError(f"{path}: cannot be read: {error}; get the model again") from error
    if not isinstance(content, dict):
        raise PretrainedError(f"{path}: found no JSON object; get the model again")
    return content


def _cached(named: str, name: str) -> Path | None:
    """A file of a model: in its folder, or fetched from the hub; None where the model has none of that name."""
    folder = Path(named)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    found = cached_file(
        named,
        name,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)
