"""The errors that a user can mend: the command line shows their message alone, without a traceback."""


class MmkdError(Exception):
    """Base of the suite's own errors. The message says where, what was found, what was expected and what to do."""
