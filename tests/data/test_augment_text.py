"""Words after augmentation: BIO labels stay valid, entities whole, chances as asked, all from the generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from mmkd.config.augment import TextAugment
from mmkd.config.problems import ConfigError
from mmkd.data.augment_text import augment_words, read_lexicon

LEXICON = {"good": ("fine", "sound"), "bank": ("lender",)}

chance = st.floats(0, 1)
configs = st.builds(TextAugment, drop=chance, swap=chance, mask=chance, synonym=chance, lexicon=st.just("words.tsv"))


@st.composite
def tag_sequences(draw: st.DrawFn) -> list[str]:
    """Valid BIO: pieces that are each O or one whole entity."""
    piece = st.one_of(
        st.just(["O"]),
        st.builds(lambda kind, more: [f"B-{kind}"] + [f"I-{kind}"] * more, st.sampled_from("XY"), st.integers(0, 3)),
    )
    return [tag for one in draw(st.lists(piece, max_size=12)) for tag in one]


def config(**chances: float) -> TextAugment:
    return TextAugment(lexicon="words.tsv", **chances)


def change(words: list[str], section: TextAugment, seed: int = 0, keep: list[bool] | None = None):
    keep = [False] * len(words) if keep is None else keep
    return augment_words(words, keep, section, np.random.default_rng(seed), LEXICON)


def broken_bio(tags: list[str]) -> list[str]:
    """I- tags that continue no entity of their type."""
    before = ["O", *tags]
    return [tag for old, tag in zip(before, tags, strict=False) if tag[0] == "I" and old[1:] != tag[1:]]


@given(tag_sequences(), configs, st.integers(0, 2**32))
def test_labels_follow_as_valid_bio_with_every_entity_whole_and_in_order(tags: list[str], section, seed: int):
    words = [f"w{place}" for place in range(len(tags))]
    new, index = change(words, section, seed, keep=[tag != "O" for tag in tags])
    followed = [tags[place] for place in index]
    assert len(new) == len(index)
    assert broken_bio(followed) == []

    def entities(words, tags):
        return [(kind, words[start : end + 1]) for kind, start, end in get_entities(tags)]

    assert entities(list(new), followed) == entities(words, tags)


@given(st.lists(st.booleans(), max_size=20), configs, st.integers(0, 2**32))
def test_each_new_word_stands_for_the_word_at_its_index(keep: list[bool], section, seed: int):
    words = [("Good", "bank", "other")[place % 3] for place in range(len(keep))]
    new, index = change(words, section, seed, keep)
    assert len(set(index)) == len(index)
    assert (len(index) > 0) == (len(words) > 0)
    may_become = {"Good": {"Good", "Fine", "Sound"}, "bank": {"bank", "lender"}, "other": {"other"}}
    for word, place in zip(new, index, strict=True):
        old = words[place]
        assert word == old if keep[place] else word in may_become[old] | {"[MASK]"}
    kept = [place for place in index if keep[place]]
    assert kept == [place for place, stays in enumerate(keep) if stays]
    without_drop = section.model_copy(update={"drop": 0.0})
    assert sorted(change(words, without_drop, seed, keep)[1]) == list(range(len(words)))


@given(st.lists(st.text(min_size=1)), st.integers(0, 2**32))
def test_without_chances_nothing_changes(words: list[str], seed: int):
    assert change(words, TextAugment(), seed) == (tuple(words), tuple(range(len(words))))


def test_the_generator_alone_decides():
    words = ["good", "bank", "a", "b", "c", "d", "e", "f"]
    section = config(drop=0.3, swap=0.3, mask=0.3, synonym=0.5)
    views = [change(words, section, seed) for seed in range(20)]
    assert [change(words, section, seed) for seed in range(20)] == views
    assert len(set(views)) > 15


def test_one_chance_does_not_change_the_draws_of_the_others():
    words = [f"w{place}" for place in range(200)]
    masks = [new == "[MASK]" for new in change(words, config(mask=0.3))[0]]
    new, index = change(words, config(mask=0.3, drop=0.5, swap=0.5))
    assert [word == "[MASK]" for word in new] == [masks[place] for place in index]


N = 20_000


def within_five_sigma(count: int, chance: float, n: int = N) -> bool:
    """Whether a binomial count is as near to its mean as all but one in two million are."""
    return abs(count - n * chance) < 5 * (n * chance * (1 - chance)) ** 0.5


@pytest.mark.parametrize("chance", [0.05, 0.5])
def test_chances_are_those_asked_for(chance: float):
    words = ["good"] * N
    assert within_five_sigma(N - len(change(words, config(drop=chance))[0]), chance)
    assert within_five_sigma(change(words, config(mask=chance))[0].count("[MASK]"), chance)
    synonyms = change(words, config(synonym=chance))[0]
    assert within_five_sigma(N - synonyms.count("good"), chance)
    assert within_five_sigma(synonyms.count("fine"), chance / 2)


def test_a_word_that_has_not_just_moved_swaps_at_its_chance():
    _, index = change(["good"] * N, config(swap=0.2))
    moved = sum(place != new for place, new in enumerate(index))
    assert max(abs(place - new) for place, new in enumerate(index)) == 1
    # Each pair takes two places and each word that stays one: of places / (1 + chance) trials, a share swaps.
    assert within_five_sigma(moved // 2, 0.2, round(N / 1.2))


def test_operations_are_independent_of_each_other():
    new, index = change(["good"] * N, config(drop=0.5, mask=0.5, synonym=0.5))
    left = len(index)
    assert within_five_sigma(new.count("[MASK]"), 0.5, left)
    assert within_five_sigma(new.count("good"), 0.25, left)


def test_one_word_stays_and_any_may():
    stays = {change(["a", "b", "c"], config(drop=1.0), seed) for seed in range(50)}
    assert stays == {(("a",), (0,)), (("b",), (1,)), (("c",), (2,))}
    assert change([], config(drop=1.0)) == ((), ())


def test_neighbours_swap_but_not_with_a_word_that_is_kept():
    assert change(list("abcde"), config(swap=1.0))[1] == (1, 0, 3, 2, 4)
    assert change(list("abcde"), config(swap=1.0), keep=[False, True, False, False, False])[1] == (0, 1, 3, 2, 4)


def test_words_swap_with_the_next_that_is_left():
    for seed in range(100):
        section = config(drop=0.5)
        left = change(list("abcdef"), section, seed)[1]
        pairs = [left[place : place + 2][::-1] for place in range(0, len(left), 2)]
        both = change(list("abcdef"), section.model_copy(update={"swap": 1.0}), seed)[1]
        assert both == tuple(one for pair in pairs for one in pair)


@pytest.mark.parametrize(
    ("word", "expected"), [("bank", "lender"), ("Bank", "Lender"), ("BANK", "LENDER"), ("bAnk", "lender")]
)
def test_a_synonym_keeps_the_case(word: str, expected: str):
    assert change([word], config(synonym=1.0))[0] == (expected,)


def test_misuse_is_named():
    with pytest.raises(ValueError, match="found 1 values of `keep` for 2 words"):
        change(["a", "b"], config(), keep=[True])
    with pytest.raises(ValueError, match=r"empty lexicon for `synonym`; expected the words of words\.tsv"):
        augment_words(["a"], [False], config(synonym=0.5), np.random.default_rng(0), {})


def test_a_lexicon_is_read(tmp_path: Path):
    path = tmp_path / "words.tsv"
    path.write_bytes("\ufeffGood\tfine\tsound\r\n\nété\tsaison\n".encode())
    assert read_lexicon(path) == {"good": ("fine", "sound"), "été": ("saison",)}


def test_all_mistakes_of_a_lexicon_are_named_with_their_lines(tmp_path: Path):
    path = tmp_path / "words.tsv"
    path.write_text("good\tfine\nbad\nGOOD\tsound\nbank\tmoney house\nfast\tFast\nbig\t\tlarge\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_lexicon(path)
    assert str(caught.value).splitlines() == [
        f"{path}:2: found 'bad' alone; expected the word, a tab, and its alternatives, separated by tabs",
        f"{path}:3: found 'GOOD' again, first on line 1; expected each word once, in any case",
        f"{path}:4: found 'money house'; expected single words without spaces, separated by one tab",
        f"{path}:5: found 'fast' as its own alternative; expected other words",
        f"{path}:6: found ''; expected single words without spaces, separated by one tab",
    ]


@pytest.mark.parametrize(
    ("content", "expected"), [(b"\n", "found no word"), (b"caf\xe9\tbar\n", "cannot be read"), (None, "cannot be read")]
)
def test_a_file_that_is_no_lexicon_is_named(tmp_path: Path, content: bytes | None, expected: str):
    path = tmp_path / "words.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected) as caught:
        read_lexicon(path)
    assert str(caught.value).startswith(str(path))
