"""Leaks: planted copies are found, in the right row, and clean rows are left alone."""

import io
import json
from collections import Counter
from pathlib import Path

import made_images as made
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from mmkd.data._near_images import SIDE, Print, near_images, print_of
from mmkd.data._near_texts import FEWEST, NEAR, near_texts, plain
from mmkd.data.card import data_root, open_source, read_card
from mmkd.data.check_image import check_image
from mmkd.data.duplicates import FEWEST_WORDS, Leak, RowPrint, leaks
from mmkd.data.findings import REASONS

LONG = "the quick brown fox jumps over the lazy dog and runs into the dark green wood"


def row(split: str, number: int, text: str = "", image: Print | None = None, group: str | None = None) -> RowPrint:
    return RowPrint(split, number, tuple(text.split()), image, group)


def found(*rows: RowPrint) -> list[tuple[str, tuple[str, int], tuple[str, int]]]:
    return [(leak.reason, leak.one, leak.other) for leak in leaks(rows)]


def picture(seed: int) -> Print:
    return print_of(made.noise(64, 48, seed))


def test_each_exact_leak_names_the_row_to_leave_out():
    text = [row("test", 0, "same words here now"), row("train", 5, "same words here now")]
    assert found(*text) == [("text_across_splits", ("train", 5), ("test", 0))]
    assert found(*reversed(text)) == [("text_across_splits", ("train", 5), ("test", 0))]
    image = [row("validation", 3, image=picture(1)), row("transfer", 4, image=picture(1))]
    assert found(*image) == [("image_across_splits", ("transfer", 4), ("validation", 3))]
    group = [row("test", 1, "a", group="g"), row("validation", 2, "b", group="g"), row("train", 3, "c", group="h")]
    assert found(*group) == [("group_across_splits", ("validation", 2), ("test", 1))]
    assert leaks(group)[0].detail == "the group 'g'"


def test_a_row_is_named_once_for_a_reason_with_its_most_protected_partner():
    rows = [row(split, 0, "same words here now") for split in ("train", "validation", "test", "transfer")]
    rows.append(row("test", 1, "same words here now"))
    assert found(*rows) == [
        ("row_repeated", ("test", 1), ("test", 0)),
        ("text_across_splits", ("train", 0), ("test", 0)),
        ("text_across_splits", ("validation", 0), ("test", 0)),
        ("text_across_splits", ("transfer", 0), ("test", 0)),
    ]


def test_train_and_transfer_may_share_rows():
    copies = [row(split, 0, LONG, picture(1), "g") for split in ("train", "transfer")]
    assert found(*copies, row("transfer", 1, LONG.upper(), picture(2))) == []


def test_a_row_is_repeated_when_text_and_image_are():
    rows = [row("train", 0, "a b", picture(1)), row("train", 1, "a b", picture(2)), row("train", 2, "a b", picture(1))]
    assert found(*rows) == [("row_repeated", ("train", 2), ("train", 0))]
    assert found(row("train", 0, "a b"), row("train", 1, "a b", picture(1)), row("train", 2), row("train", 3)) == []


def test_exact_texts_are_equal_after_nfc_and_no_more():
    assert found(row("train", 0, "caf\u00e9 au lait"), row("test", 0, "cafe\u0301 au lait")) == [
        ("text_across_splits", ("train", 0), ("test", 0))
    ]
    assert found(row("train", 0, "US"), row("test", 0, "us")) == []


def test_short_texts_leak_only_without_an_image():
    short, enough = "w " * (FEWEST_WORDS - 1), "w " * FEWEST_WORDS
    for text, expected in ((short, []), (enough, ["text_across_splits"])):
        for other in (None, picture(2)):
            pair = row("train", 0, text, picture(1)), row("test", 0, text, other)
            assert [reason for reason, *_ in found(*pair)] == expected
    assert [reason for reason, *_ in found(row("train", 0, "w"), row("test", 0, "w"))] == ["text_across_splits"]
    # A short text with an image does not hide the pair of rows that are all text.
    rows = row("train", 0, "w"), row("test", 0, "w", picture(1)), row("validation", 0, "w")
    assert found(*rows) == [("text_across_splits", ("train", 0), ("validation", 0))]


def test_an_exact_leak_is_not_reported_as_near_too():
    rows = row("train", 0, LONG, picture(1)), row("validation", 0, LONG, picture(1)), row("test", 0, LONG.upper())
    assert [reason for reason, *_ in found(*rows)] == [
        "text_across_splits",
        "image_across_splits",
        "text_near_across_splits",  # of the validation row with the test row
    ]


@pytest.mark.parametrize(
    "other",
    [
        LONG.upper(),
        LONG.replace("lazy", "sleepy"),
        LONG.replace("quick ", ""),
        LONG.replace("jumps over", "jumps right over"),
        LONG.replace(" ", " , "),
        "RT @someone : " + LONG + " https://t.co/abc",
    ],
)
def test_a_text_with_small_edits_is_near(other: str):
    ((reason, one, partner),) = found(row("train", 1, other), row("validation", 2, LONG))
    assert (reason, one, partner) == ("text_near_across_splits", ("train", 1), ("validation", 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Why so gloomy? Take the quiz: http://t.co/CSFllI7ZCU http://t.co/hh80OAgUcy", "why so gloomy? take the quiz"),
        ("@somebody_else_now @and_one_more why so gloomy today", "@x @y why so gloomy today"),
    ],
)
def test_links_and_the_names_in_handles_do_not_count(one: str, other: str):
    assert [reason for reason, *_ in found(row("train", 0, one), row("test", 0, other))] == ["text_near_across_splits"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LONG, "a slow red hen walks under the busy cat and flies out of the bright blue lake"),
        ("Good morning all", "GOOD MORNING ALL"),  # too short
        ("5" * 60, "5" * 80),  # long, but one piece
        ("http://a.b/" + "c" * 40, "http://a.b/" + "c" * 40 + " x"),
        ("@somebody @else", "@another @person"),
    ],
)
def test_other_texts_are_not_near(one: str, other: str):
    assert found(row("train", 0, one), row("test", 0, other)) == []


def pieces(text: str) -> set[str]:
    return {text[place : place + 4] for place in range(len(text) - 3)}


def test_near_texts_are_those_of_a_naive_count():
    """All pairs of 80 x 300 edited texts, counted as sets of strings."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(2, 9))) for _ in range(300)])
    base = [rng.choice(words, rng.integers(3, 20)) for _ in range(60)]

    def edited() -> str:
        text = base[rng.integers(len(base))].copy()
        text[rng.random(len(text)) < rng.choice([0.02, 0.1, 0.2])] = rng.choice(words)
        return plain(text.tolist())

    one, other = [edited() for _ in range(80)], [edited() for _ in range(300)]
    partner, share = near_texts(one, other)
    sets = [pieces(text) for text in other]
    missed = 0
    for place, text in enumerate(one):
        a = pieces(text)
        shares = [len(a & b) / len(a | b) if min(len(a), len(b)) >= FEWEST else 0.0 for b in sets]
        if partner[place] >= 0:
            assert share[place] == pytest.approx(shares[partner[place]])
            assert share[place] >= NEAR
            assert share[place] > max(shares) - 0.1  # near copies are told apart by signatures, roughly
        missed += partner[place] < 0 and max(shares) >= NEAR
    assert (partner >= 0).sum() > 40
    assert missed <= 1


def test_a_sentence_that_all_rows_have_hides_no_copy():
    rng = np.random.default_rng(0)
    boiler = "this note was sent by the desk of the bank to all of its clients and may not be copied "
    texts = [boiler + "".join(rng.choice(list("abcdefgh "), 70)) for _ in range(1500)]
    copies = [text[:-6] + "zzz" for text in texts[:40]]
    partner, _ = near_texts([plain(text.split()) for text in copies], [plain(text.split()) for text in texts])
    assert (partner == np.arange(40)).sum() >= 38


def test_nothing_to_compare():
    assert near_texts([], ["x" * 30])[0].tolist() == []
    assert near_texts(["x" * 30], [])[0].tolist() == [-1]
    assert near_images([], [picture(1)])[0].tolist() == []
    assert near_images([picture(1)], [])[0].tolist() == [-1]
    assert leaks([]) == []


def test_pictures_without_contrast_are_near_nothing():
    black, dark = (print_of(Image.new("RGB", (40, 40), (level,) * 3)) for level in (0, 3))
    assert near_images([black, picture(1)], [dark, black])[0].tolist() == [-1, -1]
    faint = np.random.default_rng(0).integers(100, 105, (32, 32)).astype(np.uint8)
    brighter = (print_of(Image.fromarray(faint + level).convert("RGB")) for level in (0, 1))
    assert near_images([next(brighter)], [next(brighter)])[0].tolist() == [-1]


@pytest.mark.parametrize("sides", [(0.03, 0, 0, 0), (0, 0, 0.03, 0.015), (0.015, 0.03, 0.015, 0), (0.03,) * 4])
def test_a_cropped_picture_is_near_from_both_sides(sides: tuple[float, ...]):
    """sides: left, top, right and bottom, of a picture whose cropped thumbnail is not near by itself."""
    cells = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    whole = Image.fromarray(cells).resize((400, 400), Image.Resampling.BICUBIC)
    left, top, right, bottom = (round(400 * side) for side in sides)
    cropped = whole.crop((left, top, 400 - right, 400 - bottom))
    thumbnails = [np.frombuffer(print_of(each).thumbnail, np.uint8) for each in (whole, cropped)]
    assert np.corrcoef(*thumbnails)[0, 1] < 0.92
    for one, other in ((whole, cropped), (cropped, whole)):
        assert near_images([print_of(one)], [print_of(other)])[0].tolist() == [0]


def test_likeness_is_the_correlation_of_thumbnails():
    one, other = made.noise(64, 64, 1), ImageEnhance.Contrast(made.noise(64, 64, 1)).enhance(0.8)
    a, b = (np.asarray(each.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)).ravel() for each in (one, other))
    _, alike = near_images([print_of(one)], [print_of(other)])
    assert alike[0] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-5)


def test_like_sky_and_ground_are_not_the_same_picture():
    """Two landscapes with the same soft light, and other things in them."""
    light = np.linspace(220, 60, 96)[:, None] + np.zeros(96)
    rng = np.random.default_rng(0)
    views = [light + np.kron(rng.normal(0, 12, (32, 32)), np.ones((3, 3))) for _ in range(2)]
    prints = [print_of(Image.fromarray(view.clip(0, 255).astype(np.uint8)).convert("RGB")) for view in views]
    thumbnails = [np.frombuffer(each.thumbnail, np.uint8) for each in prints]
    assert np.corrcoef(*thumbnails)[0, 1] > 0.92
    assert near_images(prints[:1], prints[1:])[0].tolist() == [-1]


# A large set with planted copies.

ROWS, PICTURES = 10_000, 1_200
SPLITS = ("train",) * 7 + ("transfer",) + ("validation", "test")


def vocabulary(rng: np.random.Generator) -> list[str]:
    """3,000 words of one to four syllables."""
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
    drawn = rng.integers(0, len(syllables), (3000, 4))
    return ["".join(syllables[each] for each in row[: rng.integers(1, 5)]) for row in drawn]


def texts_of(rng: np.random.Generator, words: list[str]) -> list[str]:
    """Texts of 5 to 30 words with Zipf frequencies; every tenth from one of 20 templates with 3 slots of 10."""
    chances = 1 / np.arange(1, len(words) + 1)
    drawn = iter(np.array(words)[rng.choice(len(words), 40 * ROWS, p=chances / chances.sum())].tolist())
    templates = [[next(drawn) for _ in range(rng.integers(7, 16))] for _ in range(20)]
    texts = []
    for number in range(ROWS):
        text = [next(drawn) for _ in range(rng.integers(5, 31))]
        if number % 10 == 0:
            text = list(templates[rng.integers(20)])
            for place in rng.permutation(len(text))[: round(0.3 * len(text)) + 1]:
                text[place] = words[rng.integers(len(words))]
        texts.append(" ".join(text))
    return texts


def scene(rng: np.random.Generator) -> Image.Image:
    """A coloured ground with some shapes, and a line like letters."""
    low = rng.integers(0, 256, (4, 4, 3), np.uint8)
    image = Image.fromarray(low).resize((120, 90), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(2, 8)):
        x, y, w, h = (int(each) for each in rng.integers(0, 70, 4))
        shape = (draw.rectangle, draw.ellipse)[rng.integers(2)]
        shape((x, y, x + w + 6, y + h + 6), fill=tuple(rng.integers(0, 256, 3).tolist()))
    for x in np.flatnonzero(rng.random(24) < 0.5).tolist():  # like a line of letters
        draw.rectangle((4 * x + 5, 5, 4 * x + 7, 12), fill="white")
    return image


def edited_text(rng: np.random.Generator, text: str, kind: int, words: list[str]) -> str:
    parts = text.split()
    place = int(rng.integers(len(parts)))
    if kind == 0:
        parts[place] = words[rng.integers(len(words))]
    elif kind == 1:
        parts.insert(place, words[rng.integers(len(words))])
    elif kind == 2:
        del parts[place]
    elif kind == 3:
        parts = [part.upper() for part in parts]
    else:
        parts = [part + rng.choice(["", ",", "!"]) for part in parts] + ["..."]
    return " ".join(parts)


def edited_image(image: Image.Image, kind: int) -> Image.Image:
    if kind == 0:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=60)
        return Image.open(stream).convert("RGB")
    if kind == 1:
        return image.resize((77, 58), Image.Resampling.LANCZOS)
    if kind == 2:
        return ImageEnhance.Brightness(image).enhance(1.05)
    if kind == 3:
        return image.crop((0, 1, round(image.width * 0.97), round(image.height * 0.985)))
    captioned = image.copy()
    ImageDraw.Draw(captioned).text((50, 80), "a caption", fill="white", font=ImageFont.load_default(8))
    return captioned


def test_planted_copies_are_found_among_10000_rows():
    rng = np.random.default_rng(7)
    words = vocabulary(rng)
    texts = texts_of(rng, words)
    images: list[Image.Image | None] = [scene(rng) if number < PICTURES else None for number in range(ROWS)]
    splits = [SPLITS[number % 10] for number in range(ROWS)]
    groups: list[str | None] = [None] * ROWS
    # Places that are drawn once each: originals in train, copies in validation or test.
    pictured = iter(rng.permutation([n for n in range(PICTURES) if splits[n] == "train" and n % 10]).tolist())
    wordy = iter(rng.permutation([n for n in range(PICTURES, ROWS) if splits[n] == "train" and n % 10]).tolist())
    held_pictured = iter(rng.permutation([n for n in range(PICTURES) if splits[n] in ("validation", "test")]).tolist())
    held_wordy = iter([n for n in range(PICTURES, ROWS) if splits[n] in ("validation", "test")])
    planted: dict[str, set[int]] = {"text": set(), "image": set(), "text_near": set(), "image_near": set()}
    for number in range(15):
        one, other = next(wordy), next(held_wordy)
        texts[other] = texts[one]
        planted["text"].add(one)
        one, other = next(pictured), next(held_pictured)
        images[other] = images[one]
        planted["image"].add(one)
        one, other = next(wordy), next(held_wordy)
        texts[other] = edited_text(rng, texts[one], number % 5, words)
        planted["text_near"].add(one)
        one, other = next(pictured), next(held_pictured)
        original = images[one]
        assert original is not None
        images[other] = edited_image(original, number % 5)
        planted["image_near"].add(one)
    grouped = [(next(wordy), next(held_wordy)) for _ in range(5)]
    for number, pair in enumerate(grouped):
        for place in pair:
            groups[place] = f"document {number}"

    found = leaks(
        [
            RowPrint(splits[n], n, tuple(texts[n].split()), image and print_of(image), groups[n])
            for n, image in enumerate(images)
        ]
    )

    by_reason = {reason: {leak.one[1] for leak in found if leak.reason == reason} for reason in REASONS}
    assert by_reason["text_across_splits"] == planted["text"]
    assert by_reason["image_across_splits"] == planted["image"]
    assert by_reason["group_across_splits"] == {one for one, _ in grouped}
    near = by_reason["text_near_across_splits"] | by_reason["image_near_across_splits"]
    assert len(planted["text_near"] & near) + len(planted["image_near"] & near) >= 27
    clean = set(range(ROWS)) - set().union(*planted.values()) - {one for one, _ in grouped}
    assert len(clean & {leak.one[1] for leak in found}) <= 0.01 * ROWS
    assert all(leak.one[0] in ("train", "transfer", "validation") for leak in found)
    assert max(Counter((leak.reason, leak.one) for leak in found).values()) == 1


@pytest.mark.data
@pytest.mark.skipif(data_root() is None, reason="MMKD_DATA is not set")
@pytest.mark.parametrize(("name", "validation"), [("harmeme_c", "val"), ("mvsa_single", "dev")])
def test_known_copies_of_real_sets_are_found(name: str, validation: str):
    """The rows that others listed as near copies of training rows, by another hash and long texts."""
    root = data_root()
    assert root is not None
    if not (root / name).is_dir():
        pytest.skip("its files are not here")
    card = read_card(Path(__file__).parents[2] / "data_cards" / f"{name}.md")
    source = open_source(card, {}, root)
    known = json.loads((root / name / "near_dups_of_train.json").read_text("utf-8"))
    for split, listed in (("validation", known[validation]), ("test", known["test"])):
        # Its copies come first, so that each is the row to leave out.
        rows, ids = [], {}
        for called, real in (("train", split), ("test", "train")):
            for number, example in enumerate(source.read(real)):
                image = check_image(example.image())[1]
                rows.append(RowPrint(called, number, example.words, image, None))
                ids[called, number] = example.id
        found: list[Leak] = [leak for leak in leaks(rows) if leak.reason != "row_repeated"]
        assert {str(each) for each in listed} <= {ids[leak.one] for leak in found}
