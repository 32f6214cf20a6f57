"""Characters that are no text or that nobody sees."""

import unicodedata

import pytest

from mmkd.data import check_text
from mmkd.data.check_text import check_words
from mmkd.data.findings import REASONS


def reasons(*words: str) -> list[str]:
    found = check_words(words)
    assert {reason for reason, _ in found} <= REASONS.keys()
    return [reason for reason, _ in found]


@pytest.mark.parametrize(
    "word",
    [
        *("plain", "naïve", "Größe", "日本語", "한국어", "हिन्दी", "ไทย", "Ελλάδα", "Київ", "€5", "“quoted”", "…"),
        *("👩‍👩‍👧", "❤️", "🇮🇳", "👍🏽", "क्‍ष", "soft\u00adhyphen", "zero\u200bwidth", "e\u0301", "\ufeffbom", ""),
    ],
)
def test_text_of_any_script_is_text(word: str):
    assert reasons("a", word) == []


@pytest.mark.parametrize(
    "word",
    ["\u200b", "\ufeff", "\u00ad", "\u200d", "\ufe0f", "\u2060\u200b", "\u00a0", "\u0301", "\x01", "\u3164", "\u2800"],
)
def test_a_word_that_draws_nothing(word: str):
    ((reason, message),) = check_words(("a", "b", word, word, "c"))
    assert reason == "text_zero_width"
    assert f"U+{ord(word[0]):04X}" in message
    assert "word 3 of 5, and 1 more" in message


def test_nul_and_half_pairs():
    assert reasons("a", "b\0c") == ["text_nul"]
    assert reasons("\0") == ["text_nul"]
    ((reason, message),) = check_words(("a\ud83d", "b"))
    assert (reason, "U+D83D" in message, "word 1 of 2" in message) == ("text_surrogate", True, True)
    assert reasons("\udfff") == ["text_surrogate"]
    assert reasons("\0", "\ud800", "\u200b", "שלום") == [
        "text_nul",
        "text_surrogate",
        "text_zero_width",
        "text_right_to_left",
    ]


@pytest.mark.parametrize("word", ["שלום", "مرحبا", "aא", "ܐ"])
def test_right_to_left_letters(word: str):
    ((reason, message),) = check_words((word,))
    assert reason == "text_right_to_left"
    assert "letters" in message


@pytest.mark.parametrize("code", [0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_direction_controls_are_named_before_letters(code: int):
    found = dict(check_words(("exe" + chr(code) + "gpj", "שלום")))
    assert f"direction control U+{code:04X} in word 1 of 2, and 1 more" in found["text_right_to_left"]


def test_what_is_passed_over_at_a_glance_has_no_finding():
    """Every character that the quick look lets through, against the Unicode data."""
    for code in range(0x110000):
        letter = chr(code)
        if not check_text._TO_LOOK_AT.search(letter):
            visible = unicodedata.category(letter) not in ("Cf", "Cc", "Zs", "Mn", "Cs") or letter in "\t\n\r "
            assert visible, hex(code)
            assert unicodedata.bidirectional(letter) not in ("R", "AL"), hex(code)


def test_only_words_with_unusual_characters_are_looked_at(monkeypatch):
    looked_at = []
    monkeypatch.setattr(check_text, "_SORTS", [("text_nul", lambda word: looked_at.append(word), str)])
    check_words(("plain", "Größe", "日本"))
    check_words(("all", "plain"))
    assert looked_at == ["日本"]
