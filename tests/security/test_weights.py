"""Hostile models and weights: each is refused with a clear message, and what it would run does not run.

What a payload would do is make a folder, the canary. The first tests show that the payloads work where nothing guards.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from pydantic import ValidationError

from mmkd import arrays, checkpoint
from mmkd.arrays import StoreError, file_hash, open_array
from mmkd.config.encoders import ImageEncoder, TextEncoder
from mmkd.config.experiment import Student as StudentConfig
from mmkd.encoders.image import ImageEncoder as ImageNetwork
from mmkd.pretrained import PretrainedError, pretrained_config, pretrained_model, pretrained_tokenizer, read_weights
from mmkd.record import hash_of
from mmkd.student.stored import FOLDER, read_student, save_student
from mmkd.student.student import Student
from tiny_project import BERT, IMAGE, TASKS, TEXT, listed_corpus, random_rows

CODE = (
    "import os\nos.mkdir({canary!r})\nfrom transformers import {base}\nclass {name}({base}):\n    model_type = 'bert'\n"
)


class Payload:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Any:
    """Where a payload would make its file. It must not be there after the test."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "the payload ran"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole small model as transformers saves it."""
    path = tmp_path / "model"
    torch.manual_seed(0)
    settings = transformers.AutoConfig.for_model(**BERT, vocab_size=40)
    transformers.AutoModel.from_config(settings).save_pretrained(path)
    listed_corpus(random_rows(4), tmp_path / "data").readers.text["student"].tokenizer.save_pretrained(path)
    return path


def pickled(canary: Path) -> bytes:
    """What `torch.save` writes of a payload."""
    stream = io.BytesIO()
    torch.save({"weight": Payload(canary)}, stream)
    return stream.getvalue()


def section(path: Path, **more: Any) -> TextEncoder:
    return TextEncoder(model=str(path), **more)


def change(path: Path, **keys: Any) -> None:
    """Set keys of a JSON file."""
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(content | keys), "utf-8")


def test_the_payloads_work(tmp_path: Path) -> None:
    canary = tmp_path / "made"
    pickle.loads(pickle.dumps(Payload(canary)))
    assert canary.exists()
    canary.rmdir()
    torch.load(io.BytesIO(pickled(canary)), weights_only=False)
    assert canary.exists()


@pytest.mark.filterwarnings("ignore")  # of transformers, about what it imports
def test_the_code_of_a_model_runs_where_the_experiment_says_so(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "made"
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    with_code(folder, canary)
    assert pretrained_config(section(folder, trust_remote_code=True)).model_type == "bert"
    assert canary.exists()


def test_a_whole_model_is_read(folder: Path) -> None:
    assert pretrained_model(section(folder)).config.hidden_size == BERT["hidden_size"]
    assert len(pretrained_tokenizer(section(folder))) > 5
    ImageEncoder(model="test_resnet", weights="a.safetensors", options={"drop_rate": 0.1})
    TextEncoder(architecture={**BERT, "attn_implementation": "sdpa"}, vocabulary=40)


def with_code(folder: Path, canary: Path, file: str = "config.json") -> None:
    """Code of the model's own, in the way of each of its parts."""
    base, kind = ("BertConfig", "AutoConfig") if file == "config.json" else ("BertTokenizerFast", "AutoTokenizer")
    (folder / "evil.py").write_text(CODE.format(canary=str(canary), base=base, name="Evil"), "utf-8")
    change(folder / file, auto_map={kind: "evil.Evil" if kind == "AutoConfig" else [None, "evil.Evil"]})


def only_pickles(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickled(canary))


def pickle_by_another_name(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickled(canary))


def shards_of_pickles(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "part.bin").write_bytes(pickled(canary))
    change(folder / "model.safetensors.index.json", metadata={}, weight_map={"weight": "part.bin"})


def shards_elsewhere(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "other.safetensors")
    change(folder / "model.safetensors.index.json", metadata={}, weight_map={"weight": "../other.safetensors"})


def adapter_of_pickles(folder: Path, canary: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(pickled(canary))
    change(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder))


def code_in_the_config(folder: Path, canary: Path) -> None:
    with_code(folder, canary)


def code_in_the_tokenizer(folder: Path, canary: Path) -> None:
    with_code(folder, canary, "tokenizer_config.json")


def config_without_end(folder: Path, canary: Path) -> None:
    (folder / "config.json").write_text('{"a": ' + "[" * 100_000, "utf-8")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (only_pickles, "found no model.safetensors"),
        (pickle_by_another_name, "not whole safetensors files"),
        (shards_of_pickles, "names 'part.bin'"),
        (shards_elsewhere, "names '../other.safetensors'"),
        (adapter_of_pickles, "an addition to another model"),
        (code_in_the_config, "`auto_map` of config.json names Python code"),
        (code_in_the_tokenizer, "`auto_map` of tokenizer_config.json names Python code"),
        (config_without_end, "config.json: cannot be read"),
    ],
)
def test_a_hostile_model_is_refused(
    folder: Path, canary: Path, spoil: Callable[[Path, Path], None], expected: str
) -> None:
    spoil(folder, canary)
    with pytest.raises(PretrainedError, match=expected):
        pretrained_model(section(folder))


def test_a_tokenizer_with_code_is_refused(folder: Path, canary: Path) -> None:
    with_code(folder, canary, "tokenizer_config.json")
    with pytest.raises(PretrainedError, match="trust_remote_code: true"):
        pretrained_tokenizer(section(folder))


@pytest.mark.parametrize(
    ("kind", "plain", "expected"),
    [
        (TextEncoder, {"architecture": {**BERT, "auto_map": {"AutoModel": "evil.Evil"}}}, "found `auto_map`"),
        (TextEncoder, {"architecture": {**BERT, "text_config": {"auto_map": {}}}}, "found `auto_map`"),
        (TextEncoder, {"architecture": {**BERT, "attn_implementation": "evil/kernel"}}, "`attn_implementation`"),
        (TextEncoder, {"architecture": {**BERT, "_attn_implementation": "evil/kernel"}}, "`_attn_implementation`"),
        (TextEncoder, {"architecture": BERT, "trust_remote_code": True}, "goes with `model`"),
        (ImageEncoder, {"weights": "evil.pth"}, "expected a .safetensors file"),
        (ImageEncoder, {"options": {"checkpoint_path": "evil.pth"}}, "found `checkpoint_path`"),
        (ImageEncoder, {"options": {"pretrained_cfg": {"file": "evil.pth"}}}, "found `pretrained_cfg`"),
        (ImageEncoder, {"options": {"pretrained_cfg_overlay": {"file": "evil.pth"}}}, "found `pretrained_cfg_overlay`"),
    ],
)
def test_a_section_that_names_code_or_pickles_is_refused(kind: Any, plain: dict[str, Any], expected: str) -> None:
    own = {"vocabulary": 40} if kind is TextEncoder else {"model": "test_resnet"}
    with pytest.raises(ValidationError, match=expected):
        kind.model_validate({**own, **plain})


@pytest.mark.parametrize("model", ["local-dir:model", "hf-hub:evil/model", "./model"])
def test_an_image_model_is_a_name_of_timm(model: str) -> None:
    with pytest.raises(ValueError, match="knows no"):
        ImageNetwork(ImageEncoder(model=model, size=48))


def test_pickled_image_weights_are_refused(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickled(canary))
    with pytest.raises(PretrainedError, match=r"weights.safetensors: not a whole safetensors file"):
        ImageNetwork(ImageEncoder(**{**IMAGE, "weights": str(path)}))


def test_a_pickle_in_a_checkpoint_is_refused_though_its_sums_are_right(tmp_path: Path, canary: Path) -> None:
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, {"a": torch.zeros(2)}, {})
    (folder / checkpoint.WEIGHTS).write_bytes(pickled(canary))
    content = {"sha256": file_hash(folder / checkpoint.WEIGHTS), "facts": {}}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(content | {"digest": hash_of(content)}), "utf-8")
    with pytest.raises(PretrainedError, match="not a whole safetensors file"):
        checkpoint.load(folder)


def test_a_pickle_among_stored_arrays_is_refused_though_its_sums_are_right(tmp_path: Path, canary: Path) -> None:
    parts = {"rows": "r"}
    arrays.stored(tmp_path, parts, lambda writer: writer.put("values", np.zeros(3)))
    (folder,) = tmp_path.glob("*/")
    np.save(folder / "values.npy", np.array([Payload(canary)], dtype=object), allow_pickle=True)
    manifest = {"parts": parts, "arrays": {"values": file_hash(folder / "values.npy")}}
    (folder / arrays.MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(StoreError, match="not an array of numbers"):
        arrays.stored(tmp_path, parts, lambda writer: None)


@pytest.mark.parametrize("form", ["pickle", "zip", "empty"])
def test_what_is_no_array_is_refused(tmp_path: Path, canary: Path, form: str) -> None:
    path = tmp_path / "values.npy"
    path.write_bytes(pickle.dumps(Payload(canary)) if form == "pickle" else b"")
    if form == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.npy", pickle.dumps(Payload(canary)))
    with pytest.raises(StoreError, match="not an array of numbers"):
        open_array(path)


def test_a_stored_student_cannot_ask_for_trust(tmp_path: Path, folder: Path, canary: Path) -> None:
    """A run's folder that came from elsewhere says that the code of a model beside it is to be trusted."""
    corpus = listed_corpus(random_rows(6), tmp_path / "data")
    config = StudentConfig.model_validate({"text": TEXT, "width": 10})
    save_student(tmp_path / "seed0", Student(config, TASKS, corpus.readers, {}), corpus.readers, {})
    with_code(folder, canary)
    own = tmp_path / "seed0" / FOLDER
    weights, facts, _ = checkpoint.load(own)
    del facts["architecture"]
    facts["student"]["text"] |= {"architecture": None, "vocabulary": None, "model": str(folder)}
    facts["student"]["text"]["trust_remote_code"] = True
    checkpoint.save(own, weights, facts)
    with pytest.raises(PretrainedError, match="names Python code"):
        read_student(tmp_path / "seed0").student({})


F32 = {"dtype": "F32", "shape": [8]}
GOOD = {"a": {**F32, "data_offsets": [0, 32]}, "b": {**F32, "data_offsets": [32, 64]}}


def forged(path: Path, header: bytes | dict[str, Any], size: int | None = None, data: bytes = bytes(64)) -> Path:
    """A file with this header. size: what it says of the header's length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + data)
    return path


def test_a_header_as_it_must_be(tmp_path: Path) -> None:
    assert sorted(read_weights(forged(tmp_path / "w.safetensors", GOOD))) == ["a", "b"]


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (GOOD, 2**63),  # a length beyond all memory
        (GOOD, 2**40),
        (GOOD, 10**6),  # beyond the file
        ({**GOOD, "b": {"dtype": "F32", "shape": [1600], "data_offsets": [32, 6432]}}, None),  # offsets beyond the file
        ({**GOOD, "b": {**F32, "data_offsets": [16, 48]}}, None),  # tensors that overlap
        ({**GOOD, "b": {**F32, "data_offsets": [0, 32]}}, None),  # the same bytes twice
        ({"a": {**F32, "data_offsets": [0, 32]}}, None),  # bytes of no tensor, as a hidden archive has
        ({**GOOD, "a": {**F32, "data_offsets": [-32, 0]}}, None),
        ({**GOOD, "a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 32]}}, None),
        (b"\x80\x04\x95", None),  # a pickle's first bytes
        (b'{"__metadata__": ' + b"[" * 10_000, None),
        (b"", None),
    ],
)
def test_a_forged_header_is_refused(tmp_path: Path, header: bytes | dict[str, Any], size: int | None) -> None:
    with pytest.raises(PretrainedError, match=r"w.safetensors: not a whole safetensors file: .*; expected weights"):
        read_weights(forged(tmp_path / "w.safetensors", header, size))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.safetensors"):
        with pytest.raises(PretrainedError, match="not a whole safetensors file"):
            read_weights(path)
