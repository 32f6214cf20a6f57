"""A YAML file of one section, as a sweep file or a table file; every mistake is named with its line. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from mmkd.config.document import read_file
from mmkd.config.plain_words import validated
from mmkd.config.problems import ConfigError
from mmkd.config.section import Section

AnySection = TypeVar("AnySection", bound=Section)


def load_section(path: Path, section: type[AnySection]) -> AnySection:
    """Read a file as a section of the given type.

    Raises ConfigError with every mistake.
    """
    root, problems = read_file(path)
    value = validated(section, root, (), problems)
    if problems or value is None:
        raise ConfigError(problems)
    return value
