"""The state of the code that a record is filed under."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from mmkd.environment import code_state, machine, package_versions


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_clean_tree_has_its_commit_and_no_difference(repository: Path):
    state = code_state(repository)
    assert state.commit == git(repository, "rev-parse", "HEAD")
    assert state.diff is None


def test_every_change_counts_and_the_same_change_counts_the_same(repository: Path):
    def after(change) -> str | None:
        change()
        return code_state(repository).diff

    def write(name: str, content: bytes):
        return lambda: (repository / name).write_bytes(content)

    found = [
        after(write("code.py", b"a = 2\n")),
        after(write("new.py", b"b = 1\n")),
        after(write("new.py", b"b = 2\n")),
        after(write("na\u00efve name.bin", b"\xff\x00\xfe")),  # neither its name nor its content is ASCII
        after(write("code.py", b"a = '\xe9'\n")),  # not UTF-8
    ]
    assert None not in found
    assert len(set(found)) == 5
    assert code_state(repository).diff == found[-1]


def test_ignored_files_and_results_do_not_count(repository: Path):
    (repository / "ignored").write_text("x")
    (repository / "results").mkdir()
    (repository / "results" / "record.json").write_text("{}")
    assert code_state(repository).diff is None


def test_a_repository_inside_does_not_stop_a_run(repository: Path):
    inner = repository / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "file").write_text("x")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "one")
    assert code_state(repository).diff is not None


def test_outside_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    state = code_state(tmp_path)
    assert (state.commit, state.diff) == (None, None)


def test_versions_and_machine():
    assert package_versions()["torch"] == torch.__version__.partition("+")[0]
    found = machine(torch.device("cpu"))
    assert (found.threads, found.interop_threads) == (torch.get_num_threads(), torch.get_num_interop_threads())
    assert found.cpu_features == torch.backends.cpu.get_cpu_capability()
    if found.cpu_features.startswith("AVX"):  # which torch uses only where the processor has it
        assert found.cpu_features.lower().removesuffix("512") in "".join(found.cpu_flags)
    if torch.backends.mkldnn.is_available():
        assert any("DNN" in library for library in found.libraries)
