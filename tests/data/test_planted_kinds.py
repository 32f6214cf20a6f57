"""Planted defects in other kinds of files: each is found where it was put, and the good rows are used as they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made_images
import planted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkd.data.card import Card, open_source
from mmkd.data.dataset import DataSet
from mmkd.data.findings import REASONS, WITHOUT_A_ROW

QUARANTINE: dict[str, Any] = {reason: "quarantine" for reason in REASONS if reason not in WITHOUT_A_ROW}
MOOD = {"mood": {"kind": "classify", "labels": ["bad", "good"]}}
PNG = made_images.encoded(made_images.noise(), "PNG")

Used = tuple[str, tuple[str, ...], bytes | None, dict[str, Any]]


@dataclass(frozen=True)
class Set:
    """A set with the split `train`. found: (reason, file, line, id); used: (id, words, image, labels)."""

    card: Card
    root: Path
    found: list[tuple[str, str | None, int | None, str | None]]
    used: list[Used]


def tables(root: Path) -> Set:
    good = b"k%d,words of their own %d,good"
    lines: list[tuple[bytes, tuple[str, str | None] | None]] = [
        (good % (0, 0), None),
        (b"k1," + b"long " * 400_000 + b",bad", ("row_too_long", None)),
        (good % (2, 2), None),
        (b"k3,a cell, too many,bad", ("row_unreadable", None)),
        (b"k4,a cell too few", ("row_unreadable", None)),
        (b"k5,caf\xe9,bad", ("row_not_utf8", None)),
        (b'k6,"a quote that is not closed,bad', ("row_unreadable", None)),
        (good % (7, 7), None),
        (b",no id,bad", ("id_missing", None)),
        (b"k2,the third row's id,bad", ("id_repeated", "k2")),
        (b"k10,a label of no one,great", ("label_unknown", "k10")),
        (b"k11,,bad", ("row_empty", "k11")),
        (b"k12,a NUL \0 here,bad", ("text_nul", "k12")),
        ("k13,a word \u200b without ink,bad".encode(), ("text_zero_width", "k13")),
        ("k14,some עברית,bad".encode(), ("text_right_to_left", "k14")),
        (good % (15, 15), None),
        (b"k16,words of their own 2,good", ("row_repeated", "k16")),
    ]
    (root / "rows.csv").write_bytes(b"id,text,mood\n" + b"".join(line + b"\n" for line, _ in lines))
    source = {"kind": "csv", "splits": {"train": "rows.csv"}, "id": "id", "text": "text"}
    source |= {"labels": {"mood": {"column": "mood"}}}
    found = [(bad[0], "rows.csv", number, bad[1]) for number, (_, bad) in enumerate(lines, 2) if bad is not None]
    used = [(f"k{n}", ("words", "of", "their", "own", str(n)), None, {"mood": 1}) for n in (0, 2, 7, 15)]
    return Set(planted.card(root, source, MOOD, {"train": len(lines)}), root, found, used)


def sentences(root: Path) -> Set:
    good = "#id s{0}\nMs\tO\nA{0}\tB-PER\nB{0}\tI-PER\n"
    parts: list[tuple[bytes, tuple[str, int, str | None] | None]] = [  # the defect's line within the sentence
        (good.format(0).encode(), None),
        (b"#id s1\none\tO\ntwo\tB-LOC\n", ("label_unknown", 2, "s1")),
        (b"#id s2\none\tO\ntwo\tI-PER\n", ("label_bio", 2, "s2")),
        (good.format(3).encode(), None),
        (b"#id s4\none\tO\nno tag\n", ("row_unreadable", 2, "s4")),
        (b"#id s5\none\tO\ncaf\xe9\tO\n", ("row_not_utf8", 2, "s5")),
        (b"#id s0\nthe first sentence's id\tO\n", ("id_repeated", 1, "s0")),
        (b"#id \nno id\tO\n", ("id_missing", 1, None)),
        (b"#id s8\n", ("row_empty", 0, "s8")),
        (b"#id s9\n" + b"w" * 2_000_000 + b"\tO\n", ("row_too_long", 1, "s9")),
        ("#id s10\none\tO\n\u2060\tO\n".encode(), ("text_zero_width", 1, "s10")),
        (b"#id s11\nN\0L\tO\n", ("text_nul", 1, "s11")),
        (good.format(12).encode(), None),
    ]
    (root / "rows.conll").write_bytes(b"\n".join(part for part, _ in parts))
    found, line = [], 1
    for part, bad in parts:
        if bad is not None:
            found.append((bad[0], "rows.conll", line + bad[1], bad[2]))
        line += part.count(b"\n") + 1
    source = {"kind": "conll", "splits": {"train": "rows.conll"}, "task": "ner", "id": "#id"}
    tasks = {"ner": {"kind": "tag", "labels": ["O", "B-PER", "I-PER"]}}
    used = [(f"s{n}", ("Ms", f"A{n}", f"B{n}"), None, {"ner": (0, 1, 2)}) for n in (0, 3, 12)]
    return Set(planted.card(root, source, tasks, {"train": len(parts)}), root, found, used)


def columns(root: Path) -> Set:
    def image(content: bytes | None, path: str | None = None) -> dict[str, Any]:
        return {"bytes": content, "path": path}

    other = made_images.encoded(made_images.noise(seed=5), "PNG")
    rows: list[tuple[tuple[str | None, str | None, dict[str, Any] | None, float | None], str | None]] = [
        (("a", "first words", image(PNG), 0.5), None),
        (("b", "a path alone", image(None, "b.png"), 0.5), "image_missing"),
        (("c", "no bytes", image(b""), 0.5), "image_empty"),
        (("d", "half", image(PNG[:-40]), 0.5), "image_truncated"),
        (("e", "no image", image(b"e.png"), 0.5), "image_not_an_image"),
        (("f", None, None, 0.5), "row_empty"),
        ((None, "no id", None, 0.5), "id_missing"),
        (("a", "the first id", None, 0.5), "id_repeated"),
        (("i", "not a number", None, float("nan")), "label_not_a_number"),
        (("j", "out of range", None, 2.0), "label_unknown"),
        (("k", "null", None, None), "label_unknown"),
        (("l", None, image(other), 0.25), "text_empty"),
        (("m", "last words", image(other), -0.25), None),
        (("n", "last words", image(other), -0.25), "row_repeated"),
    ]
    names = ("id", "text", "image", "score")
    table = pa.table({name: [row[place] for row, _ in rows] for place, name in enumerate(names)})
    pq.write_table(table, root / "rows.parquet", row_group_size=4)
    source = {"kind": "parquet", "splits": {"train": "rows.parquet"}, "id": "id", "text": "text"}
    source |= {"image": {"column": "image"}, "labels": {"score": {"column": "score"}}}
    tasks = {"score": {"kind": "regress", "range": [-1, 1]}}
    # That there are no bytes is found before the row has an id.
    ids = [None if bad == "image_missing" else row[0] for row, bad in rows]
    found = [(bad, "rows.parquet", n + 1, ids[n]) for n, (_, bad) in enumerate(rows) if bad is not None]
    used: list[Used] = [
        ("a", ("first", "words"), PNG, {"score": 0.5}),
        ("m", ("last", "words"), other, {"score": -0.25}),
    ]
    return Set(planted.card(root, source, tasks, {"train": len(rows)}), root, found, used)


def folders(root: Path) -> Set:
    one, two = (made_images.encoded(made_images.noise(seed=seed), "JPEG") for seed in (1, 2))
    members: list[tuple[bytes, bytes, str | None]] = [
        (b"bad/a.jpg", one, None),
        (b"bad/b.jpg", b"a text\n", "image_not_an_image"),
        (b"bad/c.jpg", b"", "image_empty"),
        (b"bad/d.jpg", one[:300], "image_truncated"),
        (b"bad/e.gif", made_images.frames("GIF"), "image_animated"),
        (b"bad/\xff.jpg", one, "row_not_utf8"),
        (b"good/a.jpg", two, None),
        (b"good/b.jpg", two, "row_repeated"),
        (b"great/a.jpg", one, "label_unknown"),
    ]
    for name, content, _ in members:
        path = Path(os.fsdecode(os.path.join(os.fsencode(root / "train"), name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "train" / "good" / "c.jpg").symlink_to(root.parent / "elsewhere.jpg")
    (root.parent / "elsewhere.jpg").write_bytes(one)
    source = {"kind": "image_folder", "splits": {"train": "train"}, "task": "mood"}
    found: list[tuple[str, str | None, int | None, str | None]] = []
    for name, _, bad in members:
        if bad == "row_not_utf8":
            found.append((bad, "train/bad/\\udcff.jpg", None, None))
        elif bad is not None:
            # A row of its own that the check looks at is named by its folder; what is no row, by its path.
            place = "train" if bad != "label_unknown" else f"train/{name.decode()}"
            found.append((bad, place, None, name.decode()))
    found += [("image_palette", "train", None, "bad/e.gif"), ("image_missing", "train/good/c.jpg", None, "good/c.jpg")]
    used: list[Used] = [("bad/a.jpg", (), one, {"mood": 0}), ("good/a.jpg", (), two, {"mood": 1})]
    files = {"train/": {"sha256": "0" * 64}}
    card = planted.card(root, source, MOOD, {"train": len(members) + 1}, files=files, modalities=["image"])
    return Set(card, root, found, used)


KINDS = {"csv": tables, "conll": sentences, "parquet": columns, "image_folder": folders}


@pytest.mark.parametrize("kind", KINDS)
def test_each_defect_is_found_where_it_is_and_the_good_rows_are_used_as_they_are(kind: str, tmp_path: Path):
    (tmp_path / "root").mkdir()
    planted_set = KINDS[kind](tmp_path / "root")
    source = open_source(planted_set.card, {}, planted_set.root)
    data = DataSet(planted_set.card, source, tmp_path / "checks", QUARANTINE)
    report = data.report()
    found = [each.finding for each in report.found]
    assert sorted(((one.reason, one.file, one.row, one.id) for one in found), key=str) == sorted(
        planted_set.found, key=str
    )
    used = [(row.id, row.words, row.image and row.image(), dict(row.labels)) for row in data.read("train")]
    assert used == planted_set.used
    account = report.accounts["train"]
    assert account.used == len(used)
    assert account.rows == account.used + sum(account.quarantined.values()) == planted_set.card.splits["train"]
