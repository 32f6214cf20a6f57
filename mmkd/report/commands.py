"""The commands that fill what a table lacks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from mmkd.config.document import override
from mmkd.record import RunRecord
from mmkd.report.table_file import CeilingRow, RunRow


def filling(
    row: RunRow | CeilingRow,
    found: Sequence[RunRecord],
    known: Iterable[RunRecord],
    seeds: Sequence[int] | None,
    studies: Mapping[str, Sequence[str]],
) -> str:
    """The `mmkd run` command that makes the runs that a row lacks.

    found: the row's records, the first of which says how they were run. known: all records; others of the experiment
    say where its file is. seeds: the seeds to run; None leaves them to the experiment file. studies: name of a run ->
    the words of the study that names it.
    """
    own = [words for record in found if (words := run_words(record)) is not None]
    if own:
        file, overrides = own[0][0], [word for word in own[0][1:] if not word.startswith("seeds=")]
    elif row.experiment in studies:
        file, *overrides = studies[row.experiment]
    else:
        others = (run_words(record) for record in known if record.name == row.experiment)
        file = next((words[0] for words in others if words), f"experiments/{row.experiment}.yaml")
        where = row.where if isinstance(row, RunRow) else {}
        overrides = [override(key, value) for key, value in where.items()]
    if seeds is not None:
        overrides.append(f"seeds=[{','.join(map(str, seeds))}]")
    return shlex.join(["mmkd", "run", file, *overrides])


def run_words(record: RunRecord) -> list[str] | None:
    """The experiment file and the overrides of the `mmkd run` command that made a record; None for another one."""
    try:
        words = shlex.split(record.command)
    except ValueError:  # a quotation that is not closed: no command of ours
        return None
    options = [word for word in words[2:] if word.startswith("-")]
    return words[2:] if words[:2] == ["mmkd", "run"] and len(words) > 2 and not options else None
