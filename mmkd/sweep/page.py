"""A sweep as one HTML page: winner, trials, figures, what broke off, and the files behind it. No torch here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from mmkd.config.sweep_file import Sweep
from mmkd.report.page.parts import svg, unfolds, yaml_block
from mmkd.show.page_frame import html_page, html_table
from mmkd.sweep.figures import titles
from mmkd.sweep.importance import says
from mmkd.sweep.journal import Event
from mmkd.sweep.ranking import pareto, ranked, spread, winner_of
from mmkd.sweep.show import score, short, spent, troubles
from mmkd.sweep.space import overrides
from mmkd.sweep.trials import Trial

SORT = """
document.querySelectorAll("table.trials th[scope=col]").forEach((head, column) => {
  head.style.cursor = "pointer"; head.title = "sort";
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], rows = [...body.rows];
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = head.dataset.order === "up" ? -1 : 1; head.dataset.order = order > 0 ? "up" : "down";
    const less = (a, b) => (isNaN(a) || isNaN(b) || a === "" || b === "") ? String(a).localeCompare(b) : a - b;
    rows.sort((a, b) => order * less(key(a), key(b))).forEach(row => body.append(row));
  });
});
"""


def sweep_page(
    begin: Event, events: Sequence[Event], trials: Sequence[Trial], figures: Mapping[str, Figure], machine: str
) -> str:
    """The HTML text. begin: the first line of the journal, events: all. machine: where trials ran, in words."""
    sweep = Sweep.model_validate(begin["sweep"])
    title = f"{begin['experiment']['name']}: {begin['file']}"
    facts = [*spent(events, trials, sweep), *([machine] if machine else [])]
    sections = [
        ("Winner", _winner(begin, trials, sweep)),
        ("Scores", _figure(figures, "scores") + _figure(figures, "pareto")),
        ("Trials", _trials(begin, trials, sweep)),
        ("Learning curves", _figure(figures, "curves")),
        ("Keys", _keys(figures, says(trials, sweep))),
        ("What broke off", _troubles(trials)),
        ("Sweep file", yaml_block(begin["sweep"])),
        ("Experiment", yaml_block(begin["experiment"])),
    ]
    return html_page(title, f'<p class="note">{escape(" · ".join(facts))}</p>', sections, SORT)


def _winner(begin: Event, trials: Sequence[Trial], sweep: Sweep) -> str:
    winner = winner_of(trials, sweep.objective)
    if winner is None:
        return "<p>No trial has finished yet.</p>"
    name = sweep.objective.names[0]
    found = spread(winner, name)
    over = f", mean over {found.n} seeds" if found.n > 1 else ""
    set_to = "; ".join(f"{key} = {short(value)}" for key, value in winner.values.items())
    return (
        f"<p>Trial {winner.number}: {escape(name)} = <b>{escape(score(winner, name))}</b>{over}. {escape(set_to)}</p>"
        f'<p class="note">Selected on validation alone. The best of {len(trials)} trials is too good by chance: its '
        f"score is that of new seeds.</p><pre>{escape(command(begin, winner))}</pre>"
    )


def command(begin: Event, trial: Trial) -> str:
    """The `mmkd run` that gives the trial again. begin: the first line of the journal."""
    return shlex.join(["mmkd", "run", begin["target"], *begin["overrides"], *overrides(trial.values)])


def _trials(begin: Event, trials: Sequence[Trial], sweep: Sweep) -> str:
    if not trials:
        return ""
    front = {each.number for each in pareto(trials, sweep.objective)} if len(sweep.objective.names) > 1 else set()
    head = ["trial", *sweep.objective.names, "epochs", "status", "minutes", *sweep.space, "command"]

    def cells(trial: Trial) -> list[str]:
        found = [_cell(trial.objectives.get(name), score(trial, name)) for name in sweep.objective.names]
        epochs = "+".join(str(seed.epochs) for seed in trial.seeds) or "–"
        values = trial.values
        own = [_cell(values.get(key), short(values[key]) if key in values else "–") for key in sweep.space]
        copy = unfolds("show", f"<pre>{escape(command(begin, trial))}</pre>")
        state = (trial.status or "open") + (" (Pareto)" if trial.number in front else "")
        return [*found, epochs, escape(state), f"{trial.seconds / 60:.1f}", *own, f"<td>{copy}</td>"]

    lines = ((str(trial.number), cells(trial)) for trial in ranked(trials, sweep.objective))
    note = '<p class="note">Best first; a click on a heading sorts. Of several seeds: mean and its 95% t-interval.</p>'
    return note + html_table(head, lines, "trials")


def _cell(value: Any, text: str) -> str:
    kept = value if isinstance(value, int | float) and not isinstance(value, bool) else text
    return f'<td data-value="{escape(str(kept))}">{escape(text)}</td>'


def _keys(figures: Mapping[str, Figure], note: str) -> str:
    drawn = "".join(_figure(figures, name) for name in ("importance", "coordinates", "keys"))
    return f'<p class="note">{escape(note)}</p>{drawn}' if drawn else ""


def _troubles(trials: Sequence[Trial]) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in troubles(trials))
    return f"<ul>{lines}</ul>" if lines else ""


def _figure(figures: Mapping[str, Figure], name: str) -> str:
    if name not in figures:
        return ""
    title = escape(titles()[name])
    return f'<figure class="plot"><figcaption>{title}</figcaption>{svg(figures[name], title)}</figure>'
