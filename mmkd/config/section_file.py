"""A YAML file that holds one section, such as a sweep file; every mistake is named with its line. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from mmkd.config.document import read_file
from mmkd.config.plain_words import problems_of
from mmkd.config.problems import ConfigError
from mmkd.config.section import Section

AnySection = TypeVar("AnySection", bound=Section)


def load_section(path: Path, section: type[AnySection]) -> AnySection:
    """Read a file as a section of the given type.

    Raises ConfigError with every mistake.
    """
    root, problems = read_file(path)
    try:
        value = section.model_validate(root.plain())
    except ValidationError as error:
        problems += problems_of(error, section, root, ())
    if problems:
        raise ConfigError(problems)
    return value
