"""How a text encoder reads words: its tokenizer, and which word each sub-token belongs to."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mmkd.pretrained import pretrained_tokenizer
from mmkd.record import hash_of

if TYPE_CHECKING:
    from mmkd.config.encoders import TextEncoder

SPECIAL = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


class TextReader:
    """Turns the words of a text into sub-token ids and the index of the word that each belongs to."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        """max_tokens: longer texts are cut, special tokens counted.

        Raises ValueError for a tokenizer that cannot say which word a sub-token comes from, or that cannot pad.
        """
        if not tokenizer.is_fast:
            raise ValueError(f"{tokenizer.name_or_path}: needs a fast tokenizer, which knows each sub-token's word")
        if tokenizer.pad_token_id is None:
            raise ValueError(f"{tokenizer.name_or_path}: needs a tokenizer with a padding token; this one has none")
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.padding: int = tokenizer.pad_token_id
        # Taken now: reading with truncation writes the truncation into the tokenizer's own rules.
        rules = tokenizer.backend_tokenizer.to_str()
        self.identity = hash_of([hashlib.sha256(rules.encode()).hexdigest(), max_tokens])
        """sha256 of everything that determines the encoding."""

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return len(self.tokenizer)

    def read(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Sub-token ids and their word indices, -1 for special tokens. No words gives the special tokens alone."""
        encoded = self.tokenizer(
            list(words), is_split_into_words=True, truncation=True, max_length=self.max_tokens, verbose=False
        )
        return encoded["input_ids"], [-1 if word is None else word for word in encoded.word_ids()]


def text_reader(config: TextEncoder, texts: Iterable[Sequence[str]], folder: Path) -> TextReader:
    """The reader of a text encoder: the pretrained model's own, or a WordPiece one trained on `texts`.

    texts: words of the training rows, in a fixed order. folder: where a trained tokenizer is kept.
    """
    if config.model is not None:
        tokenizer = pretrained_tokenizer(config)
    else:
        assert config.vocabulary is not None  # checked by the config
        tokenizer = _trained(texts, config.vocabulary, folder)
    return TextReader(tokenizer, config.max_tokens)


def stored_reader(path: Path, special: Mapping[str, str], max_tokens: int) -> TextReader:
    """The reader of a tokenizer file of the tokenizers library. special: role -> token, for example `pad_token`."""
    return TextReader(PreTrainedTokenizerFast(tokenizer_file=str(path), **special), max_tokens)


def _trained(texts: Iterable[Sequence[str]], size: int, folder: Path) -> PreTrainedTokenizerFast:
    words = sorted(word for text in texts for word in text)
    path = folder / f"wordpiece-{hash_of([words, size])[:24]}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        _wordpiece(words, size).save(str(temporary))
        temporary.replace(path)
    return PreTrainedTokenizerFast(tokenizer_file=str(path), **SPECIAL)


def _wordpiece(words: Sequence[str], size: int) -> Tokenizer:
    """A WordPiece tokenizer with every character and the most frequent words of `words`, `size` entries at most.

    The trainer of the tokenizers library breaks ties by a hash that changes from process to process (seen with
    0.23.3), so the same words would give other vocabularies; counting words does not.
    """
    splitter = pre_tokenizers.BertPreTokenizer()
    counts = Counter(
        piece for word, n in Counter(words).items() for piece, _ in splitter.pre_tokenize_str(word) for _ in range(n)
    )
    characters = sorted({character for word in counts for character in word})
    entries = [*SPECIAL.values(), *characters, *(f"##{character}" for character in characters)]
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    entries += [word for word in frequent if len(word) > 1][: max(0, size - len(entries))]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = splitter
    begin, end = SPECIAL["cls_token"], SPECIAL["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])]
    )
    return tokenizer
