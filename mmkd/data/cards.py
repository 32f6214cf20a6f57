"""The cards of an experiment's data sets, read and compared with the files that are here. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mmkd.config.experiment import DataUse
from mmkd.config.problems import KeyPath, Problem
from mmkd.data.base import DataError
from mmkd.data.card import Card, CardError, OptionError, data_root, find_card, open_source, read_card
from mmkd.data.findings import policy_mistakes


def read_cards(
    uses: Mapping[str, DataUse], near: Path, problem: Callable[[KeyPath, str], Problem]
) -> tuple[dict[str, Card], list[Problem]]:
    """Cards by the data set's name, and the mistakes of those that cannot be used.

    near: the experiment file. problem: makes a mistake at a key of the experiment. A data set whose files are
    missing, or whose source refuses an option, has a card and a mistake.
    """
    cards: dict[str, Card] = {}
    problems: list[Problem] = []
    for name, use in uses.items():
        path = ("data", name, "card")
        wrong = policy_mistakes(use.policy)
        problems += [problem(("data", name, "policy", reason), text) for reason, text in wrong.items()]
        try:
            cards[name] = read_card(find_card(use.card, near))
            open_source(cards[name], use.options, data_root())
        except OptionError as error:
            problems += [problem(("data", name, "options", *place), text) for place, text in error.mistakes]
        except CardError as error:
            problems += error.problems if error.path.is_file() else [problem(path, error.problems[0].message)]
        except DataError as error:
            problems.append(problem(path, str(error)))
    return cards, problems
