"""The errors that a user can mend: the command line shows their message alone, without a traceback."""

from typing import ClassVar


class MmkdError(Exception):
    """Base of the suite's own errors. The message says where, what was found, what was expected and what to do."""

    exit_code: ClassVar[int] = 2
    """Of a command that ends with it."""


class CheckFailed(MmkdError):
    """A check of what would run found a mistake in it: no file is refused."""

    exit_code: ClassVar[int] = 1
