"""Which files' code a fingerprint covers."""

from pathlib import Path

from mmkd.data._code import code_files


def test_a_module_and_what_it_imports_of_its_own_folder(tmp_path: Path):
    texts = {
        "kind": "import json\nfrom lab import _near, other_name\nfrom lab._direct import f\nimport lab._plain\n"
        "from . import _relative\nfrom ._dotted import g\nif TYPE_CHECKING:\n    from lab import unused\n",
        "_near": "from lab._far import h\n",
        "_far": "from lab import kind\n",
        **dict.fromkeys(("_direct", "_plain", "_relative", "_dotted", "unused", "json"), ""),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    found = {path.stem for path in code_files(tmp_path / "kind.py", "lab.kind")}
    assert found == {"kind", "_near", "_far", "_direct", "_plain", "_relative", "_dotted"}


def test_a_module_outside_any_package_stands_alone(tmp_path: Path):
    (tmp_path / "kind.py").write_text("import json\n")
    (tmp_path / "json.py").write_text("")
    assert code_files(tmp_path / "kind.py", "kind") == [tmp_path / "kind.py"]
