"""The contact sheet: which rows, which words and marks, and what is on the picture."""

import io
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny_sets
from PIL import Image, ImageColor

from mmkd.data.base import Example
from mmkd.data.card import Card, CardTask, data_root, open_source, read_card
from mmkd.show.contact_sheet import CELL, COLOURS, GAP, answer, draw
from mmkd.show.sheet_choice import choose
from mmkd.show.sheet_pen import Pen
from mmkd.show.sheet_text import Piece, cut, in_visual_order, is_right_to_left, lines, pieces, visible

CARDS = Path(__file__).parents[2] / "data_cards"
MOOD = CardTask(kind="classify", labels=("bad", "fair", "good"))
NER = CardTask(kind="tag", labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
TOPICS = CardTask(kind="multilabel", labels=("a", "b", "c"))
SCORE = CardTask(kind="regress")


@pytest.fixture
def card(tmp_path: Path) -> Card:
    (tmp_path / "root").mkdir()
    return tiny_sets.card(tmp_path / "root", {"kind": "market_notes"}, {"mood": {"kind": "regress"}})


def with_tasks(card: Card, **tasks: CardTask) -> Card:
    return card.model_copy(update={"tasks": tasks})


def png(size: tuple[int, int], colour: str | tuple[int, ...] = "red", mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, "PNG")
    return stream.getvalue()


def example(name: str, words: str = "some words", image: bytes | None = None, **labels) -> Example:
    return Example(name, tuple(words.split()), None if image is None else lambda: image, labels)


def counted(counts: dict[str, dict[int | None, int]]) -> dict[str, list[Example]]:
    """Rows of one task `mood`: split -> label -> number of rows."""
    return {
        split: [
            example(f"{split}-{label}-{place}", **({} if label is None else {"mood": label}))
            for label, number in labels.items()
            for place in range(number)
        ]
        for split, labels in counts.items()
    }


def test_rare_labels_and_small_splits_are_shown_as_often_as_others(card: Card):
    rows = counted({"train": {0: 900, 1: 20, 2: 5}, "validation": {0: 30, 1: 4, 2: 4}, "test": {0: 20, 1: 9, 2: 4}})
    for seed in range(5):
        chosen = choose(with_tasks(card, mood=MOOD), rows, 18, seed)
        pairs = Counter((split, row.labels["mood"]) for split, row in chosen)
        assert pairs == dict.fromkeys([(split, label) for split in rows for label in range(3)], 2)


def test_the_seed_chooses_the_rows_and_no_row_comes_twice(card: Card):
    card, rows = with_tasks(card, mood=MOOD), counted({"train": {0: 50, 1: 50}, "test": {0: 50, 2: 1}})
    first, again, other = (choose(card, rows, 10, seed) for seed in (3, 3, 4))
    assert first == again
    assert {row.id for _, row in first} != {row.id for _, row in other}
    assert len({row.id for _, row in first}) == 10
    assert len({row.id for _, row in choose(card, rows, 1000, 0)}) == 151
    assert choose(card, {}, 10, 0) == []


def test_rows_are_ordered_by_label_then_split_and_those_without_a_label_come_last(card: Card):
    rows = counted({"test": {2: 1, 0: 1}, "transfer": {None: 1}, "train": {0: 1, 2: 1}})
    order = [(split, row.labels.get("mood")) for split, row in choose(with_tasks(card, mood=MOOD), rows, 9, 0)]
    assert order == [("train", 0), ("test", 0), ("train", 2), ("test", 2), ("transfer", None)]


def test_a_row_without_an_image_is_shown_once_and_not_more(card: Card):
    rows = [example(f"with-{place}", image=b"") for place in range(500)]
    rows += [example(f"without-{place}") for place in range(20)]
    chosen = choose(with_tasks(card), {"train": rows}, 10, 0)
    assert Counter(row.image is None for _, row in chosen) == {False: 9, True: 1}


def test_every_entity_type_and_label_set_is_shown(card: Card):
    rows = [example(f"o{place}", "a b", ner=(0, 0)) for place in range(300)]
    rows += [example("per", "a b", ner=(1, 2)), example("loc", "a b", ner=(3, 0))]
    rows += [example("topic", topics=frozenset({1})), example("none", topics=frozenset())]
    chosen = choose(with_tasks(card, ner=NER, topics=TOPICS), {"train": rows}, 8, 0)
    assert {"per", "loc", "topic", "none"} <= {row.id for _, row in chosen}


def test_values_come_from_every_quarter_of_the_rows(card: Card):
    rows = [example(f"{place}", score=1.1**place) for place in range(100)]
    for seed in range(5):
        chosen = choose(with_tasks(card, score=SCORE), {"train": rows}, 8, seed)
        assert Counter(int(row.id) // 25 for _, row in chosen) == dict.fromkeys(range(4), 2)


GLYPHS = {ord(letter) for letter in "abcdefgh $<>&@#_^{}☕"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a_{b}$", "$a_{b}$"),
        ("☕", "☕"),
        ("😂", ":face with tears of joy:"),
        ("a👍🏽", "a:thumbs up sign:"),
        ("☕\ufe0f", "☕"),
        ("\ufe0f", "□"),
        ("\u200d", "‹U+200D›"),
        ("東京", "□□"),
        ("a\u200bb", "a‹U+200B›b"),
        ("a\x00\n", "a‹U+0000›‹U+000A›"),
        ("\ud83d", "‹U+D83D›"),
        ("a b\u00a0", "a b‹U+00A0›"),
    ],
)
def test_nothing_is_invisible(text: str, expected: str):
    assert visible(text, GLYPHS) == expected


def test_what_the_font_is_said_to_have_it_has():
    pen = Pen()
    missing = bytes(pen.text.getmask("\U0010ffff"))
    for letter in "aÄω☕ع\u20ac😂":
        assert visible(letter, pen.glyphs) == letter
        assert bytes(pen.text.getmask(letter)) != missing, unicodedata.name(letter)
    assert bytes(pen.text.getmask("東")) == missing
    assert visible("東", pen.glyphs) == "□"


def test_a_name_fits_its_line_and_shows_every_letter():
    pen = Pen()
    assert pen.fitted("a東\u200b", pen.small, 400) == "a□‹U+200B›"
    cut_name = pen.fitted("name" * 50, pen.small, 200)
    assert cut_name.endswith("…")
    assert 180 < pen.small.getlength(cut_name) <= 200


def width_of(piece: Piece) -> float:
    return len(piece.text) + (0 if piece.ending is None else 1 + len(piece.ending))


def test_lines_hold_every_letter_and_are_not_too_wide():
    words = ["abc", "de", "x" * 33, "", "fghij", "k" * 11, "l"]
    row = pieces(words, [("LOC", 1, 3)])
    broken = lines(row, width_of, 1, 12)
    assert "".join(piece.text for line in broken for piece in line) == "".join(words)
    for line in broken:
        spaces = sum(piece.opens for piece in line[1:])
        assert sum(map(width_of, line)) + spaces <= 12
    assert [piece.text for piece in row if piece.ending is not None] == ["x" * 33]
    marked = [piece for line in broken for piece in line if piece.entity == 0]
    assert "".join(piece.text for piece in marked) == "de" + "x" * 33
    assert [piece.ending for piece in marked if piece.ending] == ["LOC"]


def test_words_fill_a_line_before_the_next_begins():
    broken = lines(pieces(["aa", "bb", "cc", "dd", "ee"], []), width_of, 1, 8)
    assert [[piece.text for piece in line] for line in broken] == [["aa", "bb", "cc"], ["dd", "ee"]]


def test_a_cut_text_ends_with_an_ellipsis_inside_the_line():
    broken = lines(pieces(["aa", "bb", "cc", "dd", "ee", "ff", "gg"], []), width_of, 1, 8)
    assert [[piece.text for piece in line] for line in cut(broken, 2, width_of, 1, 8)] == [
        ["aa", "bb", "cc"],
        ["dd", "ee", "…"],
    ]
    assert cut(broken, 3, width_of, 1, 8) == broken


def order(text: str) -> str:
    return " ".join(piece.text for piece in in_visual_order(pieces(text.split(), []), is_right_to_left(text)))


def test_the_order_of_words_follows_their_script():
    assert order("one two 3") == "one two 3"
    assert order("one אבג דהו two") == "one דהו אבג two"
    assert order("אבג דהו three four ז") == "ז three four דהו אבג"
    assert order("אבג 1 2 דהו") == "דהו 2 1 אבג"
    assert order("אבג ! May 5 ? June 6 דהו") == "דהו May 5 ? June 6 ! אבג"
    assert order("one אבג 5 , דהו two !") == "one דהו , 5 אבג two !"
    assert order("one אבג ! two") == "one אבג ! two"
    assert not is_right_to_left("12 ! abc אבג")
    assert is_right_to_left("12 ! אבג abc")


@pytest.mark.parametrize(
    ("task", "label", "expected"),
    [
        (MOOD, None, "–"),
        (MOOD, 2, "good"),
        (TOPICS, frozenset({2, 0}), "a, c"),
        (TOPICS, frozenset(), "none of the labels"),
        (SCORE, -0.25, "-0.25"),
        (SCORE, 3, "3"),
        (NER, (0, 0), "no entity"),
        (NER, (1, 2), "1 entity"),
        (NER, (1, 1, 0), "2 entities"),
    ],
)
def test_a_label_in_words(task: CardTask, label, expected: str):
    assert answer(task, label) == expected


def drawn(card: Card, rows: list[Example], path: Path, **options) -> Image.Image:
    draw(card, {"train": rows}, path, **options)
    with Image.open(path) as image:
        return image.convert("RGB")


def box_of(sheet: Image.Image, colour: str | tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """The smallest box that holds all pixels of exactly this colour."""
    wanted = ImageColor.getrgb(colour) if isinstance(colour, str) else colour
    return Image.fromarray((np.asarray(sheet) == wanted).all(-1)).getbbox()


def test_an_image_keeps_its_shape_and_the_rest_of_its_box_is_empty(card: Card, tmp_path: Path):
    for width, height in ((40, 20), (10, 30), (900, 300)):
        sheet = drawn(with_tasks(card), [example("a", image=png((width, height)))], tmp_path / "sheet.png")
        left, top, right, bottom = box_of(sheet, "red")
        assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.01)
        assert GAP < left < right < GAP + CELL


def test_an_image_as_thin_as_a_line_is_still_there(card: Card, tmp_path: Path):
    sheet = drawn(with_tasks(card), [example("a", image=png((3000, 2), "red"))], tmp_path / "sheet.png")
    left, top, right, bottom = box_of(sheet, "red")
    assert bottom - top == 1
    assert right - left > 300


def test_transparent_pixels_are_white(card: Card, tmp_path: Path):
    clear = png((8, 8), (255, 0, 0, 0), "RGBA")
    half = png((8, 8), (255, 0, 0, 128), "RGBA")
    sheets = [drawn(with_tasks(card), [example("a", image=data)], tmp_path / "sheet.png") for data in (clear, half)]
    assert box_of(sheets[0], "red") is None
    assert box_of(sheets[1], (255, 127, 127)) is not None


def missing_archive() -> bytes:
    raise FileNotFoundError("found no such member")


def test_a_broken_image_is_a_box_that_says_so(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    write = Pen.write
    monkeypatch.setattr(Pen, "write", lambda self, *args: (written.append(args[3]), write(self, *args))[1])
    whole = png((64, 64))
    rows = [example("cut", image=whole[:60]), example("nothing", image=b""), example("none")]
    rows.append(Example("gone", ("a",), missing_archive, {}))
    drawn(with_tasks(card), rows, tmp_path / "sheet.png")
    for start in ("image_truncated", "image_empty", "no image", "cannot be read: found no such member"):
        assert [text for text in written if text.startswith(start)], start


def test_entities_stand_on_the_colour_of_their_type(card: Card, tmp_path: Path):
    sheet = drawn(
        with_tasks(card, ner=NER), [example("a", "x Ann Lee of Rome", ner=(0, 1, 2, 0, 3))], tmp_path / "sheet.png"
    )
    person, place = box_of(sheet, COLOURS[0]), box_of(sheet, COLOURS[1])
    assert person[2] < place[0]
    assert (person[1], person[3]) == (place[1], place[3])
    assert box_of(sheet, COLOURS[2]) is None


def test_an_entity_that_is_tagged_in_two_words_has_no_gap(card: Card, tmp_path: Path):
    sheet = drawn(with_tasks(card, ner=NER), [example("a", "Ann Lee", ner=(1, 2))], tmp_path / "one.png")
    left, top, right, _ = box_of(sheet, COLOURS[0])
    row = [sheet.getpixel((x, top + 1)) for x in range(left + 5, right - 5)]
    assert set(row) == {ImageColor.getrgb(COLOURS[0])}
    sheet = drawn(with_tasks(card, ner=NER), [example("a", "Ann Lee", ner=(1, 1))], tmp_path / "two.png")
    left, top, right, _ = box_of(sheet, COLOURS[0])
    assert ImageColor.getrgb("white") in {sheet.getpixel((x, top + 1)) for x in range(left + 5, right - 5)}


def test_odd_texts_long_texts_and_many_tasks_are_drawn(card: Card, tmp_path: Path):
    words = " ".join(f"word{place}" for place in range(400))
    rows = [
        example("emoji", "I 😂 ❤️ 👍🏽 🤖🦾 $5_{x}$ 東京 naïve \u200b nul\x00 \ud83d", image=png((3, 3))),
        example("arabic", "زار الرئيس باراك أوباما Cairo", ner=(0, 0, 1, 2, 3), parts=(0, 0, 1, 0, 0), mood=1),
        example("long", words, ner=(1, *[2] * 399), topics=frozenset({0, 1}), score=1e9),
        example("x" * 200, "https://example.org/" + "a" * 300),
        Example("no words", (), lambda: png((3, 3)), {"mood": 0}),
    ]
    card = with_tasks(card, mood=MOOD, ner=NER, topics=TOPICS, score=SCORE, parts=NER)
    sheet = drawn(card, rows, tmp_path / "sheet.png")
    assert sheet.size[0] == GAP + 4 * (CELL + GAP)
    assert sheet.size[1] < 2000
    first = (tmp_path / "sheet.png").read_bytes()
    drawn(card, rows, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == first


def test_a_set_without_rows_has_a_heading_alone(card: Card, tmp_path: Path):
    assert drawn(card, [], tmp_path / "sheet.png").size[1] < 200


@pytest.mark.data
@pytest.mark.skipif(data_root() is None, reason="MMKD_DATA is not set")
@pytest.mark.parametrize("name", ["mvsa_single", "harmeme_c", "wnut17"])
def test_real_sets_are_drawn(name: str, tmp_path: Path):
    card = read_card(CARDS / f"{name}.md")
    if not all((data_root() / file).is_file() for file in card.files):
        pytest.skip("its files are not here")
    source = open_source(card, {}, data_root())
    rows = {split: [row for row in source.read(split) if isinstance(row, Example)] for split in card.splits}
    draw(card, rows, tmp_path / "sheet.png", rows=24)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[1] > 1000
