"""Names what differs between a stored table and the one that follows from the records: cells first, then lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import unescape

Places = dict[tuple[str, str], str]
"""(row label, column label) -> the text that stands there."""


@dataclass(frozen=True)
class Parsed:
    """A generated file, taken apart. cells: the text of each; lines: (number, text) of each line that holds none."""

    cells: Places
    lines: list[tuple[int, str]]


def differences(name: str, stored: str, expected: str, sources: Mapping[str, Sequence[str]]) -> list[str]:
    """One line for each difference of a generated file, named by its suffix; empty when the texts are equal.

    sources: row label, as the format writes it -> the records that the row rests on, which are named with its cells.
    """
    if stored == expected:
        return []
    parse = PARSERS[name.rpartition(".")[2]]
    there, follows = parse(stored), parse(expected)
    cells = [*_cells(there.cells, follows.cells), *_order(there.cells, follows.cells)]
    rests = {row: f"; on {', '.join(names)}" for row, names in sources.items() if names}
    found = [f"{name}: {line}{rests.get(row, '')}" for row, line in cells]
    found += _lines(name, there.lines, follows.lines)
    return found or [_first_line(name, stored, expected)]


def _cells(there: Places, follows: Places) -> Iterator[tuple[str, str]]:
    """(row, what is wrong with a cell of it)."""
    for (row, column), text in follows.items():
        where = f"row {row}, column {column}"
        if (row, column) not in there:
            yield row, f"{where}: is not there, but {_shown(text)} follows from the records"
        elif there[row, column] != text:
            yield row, f"{where}: found {_shown(there[row, column])}, but {_shown(text)} follows from the records"
    for (row, column), text in there.items():
        if (row, column) not in follows:
            yield row, f"row {row}, column {column}: found {_shown(text)}, which does not follow from the records"


def _order(there: Places, follows: Places) -> Iterator[tuple[str, str]]:
    """The first row that stands in another's place."""
    rows, expected = (list(dict.fromkeys(row for row, _ in places)) for places in (there, follows))
    if sorted(rows) == sorted(expected):
        for row, other in zip(rows, expected, strict=True):
            if row != other:
                yield row, f"row {row}, every column: stands where row {other} follows from the records"
                return


def _lines(name: str, there: list[tuple[int, str]], follows: list[tuple[int, str]]) -> Iterator[str]:
    old, new = [text for _, text in there], [text for _, text in follows]
    for tag, i, i_end, j, j_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        for k in range(max(i_end - i, j_end - j)):
            if i + k < i_end and j + k < j_end:
                found = f"found {_shown(old[i + k])}, but {_shown(new[j + k])} follows from the records"
            elif i + k < i_end:
                found = f"found {_shown(old[i + k])}, which does not follow from the records"
            else:
                found = f"{_shown(new[j + k])} is missing, which follows from the records"
            number = there[min(i + k, len(there) - 1)][0] if there else 1
            yield f"{name}:{number}: {found}"


def _first_line(name: str, stored: str, expected: str) -> str:
    """The first line that differs in spaces, line ends or order only."""
    there, follows = stored.splitlines(keepends=True), expected.splitlines(keepends=True)
    number = next((i for i, (a, b) in enumerate(zip(there, follows, strict=False)) if a != b), len(follows))
    lines = (text[number] if number < len(text) else "nothing" for text in (there, follows))
    return f"{name}:{number + 1}: found {next(lines)!r}, but {next(lines)!r} follows from the records"


def _shown(text: str) -> str:
    return f"`{text}`" if text else "nothing"


def _parse_markdown(text: str) -> Parsed:
    def split(line: str) -> list[str] | None:
        if not line.startswith("|") or re.fullmatch(r"[|\s:-]+", line):
            return None
        cells = re.findall(r"((?:\\.|[^|\\])*)\|", line[1:])
        return [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells]

    return _parse_grid(text, split)


def _parse_latex(text: str) -> Parsed:
    def split(line: str) -> list[str] | None:
        if not line.endswith(r" \\"):
            return None
        return [cell.strip() for cell in re.split(r"(?<!\\)&", line[:-3])]

    return _parse_grid(text, split)


def _parse_html(text: str) -> Parsed:
    def split(line: str) -> list[str] | None:
        if not line.startswith("<tr>"):
            return None
        return [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)]

    return _parse_grid(text, split)


def _parse_grid(text: str, split: Callable[[str], list[str] | None]) -> Parsed:
    """Lines that split into cells; the first of them is the header, and the first cell of each its row's label."""
    parsed = Parsed({}, [])
    header: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        cells = split(line)
        if cells is None or len(cells) < 2:
            parsed.lines.append((number, line))
        elif header is None:
            header = cells
            parsed.cells.update({("header", f"{i}"): cell for i, cell in enumerate(cells, 1)})
        else:
            names = [*header, *(f"{i}" for i in range(len(header) + 1, len(cells) + 1))]
            parsed.cells.update({(cells[0], names[i]): cell for i, cell in enumerate(cells) if i > 0})
    return parsed


def _parse_csv(text: str) -> Parsed:
    parsed = Parsed({}, [])
    lines = list(csv.reader(io.StringIO(text, newline="")))
    header = lines[0] if lines else []
    parsed.lines.append((1, ",".join(header)))
    for cells in lines[1:]:
        row, column = [*cells, "", ""][:2]
        for i, cell in enumerate(cells[2:], 2):
            field = header[i] if i < len(header) else f"{i + 1}"
            parsed.cells[row, f"{column}, {field}"] = cell
    return parsed


PARSERS: dict[str, Callable[[str], Parsed]] = {
    "md": _parse_markdown,
    "tex": _parse_latex,
    "csv": _parse_csv,
    "html": _parse_html,
}
