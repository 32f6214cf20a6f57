"""The errors that a user can mend: the command line shows their message alone, without a traceback."""


class MmkdError(Exception):
    """Base of the suite's own errors. The message says where, what was found, what was expected and what to do."""


class CheckFailed(MmkdError):
    """A check of what would run found a mistake in it. The command line exits with 1, not 2: no file is refused."""
