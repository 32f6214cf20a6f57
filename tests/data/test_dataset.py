"""A data set as its card defines it: the check is made once; splits, masks and quarantine are part of what it is."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import planted
import pytest
from tiny_sets import folder_sum

from mmkd.arrays import file_hash
from mmkd.config.experiment import DataUse
from mmkd.config.plugin_base import TaskConfig
from mmkd.data import dataset
from mmkd.data._code import code_files
from mmkd.data.base import DataError, Example
from mmkd.data.card import Card, open_source
from mmkd.data.corpus import Readers
from mmkd.data.dataset import DataSet
from mmkd.data.findings import Finding
from mmkd.data.jsonl import Source
from mmkd.data.mix import Mix
from mmkd.tasks import classify, tag

TASKS: dict[str, Any] = {"mood": {"kind": "classify", "labels": ["bad", "good"]}}
COLUMNS = {"kind": "jsonl", "id": "id", "text": "text", "group": "group", "labels": {"mood": {"column": "mood"}}}
NOBODY = Readers({}, {})


def row(number: int, **changes: Any) -> dict[str, Any]:
    text = " ".join(chr(97 + (number * prime) % 26) * 5 + str(number) for prime in (3, 7, 11))
    return {"id": f"r{number}", "text": text, "group": None, "mood": ("bad", "good")[number % 2], **changes}


def written(folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], splits: Any = None, **block: Any) -> Card:
    """A card over a file for each split. splits: rows as the card states them, by default those of the files."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    for split, each in rows.items():
        (root / f"{split}.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in each), "utf-8")
    source = COLUMNS | {"splits": {split: f"{split}.jsonl" for split in rows}}
    return planted.card(root, source, TASKS, splits or {split: len(each) for split, each in rows.items()}, **block)


def opened(card: Card, policy: Mapping[str, Any] | None = None, as_stated: bool = True) -> DataSet:
    root = card.path.parent.parent / "root"
    return DataSet(card, open_source(card, {}, root), root.parent / "checks", policy or {}, as_stated)


def ids(data: DataSet, split: str) -> list[str]:
    return [example.id for example in data.read(split)]


PLAIN = {"train": [row(n) for n in range(8)], "test": [row(n) for n in range(20, 23)]}
DIVIDED = {"of": "train", "shares": {"train": 0.5, "validation": 0.25, "test": 0.25}, "seed": 1}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that sources were asked for, in order."""
    found: list[str] = []
    read = Source.read

    def counted(self: Source, split: str) -> Iterator[Example | Finding]:
        found.append(split)
        yield from read(self, split)

    monkeypatch.setattr(Source, "read", counted)
    return found


def test_a_check_is_made_once_and_then_found_again(tmp_path: Path, reads: list[str]):
    card = written(tmp_path, PLAIN)
    first = opened(card)
    made = first.report()
    assert first.report() is made
    assert reads == ["train", "test"]
    found = opened(card).report()
    assert reads == ["train", "test"]
    assert found == made
    assert ids(opened(card), "test") == ["r20", "r21", "r22"]
    assert reads == ["train", "test", "test"]


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"report": {}, "sha256": ""}', None])
def test_a_stored_check_that_is_damaged_or_edited_is_made_again(tmp_path: Path, reads: list[str], damage: str | None):
    card = written(tmp_path, PLAIN)
    made = opened(card).report()
    (path,) = (tmp_path / "checks").glob("*.json")
    whole = path.read_text("utf-8")
    # Whoever edits a row away in the stored check does not make it go away.
    path.write_text(whole.replace('"test": []', '"test": [0]') if damage is None else damage, "utf-8")
    assert path.read_text("utf-8") != whole
    reads.clear()
    assert opened(card).report() == made
    assert reads == ["train", "test"]
    assert path.read_text("utf-8") == whole


def test_a_check_is_made_anew_when_anything_that_it_depends_on_changes(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
):
    def checked(card: Card, policy: Mapping[str, Any] | None = None, as_stated: bool = True) -> bool:
        reads.clear()
        opened(card, policy, as_stated).report()
        return bool(reads)

    plain = written(tmp_path, PLAIN)
    assert checked(plain)
    assert not checked(plain)
    assert not checked(written(tmp_path, PLAIN, obtain="from somewhere else"))  # the control: it says nothing of rows
    changed = [*PLAIN["train"][:-1], row(7, mood="bad")]
    assert checked(written(tmp_path, PLAIN | {"train": changed}))
    assert checked(written(tmp_path, PLAIN, splits={"train": 8, "test": 4}))
    assert checked(written(tmp_path, PLAIN, policy={"text_nul": "quarantine"}))
    assert checked(plain, {"row_repeated": "quarantine"})
    assert checked(plain, as_stated=False)
    assert checked(written(tmp_path, PLAIN, pii={"present": True, "mask": ["email"]}))
    assert checked(written(tmp_path, PLAIN, modalities=["text"]))
    halves = {"train": PLAIN["train"]}
    divided = [written(tmp_path, halves, {"train": 4, "validation": 2, "test": 2}, division=DIVIDED | {"seed": seed})
               for seed in (1, 2)]  # fmt: skip
    assert [checked(each) for each in divided] == [True, True]
    assert not checked(written(tmp_path, PLAIN))
    monkeypatch.setattr(dataset, "CODE", "another")
    assert checked(plain)


def test_the_code_of_a_check_counts_with_all_that_it_imports_to_look_at_rows():
    folder = Path(dataset.__file__).parent
    for name in ("check_image", "check_text", "duplicates"):
        helpers = {path.stem for path in code_files(folder / f"{name}.py", f"mmkd.data.{name}")}
        assert helpers <= set(dataset.PARTS)


def test_a_refused_report_is_refused_each_time_also_when_it_was_stored(tmp_path: Path, reads: list[str], monkeypatch):
    card = written(tmp_path, PLAIN | {"train": [*PLAIN["train"], row(8, text="a NUL \0")]})
    monkeypatch.setenv("MMKD_DATA", str(tmp_path / "root"))
    for _ in range(3):
        with pytest.raises(DataError, match=r"train\.jsonl:9: row 'r8': text: found U\+0000 .* \(text_nul\)"):
            mix_of(card, tmp_path)
    assert reads == ["train", "test"]


def test_a_row_that_is_refused_is_never_given_out(tmp_path: Path):
    data = opened(written(tmp_path, PLAIN | {"train": [row(0), row(1, mood="great"), row(2)]}))
    with pytest.raises(AssertionError):
        list(data.read("train"))


def mix_of(card: Card, folder: Path, tasks: Mapping[str, TaskConfig] | None = None, **use: Any) -> Mix:
    uses = {"planted": DataUse.model_validate({"card": card.name, **use})}
    return Mix(uses, {"mood": classify.Config()} if tasks is None else tasks, card.path.parent.parent, folder / "data")


def test_a_quarantined_row_changes_the_fingerprint_of_its_split_alone(tmp_path: Path):
    bad = {"text_right_to_left": "quarantine"}
    card = written(tmp_path, PLAIN | {"train": [*PLAIN["train"], row(8, text="שלום to all")]})
    kept, left_out = opened(card), opened(card, bad)
    assert kept.fingerprint("train") != left_out.fingerprint("train")
    assert kept.fingerprint("test") == left_out.fingerprint("test")
    # A policy that leaves out no row changes nothing: what was encoded is found again.
    assert kept.fingerprint("train") == opened(card, {"text_zero_width": "quarantine"}).fingerprint("train")
    assert kept.report().accounts["train"].accepted == {"text_right_to_left": 1}
    assert left_out.report().accounts["train"].quarantined == {"text_right_to_left": 1}
    assert ids(left_out, "train") == [f"r{n}" for n in range(8)]


def test_which_row_is_left_out_counts_and_not_how_many(tmp_path: Path):
    rows = [row(n) for n in range(4)] + [row(4, group="test"), row(5, text="مرحبا to all")]
    card = written(tmp_path, {"train": rows, "test": [row(20, group="test")]})
    one = opened(card, {"group_across_splits": "quarantine"})
    other = opened(card, {"group_across_splits": "accept", "text_right_to_left": "quarantine"})
    assert ids(one, "train") == ["r0", "r1", "r2", "r3", "r5"]
    assert ids(other, "train") == ["r0", "r1", "r2", "r3", "r4"]
    assert one.fingerprint("train") != other.fingerprint("train")


def test_masks_are_part_of_the_fingerprint_and_their_places_are_counted(tmp_path: Path):
    rows = [
        row(0, text="write to ann.smith@example.com or bob@example.org today"),
        row(1, text="ask @cara_x and @dan_y, or mail eve@example.com"),
        row(2, text="nobody to write to"),
    ]
    test = [row(20, text="from fay@example.net with love")]
    plain = opened(written(tmp_path, {"train": rows, "test": test}))
    before = {split: plain.fingerprint(split) for split in ("train", "test")}
    masked = opened(
        written(tmp_path, {"train": rows, "test": test}, pii={"present": True, "mask": ["email", "handle"]})
    )
    assert [" ".join(example.words) for example in masked.read("train")] == [
        "write to [EMAIL] or [EMAIL] today",
        "ask [HANDLE] and [HANDLE] or mail [EMAIL]",
        "nobody to write to",
    ]
    assert masked.report().accounts["train"].masked == {"email": 3, "handle": 2}
    assert masked.report().accounts["test"].masked == {"email": 1}
    assert plain.report().accounts["train"].masked == {}
    emails = opened(written(tmp_path, {"train": rows, "test": test}, pii={"present": True, "mask": ["email"]}))
    for split in ("train", "test"):
        assert len({before[split], masked.fingerprint(split), emails.fingerprint(split)}) == 3


def test_rows_are_compared_as_they_are_masked(tmp_path: Path):
    rows = {
        "train": [row(0, text="reply to ann@example.com please")],
        "test": [row(1, text="reply to bo@example.com please")],
    }
    assert opened(written(tmp_path, rows)).report().found == []
    (found,) = opened(written(tmp_path, rows, pii={"present": True, "mask": ["email"]})).report().found
    assert found.finding.reason == "text_across_splits"


def test_transfer_rows_have_no_labels_whatever_the_source_gives(tmp_path: Path, monkeypatch):
    card = written(tmp_path, {"train": [row(0)], "transfer": [row(1)]})
    given = [Example("given", ("word",), None, {"mood": 1})]
    monkeypatch.setattr(Source, "read", lambda self, split: iter(given))
    data = opened(card, {"text_across_splits": "accept"})
    assert [example.labels for example in data.read("transfer")] == [{}]
    assert [example.labels for example in data.read("train")] == [{"mood": 1}]


def test_a_set_that_was_asked_for_other_rows_need_not_have_those_of_the_card(tmp_path: Path):
    card = written(tmp_path, PLAIN, splits={"train": 100, "test": 3})
    assert [each.finding.reason for each in opened(card).report().found] == ["split_size"]
    assert opened(card, as_stated=False).report().found == []


def test_progress_counts_rows_up_to_those_that_the_card_states(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    opened(written(tmp_path, PLAIN)).report(lambda done, total: seen.append((done, total)))
    assert seen == [(n, 11) for n in range(1, 12)]


def test_a_limit_counts_rows_that_are_used(tmp_path: Path, monkeypatch):
    card = written(tmp_path, PLAIN | {"train": [row(0), row(1, mood="great"), *PLAIN["train"][2:]]})
    monkeypatch.setenv("MMKD_DATA", str(tmp_path / "root"))
    mix = mix_of(card, tmp_path, limit={"train": 3}, policy={"label_unknown": "quarantine"})
    assert mix.training(NOBODY).ids() == ["r0", "r2", "r3"]
    assert mix.accounts()["planted/train"].quarantined == {"label_unknown": 1}


# Division.


def in_all(data: DataSet, splits: Sequence[str] = ("train", "validation", "test")) -> dict[str, list[str]]:
    return {split: ids(data, split) for split in splits}


def divided(folder: Path, rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], **changes: Any) -> DataSet:
    folder.mkdir(exist_ok=True)
    return opened(written(folder, {"train": rows}, sizes, division=DIVIDED | changes))


def test_a_division_gives_every_row_once_in_the_order_of_the_file(tmp_path: Path):
    rows = [row(n) for n in range(40)]
    sizes = {"train": 20, "validation": 10, "test": 10}
    data = divided(tmp_path / "one", rows, sizes)
    assert data.report().found == []
    found = in_all(data)
    assert {split: len(each) for split, each in found.items()} == sizes
    assert sorted(chain(*found.values()), key=lambda name: int(name[1:])) == [f"r{n}" for n in range(40)]
    for each in found.values():
        assert each == sorted(each, key=lambda name: int(name[1:]))
    assert in_all(divided(tmp_path / "same", rows, sizes)) == found
    assert in_all(divided(tmp_path / "other", rows, sizes, seed=2)) != found
    # Another order of the file is the same division.
    turned = in_all(divided(tmp_path / "turned", rows[::-1], sizes))
    assert {split: each[::-1] for split, each in turned.items()} == found


def test_rows_of_a_group_stay_together_unless_the_card_says_otherwise(tmp_path: Path):
    rows = [row(n, group=f"document {n // 4}") for n in range(40)]
    sizes = {"train": 20, "validation": 10, "test": 10}
    kept = divided(tmp_path / "kept", rows, {"train": 20, "validation": 8, "test": 12})
    where = {name: split for split, each in in_all(kept).items() for name in each}
    assert all(len({where[f"r{n}"] for n in range(4 * group, 4 * group + 4)}) == 1 for group in range(10))
    apart = divided(tmp_path / "apart", rows, sizes, keep_groups=False).report()
    assert {each.finding.reason for each in apart.found} == {"group_across_splits"}


def test_each_split_has_its_share_of_each_label(tmp_path: Path):
    rows = [row(n, mood="good" if n < 16 else "bad") for n in range(80)]
    sizes = {"train": 40, "validation": 20, "test": 20}
    data = divided(tmp_path / "stratified", rows, sizes, stratify="mood")
    counts = {split: Counter(example.labels["mood"] for example in data.read(split)) for split in sizes}
    assert counts == {"train": {0: 32, 1: 8}, "validation": {0: 16, 1: 4}, "test": {0: 16, 1: 4}}
    uneven = divided(tmp_path / "not", rows, sizes)
    assert {split: Counter(e.labels["mood"] for e in uneven.read(split)) for split in sizes} != counts


def test_a_row_that_is_no_example_is_counted_once_with_the_first_split(tmp_path: Path):
    rows = [row(n) for n in range(8)]
    rows[3] = row(3, mood="great")
    policy = {"label_unknown": "quarantine"}
    card = written(tmp_path, {"train": rows}, {"train": 5, "validation": 2, "test": 1}, division=DIVIDED)
    report = opened(card, policy).report()
    assert sum(account.rows for account in report.accounts.values()) == 8
    (found,) = [each for each in report.found if each.finding.reason == "label_unknown"]
    assert (found.finding.split, found.finding.row, found.finding.id) == ("train", 4, "r3")
    used = in_all(opened(card, policy))
    assert sorted(chain(*used.values())) == ["r0", "r1", "r2", "r4", "r5", "r6", "r7"]
    assert report.accounts["train"].quarantined == {"label_unknown": 1}


def test_a_division_is_part_of_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows, sizes = [row(n) for n in range(40)], {"train": 20, "validation": 10, "test": 10}
    one = divided(tmp_path / "one", rows, sizes)
    other = divided(tmp_path / "other", rows, sizes, seed=2)
    found = [data.fingerprint(split) for data in (one, other) for split in sizes]
    assert len(set(found)) == 6
    assert divided(tmp_path / "same", rows, sizes).fingerprint("train") == found[0]
    monkeypatch.setattr(dataset, "DIVISION_CODE", "another rounding")
    assert divided(tmp_path / "code", rows, sizes).fingerprint("train") != found[0]


# Files that change after a good check.


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> planted.Built:
    """A set with an archive of images, which was opened and encoded once."""
    built = planted.build(tmp_path / "root", {"train": 6, "test": 3}, [])
    monkeypatch.setenv("MMKD_DATA", str(built.root))
    open_mix(built).training(NOBODY)
    return built


def open_mix(built: planted.Built) -> Mix:
    return mix_of(built.card, built.root.parent, {"mood": classify.Config(), "names": tag.Config()})


def flip(path: Path, content: bytes) -> None:
    """Change one bit in the middle of what stands once in a file."""
    whole = bytearray(path.read_bytes())
    assert whole.count(content) == 1
    whole[whole.index(content) + len(content) // 2] ^= 1
    path.write_bytes(whole)


def test_one_bit_of_one_image_in_an_archive_is_refused_and_the_image_named(project: planted.Built):
    chosen = project.good("train")[2]
    flip(project.root / "planted/images.zip", chosen.content or b"")
    with pytest.raises(DataError) as caught:
        open_mix(project)
    assert "planted/images.zip: found sha256" in str(caught.value)
    assert f"damaged (cannot be read, or another CRC-32 than their own): {chosen.image}\n" in str(caught.value)
    flip(project.root / "planted/images.zip", mended(project, 2))
    assert len(open_mix(project).training(NOBODY)) == 6


def mended(project: planted.Built, number: int) -> bytes:
    """The image as it is in the archive after its bit was flipped."""
    content = bytearray(project.good("train")[number].content or b"")
    content[len(content) // 2] ^= 1
    return bytes(content)


def test_one_bit_of_one_image_in_a_folder_is_refused_and_the_image_named(tmp_path: Path, monkeypatch):
    built = planted.build(tmp_path / "first" / "root", {"train": 6, "test": 3}, [])
    images = built.root / "images"
    images.mkdir()
    for split in built.rows:
        for each in built.good(split):
            if each.image is not None:
                (images / each.image).write_bytes(each.content or b"")
    (built.root / "planted/images.zip").unlink()
    sums = {f"planted/{split}.jsonl": file_hash(built.root / f"planted/{split}.jsonl") for split in built.rows}
    files = {name: {"sha256": value} for name, value in (sums | {"images/": folder_sum(images)}).items()}
    source = built.card.source | {"image": {"column": "image", "folder": "images"}}
    splits = {str(split): rows for split, rows in built.card.splits.items()}
    card = planted.card(built.root, source, planted.TASKS, splits, files=files)
    monkeypatch.setenv("MMKD_DATA", str(built.root))
    assert len(mix_of(card, tmp_path).training(NOBODY)) == 6
    chosen = built.good("test")[1]
    flip(images / str(chosen.image), chosen.content or b"")
    with pytest.raises(DataError, match=rf"images/: found sha256 .*\n  changed: {chosen.image}\n"):
        mix_of(card, tmp_path)


def test_a_file_that_was_edited_to_the_same_size_and_time_is_refused(project: planted.Built):
    path = project.root / "planted/train.jsonl"
    before, text = path.stat(), path.read_bytes()
    path.write_bytes(text.replace(b'"mood": "flat"', b'"mood": "good"', 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(DataError, match=r"planted/train\.jsonl: found sha256"):
        open_mix(project)
    path.write_bytes(text)
    open_mix(project)


def test_a_file_that_is_gone_is_named(project: planted.Built):
    (project.root / "planted/test.jsonl").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing.*\nplanted/test\.jsonl"):
        open_mix(project)
