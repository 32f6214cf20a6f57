"""A contact sheet: some rows of a data set as one picture, so that a person can judge whether the labels fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from mmkd.data._decode import ImageFlaw, as_rgb, decoded
from mmkd.data.base import DataError, Example, Label
from mmkd.data.card import Card, CardTask
from mmkd.show import sheet_text
from mmkd.show.label_names import classes, entities, held
from mmkd.show.sheet_choice import choose
from mmkd.show.sheet_pen import FAINT, GREY, INK, LINE, PAPER, Pen

COLUMNS, CELL, GAP, PADDING, PICTURE = 4, 450, 24, 14, 290
"""Cells side by side; in pixels: the width of a cell, what is between and around cells, what is between a cell's
frame and its content, and the height of an image."""

INNER = CELL - 2 * PADDING

MOST_LINES, MOST_LINES_WITHOUT_IMAGES = 8, 14
"""Lines of text that a cell shows, in data sets with and without images."""

BACKDROP = "#ececec"

COLOURS = ("#99DDFF", "#EEDD88", "#FFAABB", "#BBCC33", "#EE8866", "#77AADD", "#44BB99", "#DDDDDD")
"""Backgrounds of entity types, made for black text and told apart by colour-blind people: the light scheme of P. Tol,
Colour Schemes, SRON/EPS/TN/09-002, 2021. A ninth type has the first again; the type is written too."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """The text of a row. heading: the task whose entities are marked, where the card has several such tasks."""

    heading: str | None
    lines: list[list[sheet_text.Piece]]
    colours: dict[int, str]
    right_to_left: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown of one row. picture: fits its box, or says why there is none; None: no row of the set has one.

    answers: (task, label).
    """

    place: str
    picture: Image.Image | str | None
    answers: list[tuple[str, str]]
    paragraphs: list[Paragraph]

    @property
    def height(self) -> int:
        """Pixels, frame included."""
        text = sum(len(each.lines) + (each.heading is not None) for each in self.paragraphs)
        picture = 0 if self.picture is None else PICTURE + PADDING
        return 2 * PADDING + LINE * (1 + len(self.answers) + text) + picture + PADDING


def draw(card: Card, examples: Mapping[str, Sequence[Example]], path: Path, rows: int = 12, seed: int = 0) -> None:
    """Write a PNG with so many rows of the data set, ordered by their labels. examples: by split.

    The same seed gives the same rows. Splits and labels are shown about equally often, whatever their shares are. An
    image that cannot be decoded is a box that says so; entities are marked; long texts end with an ellipsis.
    Raises OSError when the file cannot be written.
    """
    pen = Pen()
    cells = [_cell(card, split, example, pen) for split, example in choose(card, examples, rows, seed)]
    shelves = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    heights = [max(cell.height for cell in shelf) for shelf in shelves]
    top = GAP + 4 * LINE
    width = GAP + COLUMNS * (CELL + GAP)
    sheet = Image.new("RGB", (width, top + sum(height + GAP for height in heights)), PAPER)
    _draw_heading(sheet, card, examples, pen)
    for shelf, height in zip(shelves, heights, strict=True):
        for column, cell in enumerate(shelf):
            _draw_cell(sheet, cell, GAP + column * (CELL + GAP), top, height, pen)
        top += height + GAP
    sheet.save(path, "PNG")


def _cell(card: Card, split: str, example: Example, pen: Pen) -> Cell:
    picture = _picture(example) if "image" in card.modalities else None
    answers = [(name, answer(task, example.labels.get(name))) for name, task in card.tasks.items()]
    tagged = [name for name, task in card.tasks.items() if task.kind == "tag" and name in example.labels]
    several = sum(task.kind == "tag" for task in card.tasks.values()) > 1
    most = MOST_LINES if "image" in card.modalities else MOST_LINES_WITHOUT_IMAGES
    paragraphs = [_paragraph(card, example, name, name if several else None, most, pen) for name in tagged]
    paragraphs = paragraphs or [_paragraph(card, example, None, None, most, pen)]
    return Cell(f"{split} · {example.id}", picture, answers, paragraphs)


def answer(task: CardTask, label: Label | None) -> str:
    """A label in words, for one line: a dash for none, the number of entities, names of labels, or a number."""
    if label is None:
        return "–"
    if isinstance(label, tuple):
        number = len(held(task, label))
        return "no entity" if not number else f"{number} {'entity' if number == 1 else 'entities'}"
    if task.kind == "regress" and not isinstance(label, frozenset):
        return f"{label:.6g}"
    return ", ".join(held(task, label)) or "none of the labels"


def _paragraph(card: Card, example: Example, task: str | None, heading: str | None, most: int, pen: Pen) -> Paragraph:
    words = [sheet_text.visible(word, pen.glyphs) for word in example.words] or ["(no text)"]
    label = () if task is None else example.labels[task]
    names = () if task is None else card.tasks[task].labels
    found = entities([names[index] for index in label]) if isinstance(label, tuple) else []
    types = [] if task is None else classes(card.tasks[task])
    colours = {number: COLOURS[types.index(kind) % len(COLOURS)] for number, (kind, _, _) in enumerate(found)}
    broken = sheet_text.lines(sheet_text.pieces(words, found), pen.width_of, pen.space, INNER)
    kept = sheet_text.cut(broken, most, pen.width_of, pen.space, INNER)
    return Paragraph(heading, kept, colours, sheet_text.is_right_to_left(" ".join(example.words)))


def _picture(example: Example) -> Image.Image | str:
    """The image as encoders see it, as large as fits its box; or why there is none."""
    if example.image is None:
        return "no image"
    try:
        image = as_rgb(decoded(example.image()))
    except ImageFlaw as flaw:
        return f"{flaw.reason}: {flaw}"
    except (DataError, OSError) as error:
        return f"cannot be read: {error}"
    scale = min(INNER / image.width, PICTURE / image.height)
    # Few pixels are shown as they are, as squares: a smooth enlargement would invent what is between them.
    method = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.LANCZOS
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), method)


def _draw_heading(sheet: Image.Image, card: Card, examples: Mapping[str, Sequence[Example]], pen: Pen) -> None:
    canvas, width = ImageDraw.Draw(sheet), sheet.width - 2 * GAP
    name = (card.about.model_extra or {}).get("license_name")
    licence = card.about.license + (f" ({name})" if name else "")
    counts = " · ".join(f"{split} {len(rows):,}" for split, rows in examples.items())
    note = "Rows are chosen so that splits and labels are shown about equally often; their true shares are others."
    for place, (text, font, colour) in enumerate(
        [
            (card.about.pretty_name, pen.title, INK),
            (f"Rows: {counts}      Licence: {licence}", pen.text, INK),
            (note, pen.small, GREY),
        ]
    ):
        pen.write(canvas, GAP, GAP + place * LINE * 1.1, pen.fitted(text, font, width), font, colour)


def _draw_cell(sheet: Image.Image, cell: Cell, x: int, y: int, height: int, pen: Pen) -> None:
    canvas = ImageDraw.Draw(sheet)
    canvas.rectangle((x, y, x + CELL - 1, y + height - 1), outline=FAINT)
    x, y = x + PADDING, y + PADDING
    pen.write(canvas, x, y, pen.fitted(cell.place, pen.small, INNER), pen.small, GREY)
    y += LINE
    if cell.picture is not None:
        canvas.rectangle((x, y, x + INNER - 1, y + PICTURE - 1), fill=BACKDROP)
        if isinstance(cell.picture, str):
            message = pen.fitted(cell.picture, pen.text, INNER - 2 * PADDING)
            left = x + (INNER - pen.text.getlength(message)) / 2
            pen.write(canvas, left, y + (PICTURE - LINE) / 2, message, pen.text, GREY)
        else:
            place = (x + (INNER - cell.picture.width) // 2, y + (PICTURE - cell.picture.height) // 2)
            sheet.paste(cell.picture, place)
        y += PICTURE + PADDING
    for task, label in cell.answers:
        name = pen.fitted(f"{task}: ", pen.text, INNER / 2)
        pen.write(canvas, x, y, name, pen.text, GREY)
        start = pen.text.getlength(name)
        pen.write(canvas, x + start, y, pen.fitted(label, pen.bold, INNER - start), pen.bold, INK)
        y += LINE
    y += PADDING
    for paragraph in cell.paragraphs:
        if paragraph.heading is not None:
            pen.write(canvas, x, y, pen.fitted(paragraph.heading, pen.small, INNER), pen.small, GREY)
            y += LINE
        for line in paragraph.lines:
            pen.write_pieces(canvas, x, y, INNER, line, paragraph.colours, paragraph.right_to_left)
            y += LINE
