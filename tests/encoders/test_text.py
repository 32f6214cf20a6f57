"""Text encoders speak in words, whichever model they wrap."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
)

from mmkd.config.encoders import TextEncoder as Config
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.tokens import text_reader
from mmkd.encoders.base import Encoded
from mmkd.encoders.text import TextEncoder, masked_mean, word_weights
from tiny_project import (
    BERT,
    FORMS,
    Listed,
    Row,
    data_split,
    everything,
    listed_corpus,
    random_rows,
    reader,
    text_config,
)

WORDS = torch.tensor([[-1, 0, 0, 2, 2, 2, -1, -1], [-1, 1, 3, 3, -1, -1, -1, -1], [-1] * 8])


def naive_weights(word: torch.Tensor, words: int, pooling: str) -> torch.Tensor:
    found = torch.zeros(*word.shape, words)
    for b in range(word.shape[0]):
        for w in range(words):
            places = [s for s in range(word.shape[1]) if word[b, s] == w]
            if pooling == "first":
                places = places[:1]
            for s in places:
                found[b, s, w] = 1 / len(places)
    return found


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_word_weights_against_a_loop(pooling: str):
    weights, kept = word_weights(WORDS, 4, pooling)
    assert torch.equal(weights, naive_weights(WORDS, 4, pooling))
    assert kept.tolist() == [[True, False, True, False], [False, True, False, True], [False] * 4]


def test_masked_mean_against_a_loop_and_of_nothing():
    values = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, False, True], [False, False, False]])
    found = masked_mean(values, mask)
    torch.testing.assert_close(found[0], (values[0, 0] + values[0, 2]) / 2)
    assert not found[1].any()


def encoder(folder: Path, layers: tuple[int, ...] = (0,), **changes: object) -> TextEncoder:
    torch.manual_seed(0)
    config = text_config(**changes)
    return TextEncoder(config, reader([], folder, config.max_tokens), layers).eval()


def encoded(corpus: Corpus, own: TextEncoder, rows: list[int], name: str = "student") -> Encoded:
    batch = corpus.batch(rows)
    with torch.no_grad():
        return own(batch.tokens[name], batch.word_mask.shape[1])


def corpus_and_encoder(folder: Path, pooling: str) -> tuple[Corpus, TextEncoder]:
    corpus = listed_corpus(random_rows(12), folder)
    torch.manual_seed(0)
    own = TextEncoder(text_config(pooling=pooling), corpus.readers.text["student"], (0, 1)).eval()
    return corpus, own


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_neighbours_and_padding_change_nothing(tmp_path: Path, pooling: str):
    corpus, own = corpus_and_encoder(tmp_path, pooling)
    whole = encoded(corpus, own, list(range(12)))
    for row, words in enumerate(corpus.words()):
        alone = encoded(corpus, own, [row])
        torch.testing.assert_close(alone.pooled[0], whole.pooled[row], rtol=0, atol=1e-5)
        for layer in (0, 1):
            one, other = alone.hidden[layer], whole.hidden[layer]
            torch.testing.assert_close(one.values[0, :words], other.values[row, :words], rtol=0, atol=1e-5)
            assert other.mask[row].sum() == words
            assert not other.values[row, words:].any()


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_layers_are_those_of_transformers(tmp_path: Path, pooling: str):
    corpus, own = corpus_and_encoder(tmp_path, pooling)
    tokens = everything(corpus).tokens["student"]
    found = encoded(corpus, own, list(range(12)))
    with torch.no_grad():
        states = own.model(tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True).hidden_states
    assert own.depth == len(states) - 1 == 2
    for layer in (0, 1):
        for row in range(12):
            for word in range(int(corpus.words()[row])):
                places = [s for s, w in enumerate(tokens.word[row].tolist()) if w == word]
                chosen = states[layer + 1][row, places if pooling == "mean" else places[:1]]
                torch.testing.assert_close(found.hidden[layer].values[row, word], chosen.mean(0), rtol=0, atol=1e-5)
    expected = torch.stack([states[-1][row][tokens.mask[row]].mean(0) for row in range(12)])
    torch.testing.assert_close(found.pooled, expected, rtol=0, atol=1e-5)


def test_a_word_that_was_cut_has_no_feature(tmp_path: Path):
    corpus = listed_corpus([Row("profit profit profit profit")], tmp_path, max_tokens=4)
    own = TextEncoder(text_config(max_tokens=4), corpus.readers.text["student"])
    hidden = encoded(corpus, own, [0]).hidden[1]
    assert hidden.mask.tolist() == [[True, True, False, False]]
    assert not hidden.values[0, 2:].any()


def test_only_the_layers_asked_for_and_the_last_are_given(tmp_path: Path):
    assert encoder(tmp_path, ()).layers == [1]
    assert encoder(tmp_path, (0,)).layers == [0, 1]


@pytest.mark.parametrize("layer", [-1, 2])
def test_a_layer_that_is_not_there_is_refused(tmp_path: Path, layer: int):
    with pytest.raises(ValueError, match="has the layers 0 to 1"):
        encoder(tmp_path, (layer,))


def test_texts_longer_than_the_model_reads_are_refused(tmp_path: Path):
    assert encoder(tmp_path, max_tokens=BERT["max_position_embeddings"])
    with pytest.raises(ValueError, match="max_tokens: found 65"):
        encoder(tmp_path, max_tokens=BERT["max_position_embeddings"] + 1)


def test_a_model_from_config_knows_the_tokenizers_padding(tmp_path: Path):
    own = reader([["profit"]], tmp_path)
    assert TextEncoder(text_config(), own).model.config.pad_token_id == own.tokenizer.pad_token_id != 0


SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 34}
ROWS = [Row("Acme shares fell sharply"), Row("profit rises"), Row("", 10)]


def save_bert(folder: Path) -> None:
    own = reader([row.text.split() for row in ROWS], folder)
    own.tokenizer.save_pretrained(folder)
    BertModel(BertConfig(vocab_size=own.vocabulary, hidden_size=16, pad_token_id=own.padding, **SIZES)).save_pretrained(
        folder
    )


def save_distilbert(folder: Path) -> None:
    own = reader([row.text.split() for row in ROWS], folder)
    own.tokenizer.save_pretrained(folder)
    sizes = {"max_position_embeddings": 34, "n_layers": 2, "n_heads": 2, "dim": 16, "hidden_dim": 32}
    config = DistilBertConfig(vocab_size=own.vocabulary, pad_token_id=own.padding, **sizes)
    DistilBertModel(config).save_pretrained(folder)


def save_roberta(folder: Path) -> None:
    special = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    bytes_of = Tokenizer(models.BPE(unk_token="<unk>"))
    bytes_of.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(special.values()), initial_alphabet=alphabet, show_progress=False
    )
    bytes_of.train_from_iterator([row.text for row in ROWS] * 3, trainer)
    folder.mkdir()
    bytes_of.save(str(folder / "bpe.json"))
    own = RobertaTokenizerFast(tokenizer_file=str(folder / "bpe.json"), sep_token="</s>", cls_token="<s>", **special)
    own.save_pretrained(folder)
    config = RobertaConfig(vocab_size=len(own), hidden_size=16, pad_token_id=own.pad_token_id, **SIZES)
    RobertaModel(config).save_pretrained(folder)


@pytest.mark.parametrize("save", [save_bert, save_distilbert, save_roberta])
def test_a_model_in_a_local_folder_reads_words(tmp_path: Path, save):
    folder = tmp_path / "model"
    torch.manual_seed(0)
    save(folder)
    config = Config(model=str(folder), max_tokens=24)
    own_reader = text_reader(config, [], tmp_path)
    split = data_split(Listed({"train": ROWS}), "train", tmp_path)
    corpus = Corpus([split], FORMS, Readers({"student": own_reader}, {}))
    own = TextEncoder(config, own_reader, (0,)).eval()
    found = encoded(corpus, own, [0, 1, 2])
    assert (own.depth, own.width, own.width_of(0)) == (2, 16, 16)
    assert found.hidden[0].values.shape == (3, 4, 16)
    assert found.hidden[1].mask.tolist() == [[True] * 4, [True, True, False, False], [False] * 4]
    assert found.pooled.isfinite().all()
    again = TextEncoder(config, own_reader).eval()
    assert torch.equal(encoded(corpus, again, [0, 1, 2]).pooled, found.pooled)  # weights come from the folder


def test_a_byte_level_tokenizer_reads_each_word_as_if_a_space_stood_before(tmp_path: Path):
    save_roberta(tmp_path / "model")
    own = text_reader(Config(model=str(tmp_path / "model"), max_tokens=24), [], tmp_path)
    ids, word = own.read(["Acme", "shares"])
    assert "".join(own.tokenizer.convert_ids_to_tokens(ids[1:-1])) == "ĠAcmeĠshares"
    assert (word[0], word[-1], sorted(set(word[1:-1]))) == (-1, -1, [0, 1])


def test_roberta_counts_its_positions_from_the_padding(tmp_path: Path):
    save_roberta(tmp_path / "model")
    for length, fits in ((32, True), (33, False)):
        config = Config(model=str(tmp_path / "model"), max_tokens=length)
        own = text_reader(config, [], tmp_path)
        if fits:
            TextEncoder(config, own)
        else:
            with pytest.raises(ValueError, match="max_tokens: found 33"):
                TextEncoder(config, own)
