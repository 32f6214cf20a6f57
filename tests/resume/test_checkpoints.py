"""A row of checkpoints: whole or not there, damage named and put aside, the one before used, other runs refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save

import mmkd.checkpoints as module
from mmkd import disk
from mmkd.checkpoints import MANIFEST, Before, Checkpoints, Damaged, OtherRun, Saved, read
from mmkd.disk import DiskError
from mmkd.record import hash_of
from tiny_project import same_weights

COMMON = "common.safetensors"
OWN = "own-0.safetensors"


def tensors(step: int) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(step)
    weights = {f"network/{n}": torch.randn(5, 4, generator=generator) for n in "abc"}
    return {"common": weights, "own-0": {"counts": torch.arange(step), "none": torch.zeros(2, 0)}}


def facts(step: int) -> dict[str, Any]:
    return {"epoch": step // 3, "history": [{"mean_score": 0.1 * step, "none": None}]}


def row(folder: Path, said: list[str] | None = None, keep: int = 2, **made_from: str) -> Checkpoints:
    return Checkpoints(folder, {"code": "1", **made_from}, (said if said is not None else []).append, keep)


def filled(folder: Path, *steps: int, keep: int = 9) -> Checkpoints:
    checkpoints = row(folder, keep=keep)
    for step in steps:
        checkpoints.save(step, tensors(step), facts(step))
    return checkpoints


def step_found(folder: Path, said: list[str] | None = None) -> int | None:
    """The step that a run would go on from, with all its content as it was saved."""
    saved = row(folder, said).newest()
    if saved is None:
        return None
    assert all(same_weights(saved.tensors[name], own) for name, own in tensors(saved.step).items())
    assert {key: saved.facts[key] for key in facts(0)} == facts(saved.step)
    return saved.step


def test_the_newest_comes_back_as_it_was(tmp_path: Path) -> None:
    filled(tmp_path / "c", 3, 6, 12)
    assert step_found(tmp_path / "c") == 12
    assert step_found(tmp_path / "nowhere") is None


def test_only_the_newest_few_are_kept(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path / "c", *range(7), keep=2)
    assert checkpoints.steps() == [5, 6]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["000000005", "000000006"]
    checkpoints.remove()
    assert not (tmp_path / "c").exists()


def test_those_of_another_training_are_refused_and_stay(tmp_path: Path) -> None:
    filled(tmp_path / "c", 3)
    with pytest.raises(OtherRun, match="another code, data, so that"):
        row(tmp_path / "c", code="2", data="x").newest()
    assert step_found(tmp_path / "c") == 3


Damage = Callable[[Path], None]


def cut(name: str, share: float) -> Damage:
    return lambda place: os.truncate(place / name, int((place / name).stat().st_size * share))


def longer(name: str, more: bytes) -> Damage:
    return lambda place: (place / name).write_bytes((place / name).read_bytes() + more)


def flip(name: str, where: float, bit: int = 0) -> Damage:
    def damage(place: Path) -> None:
        data = bytearray((place / name).read_bytes())
        data[min(int(len(data) * where), len(data) - 1)] ^= 1 << bit
        (place / name).write_bytes(data)

    return damage


def gone(name: str) -> Damage:
    return lambda place: (place / name).unlink()


def filled_with(name: str, byte: bytes) -> Damage:
    return lambda place: (place / name).write_bytes(byte * (place / name).stat().st_size)


def written(name: str, data: bytes) -> Damage:
    return lambda place: (place / name).write_bytes(data)


def folder_in_place_of(name: str) -> Damage:
    def damage(place: Path) -> None:
        (place / name).unlink()
        (place / name).mkdir()

    return damage


def of_the_one_before(name: str) -> Damage:
    return lambda place: shutil.copy(place.with_name("000000003") / name, place / name)


def of_each_other(place: Path) -> None:
    one, other = (place / COMMON).read_bytes(), (place / OWN).read_bytes()
    (place / COMMON).write_bytes(other)
    (place / OWN).write_bytes(one)


def all_of_the_one_before(place: Path) -> None:
    shutil.rmtree(place)
    shutil.copytree(place.with_name("000000003"), place)


def emptied(place: Path) -> None:
    shutil.rmtree(place)
    place.mkdir()


def changed(**values: Any) -> Damage:
    """Another value in the manifest, whose digest stays."""

    def damage(place: Path) -> None:
        found = json.loads((place / MANIFEST).read_text())
        (place / MANIFEST).write_text(json.dumps(found | values))

    return damage


def without(key: str) -> Damage:
    def damage(place: Path) -> None:
        found = json.loads((place / MANIFEST).read_text())
        del found[key]
        (place / MANIFEST).write_text(json.dumps(found))

    return damage


def dangling(name: str) -> Damage:
    def damage(place: Path) -> None:
        (place / name).unlink()
        (place / name).symlink_to("/nowhere/at/all")

    return damage


def unlinked_size(place: Path) -> None:
    """A file of the right size and another content, as a disk leaves it that lost what it had not written yet."""
    size = (place / COMMON).stat().st_size
    (place / COMMON).unlink()
    with (place / COMMON).open("wb") as file:
        file.truncate(size)


DAMAGES: dict[str, Damage] = {
    **{f"{name} cut to {share:.0%}": cut(name, share) for name in (COMMON, OWN, MANIFEST) for share in (0, 0.5, 0.99)},
    **{f"{name} longer": longer(name, b"\0") for name in (COMMON, OWN, MANIFEST)},
    **{f"{COMMON} bit at {where:.0%}": flip(COMMON, where, 3) for where in (0, 0.03, 0.3, 0.6, 1.0)},
    **{f"{OWN} bit at {where:.0%}": flip(OWN, where) for where in (0, 1.0)},
    **{f"{MANIFEST} bit at {where:.0%}": flip(MANIFEST, where) for where in (0, 0.25, 0.5, 0.75)},
    **{f"{name} gone": gone(name) for name in (COMMON, OWN, MANIFEST)},
    **{f"{name} all zero": filled_with(name, b"\0") for name in (COMMON, MANIFEST)},
    **{f"{name} a folder": folder_in_place_of(name) for name in (COMMON, MANIFEST)},
    **{f"{name} of the one before": of_the_one_before(name) for name in (COMMON, OWN, MANIFEST)},
    **{f"{name} a link to nowhere": dangling(name) for name in (COMMON, MANIFEST)},
    "files of each other": of_each_other,
    "all of the one before": all_of_the_one_before,
    "emptied": emptied,
    "manifest a list": written(MANIFEST, b"[]"),
    "manifest nested": written(MANIFEST, b"[" * 100_000),
    "manifest no UTF-8": written(MANIFEST, b"\xff\xfe{}"),
    "manifest with another step": changed(step=7),
    "manifest with no files": changed(files={}),
    "manifest with another fact": changed(facts={}),
    "manifest without its digest": without("digest"),
    "manifest without its step": without("step"),
    "right size, no content": unlinked_size,
    "a pickle": written(COMMON, b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00."),
}


def test_there_are_forty_kinds_of_damage() -> None:
    assert len(DAMAGES) >= 40


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_named_and_put_aside_and_the_one_before_is_used(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "c"
    checkpoints = filled(folder, 3, 6)
    DAMAGES[kind](folder / "000000006")
    said: list[str] = []
    assert step_found(folder, said) == 3
    (line,) = said
    assert "000000006" in line and "put aside as damaged-000000006-0" in line
    assert [path.name for path in folder.iterdir() if path.name.startswith("damaged")] == ["damaged-000000006-0"]
    checkpoints.save(6, tensors(6), facts(6))  # the step is saved anew
    assert step_found(folder) == 6


def test_control_each_check_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the hash of the manifest, a changed one is taken."""
    filled(tmp_path / "c", 3, 6)
    changed(facts={})(tmp_path / "c" / "000000006")
    stored = json.loads((tmp_path / "c" / "000000006" / MANIFEST).read_text())["digest"]
    monkeypatch.setattr(module, "hash_of", lambda plain: stored)
    assert read(tmp_path / "c" / "000000006").facts == {"made_from": {"code": "1"}}


def test_where_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    filled(folder, 3, 6)
    for place in list(folder.iterdir()):
        gone(MANIFEST)(place)
    said: list[str] = []
    assert step_found(folder, said) is None and len(said) == 2


def test_a_forged_header_is_damage_and_no_crash(tmp_path: Path) -> None:
    """A file whose hash is right, and whose header promises what is not there."""
    filled(tmp_path / "c", 3)
    place = tmp_path / "c" / "000000003"
    data = (2**62).to_bytes(8, "little") + b"{}"
    (place / COMMON).write_bytes(data)
    found = json.loads((place / MANIFEST).read_text())
    del found["digest"]
    import hashlib

    found["files"][COMMON] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (place / MANIFEST).write_text(json.dumps(found | {"digest": hash_of(found)}))
    with pytest.raises(Damaged, match="common"):
        read(place)


class Killed(BaseException):
    """Stands for a process that ends at once: nothing after it runs, so no clean-up does."""


OPERATIONS = ("write", "fsync", "rename", "unlink", "rmdir", "mkdir")


def count_or_kill(monkeypatch: pytest.MonkeyPatch, at: int | None) -> list[str]:
    """Count the operations on the disk; before number `at`, and at every later one, the process is dead."""
    done: list[str] = []

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if at is not None and len(done) >= at:
                raise Killed
            done.append(name)
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(os, "rename", watched("rename", os.rename))
    monkeypatch.setattr(os, "unlink", watched("unlink", os.unlink))
    monkeypatch.setattr(os, "rmdir", watched("rmdir", os.rmdir))
    monkeypatch.setattr(os, "mkdir", watched("mkdir", os.mkdir))
    half = watched("half a write", lambda path, data: path.write_bytes(data[: len(data) // 2]))
    real, real_tensors = disk.write, module.write_tensors

    def write(path: Path, data: bytes) -> None:
        half(path, data)
        path.unlink()
        real(path, data)

    def write_tensors(path: Path, values: dict[str, torch.Tensor]) -> None:
        half(path, save(values))
        path.unlink()
        real_tensors(path, values)

    monkeypatch.setattr(module, "write", write)
    monkeypatch.setattr(module, "write_tensors", write_tensors)
    return done


def test_killed_at_any_operation_of_a_save_a_run_goes_on_from_a_whole_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "count", 3, 6)
    with monkeypatch.context() as patch:
        done = count_or_kill(patch, None)
        row(tmp_path / "count").save(9, tensors(9), facts(9))
    assert {"fsync", "rename", "unlink", "rmdir", "mkdir", "half a write"} <= set(done)
    ends = []
    for at in range(len(done)):
        folder = tmp_path / str(at)
        filled(folder, 3, 6)
        with monkeypatch.context() as patch:
            count_or_kill(patch, at)
            with pytest.raises(Killed):
                row(folder).save(9, tensors(9), facts(9))
        said: list[str] = []
        found = step_found(folder, said)
        assert said == [], "a kill leaves no damage"
        ends.append(found)
        again = row(folder)
        again.save(12, tensors(12), facts(12))
        assert step_found(folder) == 12
        assert all(path.name.isdigit() for path in folder.iterdir()), "what was left half-done is cleared away"
    assert set(ends) == {6, 9} and ends == sorted(ends)


def failing(number: int, at: int) -> dict[str, Callable[..., None]]:
    """In place of what writes: the file number `at` is half written when the system refuses to go on."""
    count, whole = 0, {"write": disk.write, "write_tensors": module.write_tensors}

    def instead(name: str) -> Callable[..., None]:
        def write(path: Path, content: Any) -> None:
            nonlocal count
            count += 1
            if count == at:
                data = content if name == "write" else save(content)
                path.write_bytes(data[: len(data) // 2])
                raise OSError(number, os.strerror(number))
            whole[name](path, content)

        return write

    return {name: instead(name) for name in whole}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_disk_that_fails_is_said_with_the_bytes_needed_and_the_last_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, at: int
) -> None:
    folder = tmp_path / "c"
    filled(folder, 3)
    size = sum(path.stat().st_size for path in (folder / "000000003").iterdir())
    with monkeypatch.context() as patch:
        for name, instead in failing(number, at).items():
            patch.setattr(module, name, instead)
        with pytest.raises(DiskError, match=rf"000000006: {os.strerror(number)}; .* bytes to be written") as found:
            row(folder).save(6, tensors(6), facts(6))
    assert found.value.exit_code == 5
    needed = int(str(found.value).split("; ")[1].split()[0].replace(",", ""))
    assert 0 <= size - needed < 1500  # tensors without their headers
    assert step_found(folder) == 3
    assert not (folder / "writing").exists()


def test_what_the_system_says_to_the_writer_of_tensors_is_kept() -> None:
    """A file that cannot be made: the number of the error decides what is advised."""
    with pytest.raises(OSError) as found:
        module.write_tensors(Path("/proc/no/such/place"), {"one": torch.zeros(3)})
    assert found.value.errno in (errno.ENOENT, errno.EACCES)


def test_a_full_disk_is_one_to_the_writer_of_tensors_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As safetensors 0.8 says it, seen on a disk that was full."""

    def full(values: Any, path: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError) as found:
        module.write_tensors(tmp_path / "full", {"one": torch.zeros(3)})
    assert found.value.errno == errno.ENOSPC


def test_a_step_that_is_saved_again_takes_the_place_of_the_one_before_its_epoch_ended(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path / "c", 3, 6)
    checkpoints.save(6, tensors(6), facts(9))
    assert read(tmp_path / "c" / "000000006").facts["epoch"] == 2
    checkpoints.save(6, tensors(6), facts(9), replace=True)
    assert read(tmp_path / "c" / "000000006").facts["epoch"] == 3
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["000000003", "000000006"]


def test_killed_at_any_operation_of_such_a_save_a_run_goes_on_from_a_whole_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "count", 3, 6)
    with monkeypatch.context() as patch:
        done = count_or_kill(patch, None)
        row(tmp_path / "count").save(6, tensors(6), facts(9), replace=True)
    ends = []
    for at in range(len(done)):
        folder = tmp_path / str(at)
        filled(folder, 3, 6)
        with monkeypatch.context() as patch:
            count_or_kill(patch, at)
            with pytest.raises(Killed):
                row(folder).save(6, tensors(6), facts(9), replace=True)
        saved = row(folder).newest()
        assert saved is not None
        ends.append((saved.step, saved.facts["epoch"]))
        row(folder).save(6, tensors(6), facts(9), replace=True)
        assert row(folder).newest().facts["epoch"] == 3
        assert all(path.name.isdigit() for path in folder.iterdir()), "what was left half-done is cleared away"
    assert set(ends) == {(6, 2), (3, 1), (6, 3)}


def test_a_training_begins_at_the_end_of_the_one_before_and_nowhere_else(tmp_path: Path) -> None:
    def of(made: str, epoch: int, batch: int = 0) -> Saved:
        return Saved(3, {}, {"made_from": {"code": made}, "epoch": epoch, "batch": batch})

    second = Checkpoints(tmp_path, {"code": "2"}, print, before=Before({"code": "1"}, 4))
    assert second.goes_on_from(of("1", 4)) and second.goes_on_from(of("2", 5, batch=1))
    for saved in (of("1", 3), of("1", 5), of("1", 4, batch=1), of("3", 4)):
        assert not second.goes_on_from(saved)
        with pytest.raises(OtherRun):
            second.require_same(saved)
