"""The page of methods says what the files say."""

from __future__ import annotations

import pytest

from mmkd.config import plugins
from mmkd.config.methods import about, methods_page, needs_of


@pytest.mark.parametrize("folder", ["losses", "weighting"])
def test_every_kind_has_a_section_with_its_keys(folder: str) -> None:
    page = methods_page()
    for kind in plugins.kinds(folder):
        _, _, section = page.partition(f"### `{kind}`\n")
        section = section.partition("\n### ")[0]
        assert section
        for name, field in plugins.config_class(folder, kind).model_fields.items():
            assert name == "kind" or f"| `{field.alias or name}` |" in section


def test_the_first_line_of_a_file_is_what_the_method_is() -> None:
    first, rest = about("losses", "logit_kl")
    assert first == "knowledge distillation (Hinton, Vinyals and Dean 2015, 1503.02531)."
    assert rest.startswith("T^2 KL(teacher || student)")


def test_needs_are_those_of_the_config() -> None:
    assert needs_of(plugins.config_class("losses", "logit_kl")) == [
        "logits of the teacher in `teacher`",
        "a task over classes",
    ]
    assert needs_of(plugins.config_class("losses", "hint")) == [
        "hidden layers of text of the teacher in `teacher`",
        "a student with hidden layers of text",
    ]
    assert needs_of(plugins.config_class("losses", "masked_feature"))[1:] == [
        "a student that reads text",
        "a second pass of the student, with parts of texts hidden",
    ]
    assert needs_of(plugins.config_class("losses", "supervised")) == ["a task, on its labelled rows"]


@pytest.mark.parametrize("kind", plugins.kinds("losses"))
def test_needs_can_be_said_of_every_loss(kind: str) -> None:
    assert needs_of(plugins.config_class("losses", kind))
