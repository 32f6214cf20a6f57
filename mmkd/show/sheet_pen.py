"""Fonts and strokes of a contact sheet. The font is the DejaVu Sans that matplotlib brings, so it is the same on every
machine; what it lacks is written otherwise (`_sheet_text.visible`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

from mmkd.show.sheet_text import ELLIPSIS, Piece, in_visual_order, is_right_to_left, visible

INK, GREY, FAINT, PAPER = "#1a1a1a", "#5c5c5c", "#cfcfcf", "#ffffff"

LINE = 25
"""Height of a line of text, in pixels."""


class Pen:
    """Measures and draws text. small, text, bold, title: fonts; glyphs: the code points that they can draw."""

    def __init__(self) -> None:
        """Raises OSError when matplotlib's fonts are not there."""
        import matplotlib
        from matplotlib.ft2font import FT2Font

        folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
        plain, strong = folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf"
        self.glyphs = set(FT2Font(str(plain)).get_charmap()) & set(FT2Font(str(strong)).get_charmap())
        self.text = ImageFont.truetype(plain, 16)
        self.small = ImageFont.truetype(plain, 13)
        self.bold = ImageFont.truetype(strong, 16)
        self.mark = ImageFont.truetype(strong, 11)
        self.title = ImageFont.truetype(strong, 26)
        self.space = self.text.getlength(" ")

    def width_of(self, piece: Piece) -> float:
        """Pixels of a piece and of the entity's type after it."""
        ending = 0.0 if piece.ending is None else self.space + self.mark.getlength(piece.ending)
        return self.text.getlength(piece.text) + ending

    def fitted(self, text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
        """The text as it can be seen, cut with an ellipsis where it is wider."""
        shown = visible(text, self.glyphs)
        if font.getlength(shown) <= width:
            return shown
        while shown and font.getlength(shown + ELLIPSIS) > width:
            shown = shown[:-1]
        return shown + ELLIPSIS

    def write(
        self, canvas: ImageDraw.ImageDraw, x: float, y: float, text: str, font: ImageFont.FreeTypeFont, colour: str
    ) -> None:
        """One line of text; (x, y): where its first letter stands, left and top of the line."""
        canvas.text((x, y + LINE * 0.72), text, colour, font, anchor="ls")

    def write_pieces(
        self,
        canvas: ImageDraw.ImageDraw,
        x: float,
        y: float,
        width: float,
        line: Sequence[Piece],
        colours: Mapping[int, str],
        right_to_left: bool,
    ) -> None:
        """One line of words, entities on their colours. colours: by the entity's number in the row."""
        placed: list[tuple[Piece, float, float]] = []
        end = 0.0
        for piece in in_visual_order(line, right_to_left):
            start = end + (self.space if placed and piece.opens else 0)
            end = start + self.width_of(piece)
            placed.append((piece, start, end))
        left = x + width - end if right_to_left else x
        for entity, run in groupby(placed, key=lambda each: each[0].entity):
            if entity is not None:
                places = list(run)
                box = (left + places[0][1] - 2, y + 2, left + places[-1][2] + 2, y + LINE - 2)
                canvas.rounded_rectangle(box, 4, colours[entity])
        for piece, start, end in placed:
            ending = piece.ending or ""
            marked = self.mark.getlength(ending)
            # The type stands where the reader's eye leaves the entity.
            word, mark = start, end - marked
            if is_right_to_left(piece.text):
                word, mark = end - self.text.getlength(piece.text), start
            self.write(canvas, left + word, y, piece.text, self.text, INK)
            self.write(canvas, left + mark, y, ending, self.mark, INK)
