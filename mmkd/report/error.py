"""The one error of the report: records, folders and names that a table cannot honestly be made from."""

from mmkd.errors import MmkdError


class ReportError(MmkdError):
    """A table cannot be made; the message names the place, what was found, what was expected and what to do."""
