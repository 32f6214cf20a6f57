"""What a preflight looked at, and what it found wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mmkd.errors import CheckFailed


class PreflightError(CheckFailed):
    """A plug-in does not do what its kind of thing promises; the message names it, and nothing was trained."""


@dataclass(frozen=True)
class Finding:
    """One mistake. who: the key of the experiment and the kind of the plug-in, `losses.mine (kind my_lab.hinge)`."""

    who: str
    found: str
    expected: str
    advice: str

    def __str__(self) -> str:
        """On one line: where, what was found, what was expected, what to do."""
        return f"{self.who}: {self.found}; expected {self.expected}; {self.advice}"


@dataclass
class Report:
    """looked: check -> whom it looked at. left_out: check -> whom it could not look at, and why.

    findings: by check. rows: of the batch. seconds: how long all took.
    """

    looked: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0

    def add(self, check: str, who: str, findings: Iterable[Finding] = ()) -> bool:
        """Take in that a check looked at someone; return whether it found nothing."""
        found = list(findings)
        self.looked.setdefault(check, []).append(who)
        self.findings.setdefault(check, []).extend(found)
        return not found

    def leave_out(self, check: str, who: str, why: str) -> None:
        """Take in that a check does not apply to someone."""
        self.left_out.setdefault(check, []).append(f"{who}: {why}")

    def require(self) -> Report:
        """The report itself. Raises PreflightError, with every mistake, when there is one."""
        found = [str(each) for findings in self.findings.values() for each in findings]
        if found:
            advice = "`train.preflight: false` trains without these checks"
            raise PreflightError("\n".join([*found, f"preflight: mistakes found: {len(found)}; {advice}"]))
        return self


def named(section: str, name: str, kind: str) -> str:
    """How a plug-in of an experiment is called in messages."""
    return f"{section}.{name} (kind {kind})"
