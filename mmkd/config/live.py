"""How teachers run that are not read from the cache. No torch here."""

from mmkd.config.section import PositiveInt, Section


class Live(Section):
    """Where live teachers run; only with `train.cache: false`.

    process: in a process of their own, so that they work while the student does.
    device: a torch device of their own, for instance `cuda:1`; null: the student's.
    ahead: batches that the process may be ahead of the student.
    """

    process: bool = False
    device: str | None = None
    ahead: PositiveInt = 2
