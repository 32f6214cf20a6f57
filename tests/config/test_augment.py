"""The section `augment`: what it takes, what cannot work and is refused, and which view an epoch reads."""

from typing import Any

import pytest

from mmkd.config.augment import Augment, ImageAugment
from mmkd.config.plain_words import validated
from mmkd.config.problems import Place, Problem
from mmkd.config.schema import key_descriptions
from mmkd.config.section import Section
from mmkd.config.yaml_tree import parse

FULL = """\
augment:
  views: 3
  seed: 7
  text: {drop: 0.1, swap: 0.05, mask: 0.05, synonym: 0.1, lexicon: words.tsv, mask_word: "<mask>"}
  image:
    crop: {scale: [0.7, 1.0], ratio: [0.8, 1.25]}
    flip: 0.5
    policy: rand-m9-n2-p0.5-mstd0.5-mmax20-inc1-tweights
    jitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1}
    erase: 0.25
"""


def read(text: str) -> tuple[Augment | None, list[str]]:
    """The section of a file, and its mistakes without the file's name and line."""
    problems: list[Problem] = []
    tree, syntax = parse(text, lambda line: Place("file", line))
    assert not syntax
    section = validated(Augment, tree, ("augment",), problems)
    return section, [str(problem).partition(": ")[2] for problem in problems]


def mistakes(text: str) -> list[str]:
    return read(f"augment: {text}")[1]


def test_every_key_is_read_and_dumped_as_plain_data() -> None:
    section, problems = read(FULL)
    assert problems == []
    assert section is not None
    assert section.image is not None and section.image.crop is not None
    assert section.image.crop.ratio == (0.8, 1.25)
    assert Augment.model_validate(section.model_dump(mode="json")) == section


def test_what_is_not_asked_for_is_not_done() -> None:
    section, _ = read("augment: {text: {}, image: {}}")
    assert section is not None and section.text is not None and section.image is not None
    assert section.text.model_dump() == {
        **dict.fromkeys(("drop", "swap", "mask", "synonym"), 0.0),
        "mask_word": "[MASK]",
        "lexicon": None,
    }
    assert section.image == ImageAugment(crop=None, flip=0, policy=None, jitter=None, erase=0)


@pytest.mark.parametrize(("views", "expected"), [(4, [0, 1, 2, 3, 0, 1]), (1, [0] * 6), (None, [0, 1, 2, 3, 4, 5])])
def test_an_epoch_reads_the_view_of_its_number_modulo_the_views(views: int | None, expected: list[int]) -> None:
    augment = Augment.model_validate({"views": views, "text": {}})
    assert [augment.view_at(epoch) for epoch in range(6)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "augment: expected `text`, `image` or both"),
        ("{views: 0, text: {}}", "augment.views: found 0; expected an integer greater than 0, or null"),
        ("{seed: -1, text: {}}", "augment.seed: found -1; expected an integer of at least 0"),
        (
            "{text: {drop: 1.1}}",
            "augment.text.drop: found 1.1; expected a number of at least 0 and of at most 1",
        ),
        (
            "{text: {swap: -0.1}}",
            "augment.text.swap: found -0.1; expected a number of at least 0 and of at most 1",
        ),
        (
            "{text: {synonym: 0.1}}",
            "augment.text: found `synonym` without a `lexicon`; expected the file that its words come from",
        ),
        (
            "{text: {mask_word: two words}}",
            'augment.text.mask_word: found "two words" (text); expected one word, without white space',
        ),
        ("{image: {flip: 2}}", "augment.image.flip: found 2; expected a number of at least 0 and of at most 1"),
        (
            "{image: {crop: {scale: [0.9, 0.5]}}}",
            "augment.image.crop.scale: found [0.9, 0.5]; expected two shares of at most 1, the smaller first",
        ),
        (
            "{image: {crop: {scale: [0.9, 1.5]}}}",
            "augment.image.crop.scale: found [0.9, 1.5]; expected two shares of at most 1, the smaller first",
        ),
        (
            "{image: {crop: {ratio: [1.5, 2]}}}",
            "augment.image.crop.ratio: found [1.5, 2.0]; expected one of at most 1 and then one of at least 1",
        ),
        ("{image: {crop: {scale: [0, 1]}}}", "augment.image.crop.scale.0: found 0; expected a number greater than 0"),
        (
            "{image: {jitter: {hue: 0.6}}}",
            "augment.image.jitter.hue: found 0.6; expected a number of at least 0 and of at most 0.5",
        ),
    ],
)
def test_what_cannot_work_is_refused(text: str, expected: str) -> None:
    assert mistakes(text) == [expected]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("random-m9", "expected one of trivial, rand, augmix, original, originalr, v0, v0r, 3a"),
        ("rand-mag9", "`mag9` is no option of rand"),  # timm reads past it in silence
        ("rand-m9-m5", "an option stands twice"),  # timm takes the last m, and the first mstd
        ("rand-p1.5", "`p1.5` is no option of rand"),
        ("rand-n0", "`n0` is no option of rand"),
        ("rand-tother", "`tother` is no option of rand"),
        ("rand-", "`` is no option of rand"),
        ("rand-m9 ", "`m9 ` is no option of rand"),
        ("augmix-a0", "`a0` is no option of augmix"),
        ("original-m9", "`m9` is no option of original"),
        ("trivial-m9", "`m9` is no option of trivial; expected nothing"),
    ],
)
def test_a_policy_that_is_none_is_refused(policy: str, expected: str) -> None:
    (found,) = mistakes(f'{{image: {{policy: "{policy}"}}}}')
    assert found.startswith("augment.image.policy: found ")
    assert expected in found


def all_sections(section: type[Section]) -> list[type[Section]]:
    names = section.model_json_schema()["$defs"]
    module: dict[str, Any] = vars(__import__(section.__module__, fromlist=["*"]))
    return [section, *(module[name] for name in names)]


def test_every_key_is_described_for_editors() -> None:
    sections = all_sections(Augment)
    assert len(sections) == 5
    for section in sections:
        assert set(key_descriptions(section)) == set(section.model_fields)
