"""No file of the suite reads what others made in a way that could run it, but the one guarded place of each way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mmkd"

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "jsonpickle", "telnetlib"}
"""Modules that run what they read, or that nothing here needs."""

CALLS = {
    "from_pretrained": ("pretrained.py",),
    "load_checkpoint": (),
    "load_state_dict_from_url": (),
    "extractall": (),
    "extract": (),
    "unpack_archive": (),
    "eval": (),
    "exec": ("config/plugins.py",),  # of an installed plug-in's `Config`
    "system": (),
    "popen": (),
    "literal_eval": (),
}
"""Functions and methods by name, and the files that may call them; `module.eval()` without arguments is torch's."""

LOADS = {"np.load": (), "numpy.load": (), "torch.load": (), "torch.jit.load": ()}


def findings(package: Path) -> Iterator[str]:
    """What a file does that it must not, as `file:line: what`."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
            for what in _wrong(node, file):
                yield f"{file}:{getattr(node, 'lineno', 0)}: {what}"


def _wrong(node: ast.AST, file: str) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        yield from (f"imports {name}" for name in names if name.partition(".")[0] in MODULES)
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func)
    last = name.rpartition(".")[2]
    if file not in {**CALLS, **LOADS}.get(name if name in LOADS else last, (file,)) and (node.args or node.keywords):
        yield f"calls {last if last in CALLS else name}"
    for keyword in node.keywords:
        plain = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if (keyword.arg, plain) in (("allow_pickle", True), ("weights_only", False), ("shell", True)):
            yield f"says {keyword.arg}={plain}"
        if keyword.arg == "trust_remote_code" and file != "pretrained.py":
            yield "says trust_remote_code"


def test_no_file_reads_what_could_run() -> None:
    assert list(findings(PACKAGE)) == []


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("a.py", "def f():\n    import pickle", "a.py:2: imports pickle"),
        ("a.py", "from yaml import safe_load", "a.py:1: imports yaml"),
        ("a.py", "torch.load(path)", "a.py:1: calls torch.load"),
        ("a.py", "np.load(path, allow_pickle=False)", "a.py:1: calls np.load"),
        ("a.py", "AutoModel.from_pretrained(path)", "a.py:1: calls from_pretrained"),
        ("a.py", "timm.models.load_checkpoint(model, path)", "a.py:1: calls load_checkpoint"),
        ("a.py", "archive.extractall(folder)", "a.py:1: calls extractall"),
        ("a.py", "eval(text)", "a.py:1: calls eval"),
        ("a.py", "run(x, shell=True)", "a.py:1: says shell=True"),
        ("a.py", "load(x, weights_only=False)", "a.py:1: says weights_only=False"),
        ("a.py", "AutoConfig.for_model(trust_remote_code=True)", "a.py:1: says trust_remote_code"),
    ],
)
def test_what_could_run_is_found(tmp_path: Path, file: str, text: str, expected: str) -> None:
    (tmp_path / file).write_text(text, "utf-8")
    assert list(findings(tmp_path)) == [expected]


def test_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "pretrained.py").write_text("AutoModel.from_pretrained(x, trust_remote_code=True)", "utf-8")
    (tmp_path / "a.py").write_text("model.eval()\njson.load(file)\nload(x, weights_only=True)", "utf-8")
    assert list(findings(tmp_path)) == []
