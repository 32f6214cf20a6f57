"""What a check of a data set came to: every finding with its policy, and an account of the rows of each split.

rows in = rows used + rows quarantined, always: no row is ever replaced by another. No torch here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmkd.config.section import Section
from mmkd.data.base import DataError
from mmkd.data.findings import REASONS, WITHOUT_A_ROW, Finding, Policy

SHOWN = 20
"""Findings that a message lists before it counts the rest."""


class Account(Section):
    """Rows of one split. rows: as read. quarantined: reason -> rows left out, each under its first reason.

    accepted: reason -> findings of rows that are used all the same. masked: kind of personal data -> places masked.
    """

    rows: int
    used: int
    quarantined: dict[str, int] = {}
    accepted: dict[str, int] = {}
    masked: dict[str, int] = {}


@dataclass(frozen=True)
class Found:
    """A finding, and what happens because of it. place: of the row among the split's rows, from 0; -1: no row."""

    finding: Finding
    policy: Policy
    place: int


@dataclass(frozen=True)
class Report:
    """accounts: split -> Account. found: in the order of splits and rows. dropped: split -> places left out."""

    accounts: Mapping[str, Account]
    found: Sequence[Found]
    dropped: Mapping[str, Sequence[int]]

    def require(self, card: str) -> None:
        """Refuse what must be refused.

        Raises DataError that lists the findings, with what to do about them.
        """
        refused = [each.finding for each in self.found if each.policy == "refuse"]
        if not refused:
            return
        counts = Counter(finding.reason for finding in refused)
        number = "1 finding refuses" if len(refused) == 1 else f"{len(refused):,} findings refuse"
        lines = [f"{number} the data; nothing was run and nothing was replaced:"]
        lines += [str(finding) for finding in refused[:SHOWN]]
        if len(refused) > SHOWN:
            lines.append(f"... and {len(refused) - SHOWN:,} more; `mmkd data check {card} --all` lists them")
        lines += [f"{count:>7,} {reason}: {REASONS[reason].meaning}" for reason, count in counts.items()]
        if not set(counts) <= WITHOUT_A_ROW:
            lines.append("Mend the rows, or let the card say what happens to them: `policy: {REASON: quarantine}`")
        if WITHOUT_A_ROW & set(counts):
            lines.append("Mend the files, or the rows that the card states in `mmkd.splits`")
        raise DataError(card, None, None, "\n".join(lines))

    def dump(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "accounts": {split: account.model_dump() for split, account in self.accounts.items()},
            "found": [{**asdict(each.finding), "policy": each.policy, "place": each.place} for each in self.found],
            "dropped": {split: list(places) for split, places in self.dropped.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Report:
        """The report that `dump` gave."""
        found = []
        for each in plain["found"]:
            fields = {key: value for key, value in each.items() if key not in ("policy", "place")}
            found.append(Found(Finding(**fields), each["policy"], each["place"]))
        accounts = {split: Account(**account) for split, account in plain["accounts"].items()}
        return cls(accounts, found, plain["dropped"])


def accounted(accounts: Mapping[str, Account]) -> list[str]:
    """A line for each split: rows in, and where they are."""
    lines = []
    for name, account in accounts.items():
        parts = [f"{account.used:,} used"]
        parts += [f"{count:,} quarantined ({reason})" for reason, count in account.quarantined.items()]
        notes = [f"{count:,} {reason}" for reason, count in account.accepted.items()]
        notes += [f"{count:,} {kind} masked" for kind, count in account.masked.items()]
        lines.append(f"{name}: {account.rows:,} rows = {' + '.join(parts)}{'; ' * bool(notes)}{', '.join(notes)}")
    return lines


def policy_of(reason: str, policy: Mapping[str, Policy]) -> Policy:
    """What happens to a row because of a reason. policy: where it differs from the reason's own."""
    return policy.get(reason, REASONS[reason].policy)


def settle(
    rows: Mapping[str, int],
    findings: Sequence[tuple[int, Finding]],
    policy: Mapping[str, Policy],
    masked: Mapping[str, Mapping[str, int]],
) -> Report:
    """Give each finding its policy and count.

    rows: split -> rows as read. findings: with the place of their row in its split, -1 for none. policy: where it
    differs from the reason's own. masked: split -> kind -> places.
    """
    order = {split: number for number, split in enumerate(rows)}
    ranked = sorted(findings, key=lambda each: (order[each[1].split], each[0]))
    found = [Found(one, policy_of(one.reason, policy), place) for place, one in ranked]
    dropped: dict[str, dict[int, str]] = {split: {} for split in rows}
    for each in found:
        if each.policy == "quarantine":
            dropped[each.finding.split].setdefault(each.place, each.finding.reason)
    accepted: dict[str, Counter[str]] = {split: Counter() for split in rows}
    for each in found:
        if each.policy == "accept" and each.place not in dropped[each.finding.split]:
            accepted[each.finding.split][each.finding.reason] += 1
    accounts = {
        split: Account(
            rows=count,
            used=count - len(dropped[split]),
            quarantined=dict(Counter(dropped[split].values())),
            accepted=dict(accepted[split]),
            masked=dict(masked.get(split, {})),
        )
        for split, count in rows.items()
    }
    return Report(accounts, found, {split: sorted(places) for split, places in dropped.items()})
