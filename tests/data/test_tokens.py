"""Words to sub-tokens and back: which word each sub-token belongs to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from mmkd.data.tokens import TextReader
from tiny_project import reader

TEXTS = [["profit", "rises", "profit"], ["loss", "of", "profit,", "no"], []]


def pieces(own: TextReader, words: list[str]) -> list[tuple[str, int]]:
    ids, word = own.read(words)
    return list(zip(own.tokenizer.convert_ids_to_tokens(ids), word, strict=True))


def test_whole_words_split_words_and_punctuation(tmp_path: Path):
    own = reader(TEXTS, tmp_path)
    assert pieces(own, ["profit", "lossp", "no,"]) == [
        ("[CLS]", -1),
        ("profit", 0),
        ("loss", 1),
        ("##p", 1),
        ("no", 2),
        (",", 2),
        ("[SEP]", -1),
    ]


def test_a_word_without_sub_token_is_skipped_and_the_next_keeps_its_number(tmp_path: Path):
    assert pieces(reader(TEXTS, tmp_path), ["profit", " ", "no"]) == [
        ("[CLS]", -1),
        ("profit", 0),
        ("no", 2),
        ("[SEP]", -1),
    ]


def test_an_unknown_character_is_unknown_not_lost(tmp_path: Path):
    assert pieces(reader(TEXTS, tmp_path), ["Ω", "no"])[1] == ("[UNK]", 0)


def test_a_long_text_is_cut_with_its_special_tokens(tmp_path: Path):
    assert pieces(reader(TEXTS, tmp_path, max_tokens=4), ["profit", "lossp", "no"]) == [
        ("[CLS]", -1),
        ("profit", 0),
        ("loss", 1),
        ("[SEP]", -1),
    ]


def test_no_words_give_the_special_tokens_alone(tmp_path: Path):
    assert pieces(reader(TEXTS, tmp_path), []) == [("[CLS]", -1), ("[SEP]", -1)]


def test_the_vocabulary_is_no_larger_than_asked_and_holds_the_most_frequent_words(tmp_path: Path):
    characters = {character for text in TEXTS for word in text for character in word}
    room = 5 + 2 * len(characters)
    own = reader(TEXTS, tmp_path, vocabulary=room + 1)
    assert own.vocabulary == room + 1
    assert pieces(own, ["profit", "no"])[1:3] == [("profit", 0), ("n", 1)]


def test_reading_does_not_change_the_identity(tmp_path: Path):
    own = reader(TEXTS, tmp_path)
    before = own.identity
    own.read(["profit"] * 100)
    assert own.identity == before == reader(TEXTS, tmp_path).identity


def test_the_identity_follows_the_vocabulary_and_the_length(tmp_path: Path):
    identities = {
        reader(TEXTS, tmp_path).identity,
        reader([*TEXTS, ["more"]], tmp_path).identity,
        reader(TEXTS, tmp_path, max_tokens=32).identity,
    }
    assert len(identities) == 3


SCRIPT = """
import sys
from pathlib import Path
from mmkd.data.tokens import _trained
_trained(eval(sys.argv[2]), 80, Path(sys.argv[1]))
"""


def test_the_same_words_give_the_same_vocabulary_in_every_process(tmp_path: Path):
    # 37 words occur about as often as one another: only some of them fit, so a tie broken by hash would show.
    texts = [[f"w{n % 37}x", f"v{n % 11}"] for n in range(200)]
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "there"), repr(texts)], check=True, env=environment)
    reader(texts, tmp_path / "here", vocabulary=80)
    (here,), (there,) = (list((tmp_path / place).iterdir()) for place in ("here", "there"))
    assert (here.name, here.read_bytes()) == (there.name, there.read_bytes())


def test_a_tokenizer_that_cannot_pad_is_refused():
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "u": 1}, unk_token="u")))
    with pytest.raises(ValueError, match="padding token"):
        TextReader(bare, 8)
