"""Keys, tokens and passwords: they stay in the environment, and stand in no file that the suite reads or writes.

A file or an override that holds one is refused, since records keep what experiments say. What else may carry one (a
library's message with a URL, a traceback, a path) is blotted out on its way to the terminal or to a file. Two things
tell a secret: a form that nothing else has, and that it is the value of one here, in an environment variable whose name
says so, or in `.netrc`. A password that is in neither place looks like any other word. No torch here.
"""

from __future__ import annotations

import netrc
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from mmkd.errors import MmkdError

BLOT = "[secret]"

FORMS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Weights & Biases key": r"\bwandb_v\d_\w{20,}|\blocal-[0-9a-f]{40}\b",
    "an API key": r"\bsk-[\w-]{20,}|\bAIza[\w-]{35}",
    "a Slack token": r"\bxox[abeprs]-[\w-]{10,}",
    "a JSON web token": r"\beyJ[\w-]{8,1000}\.eyJ[\w-]{8,}\.[\w-]+",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.{0,6000}?-----END [A-Z ]*PRIVATE KEY-----)?",
    "a URL with a password": r"(?<=://)[^\s/?#:@]*:[^\s/?#]+(?=@)",
    "a named secret": (
        r"(?i:\b[\w-]{0,40}(?:passw(?:or)?d|api[_-]?key|access[_-]?key|secret|auth[_-]?token|access[_-]?token)[\w-]{0,40}"
        r"(?:=|[\"']\s*:\s*[\"'])[\"']?|\bbearer\s+)[^\s\"'&,;]{6,}"
    ),
}
"""What a secret is called -> its form, which other text does not have. Bounds keep the search for one short."""

VARIABLE = re.compile(
    r"(?i:(?:token|secret|passw(?:or)?d)|(?:^|_)(?:api)?(?:key|pass|pwd|auth|credentials?))s?\d*$",
)
"""Names of environment variables whose values are secrets."""

NOT_SECRET = ("PWD", "OLDPWD")

KEY = re.compile(
    r"(?i:(?:^|[_-])(?:passw(?:or)?d|api[_-]?key|access[_-]?key|secret(?:[_-]key)?|credentials?"
    r"|(?:access|auth|api|hf|bearer|session)[_-]token)|^token)$"
)
"""Keys of a file whose values are secrets; `pad_token` and the like are none."""

SHORTEST = 6
"""Characters of a value that is looked for: shorter ones stand in other words."""


@dataclass(frozen=True)
class Secrets:
    """What is a secret on this machine now. kinds: group of the pattern -> what it is called."""

    pattern: re.Pattern[str]
    kinds: Mapping[str, str]

    @classmethod
    def here(cls) -> Secrets:
        """Those of the forms, of the environment and of `.netrc`."""
        known = sorted(set(_known()), key=lambda each: (-len(each[0]), each))
        forms = [(re.escape(value), where) for value, where in known]
        forms += [(form, kind) for kind, form in FORMS.items()]
        pattern = "|".join(f"(?P<s{number}>{form})" for number, (form, _) in enumerate(forms))
        return cls(re.compile(pattern, re.DOTALL), {f"s{number}": kind for number, (_, kind) in enumerate(forms)})

    def kind_of(self, text: str, key: object = None) -> str | None:
        """What secret stands in a text; None for none. key: that the text is the value of."""
        found = self.pattern.search(text)
        if found is not None:
            return self.kinds[found.lastgroup or ""]
        named = isinstance(key, str) and KEY.search(key) is not None
        return f"a value of `{key}`" if named and len(text) >= SHORTEST and text.isascii() else None

    def redacted(self, text: str) -> str:
        """The text with a blot in the place of each secret."""
        return self.pattern.sub(BLOT, text)


def redacted(text: str) -> str:
    """A text with a blot in the place of each secret."""
    return Secrets.here().redacted(text)


def _known() -> Iterator[tuple[str, str]]:
    """Values that are secrets here, and where they stand."""
    for name, value in os.environ.items():
        where = f"the value of the environment variable {name}"
        if VARIABLE.search(name) and name not in NOT_SECRET and _can_be_one(value):
            yield value, where
        for password in re.findall(r"://[^\s/?#:@]*:([^\s/?#]+)@", value):
            if len(password) >= SHORTEST:
                yield password, where
    for password in _of_netrc():
        if len(password) >= SHORTEST:
            yield password, "a password of .netrc"


def _can_be_one(value: str) -> bool:
    return len(value) >= SHORTEST and not re.search(r"\s", value) and not os.path.exists(value)


def _of_netrc() -> list[str]:
    try:
        path = os.environ.get("NETRC") or Path.home() / ".netrc"
        return [entry[2] for entry in netrc.netrc(path).hosts.values() if entry[2]]
    except (OSError, RuntimeError, UnicodeDecodeError, netrc.NetrcParseError):
        return []  # none there, or none that a library could use


class Redacting:
    """A stream that blots out the secrets of what is written to it; all else is the stream's own."""

    def __init__(self, stream: TextIO, secrets: Secrets) -> None:
        """stream: where it is written to."""
        self._stream, self._secrets = stream, secrets

    def write(self, text: str) -> int:
        """Write, and say how long the text was."""
        self._stream.write(self._secrets.redacted(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Whatever else the stream has."""
        return getattr(self._stream, name)


def redact_output() -> None:
    """Blot out secrets in all that this process prints from now on, tracebacks and warnings included."""
    secrets = Secrets.here()
    sys.stdout, sys.stderr = (cast(TextIO, Redacting(stream, secrets)) for stream in (sys.stdout, sys.stderr))


class HiddenError(MmkdError):
    """An error whose message or traceback held a secret: its traceback, with blots."""


@contextmanager
def redacted_errors() -> Iterator[None]:
    """For what writes errors to files by itself: one with a secret in its traceback becomes a HiddenError."""
    try:
        yield
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        if (clean := redacted(text)) == text:
            raise
        raise HiddenError(clean) from None
