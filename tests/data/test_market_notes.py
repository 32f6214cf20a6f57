"""market_notes: rows, knobs and charts, and its ceilings against routes that share no code with them."""

from __future__ import annotations

import hashlib
import io
import itertools
import pickle
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from ruamel.yaml import YAML
from scipy.stats import chi2_contingency, halfnorm, norm
from sklearn.metrics import cohen_kappa_score, f1_score

from mmkd.data import _market_ceiling as ceiling
from mmkd.data import _market_model as model
from mmkd.data import _market_words as words
from mmkd.data._market_chart import SPAN, draw_style, prices, render, volumes
from mmkd.data._market_text import NAMES, TAGS, Writer, cue_phrase, write_note
from mmkd.data.base import SPLITS, Example
from mmkd.data.market_notes import RISK, SENTIMENT, Config, Source

if TYPE_CHECKING:
    from mmkd.data.card import Card

CARD = Path(__file__).parents[2] / "data_cards" / "market_notes.md"
SMALL = Config(train=40, transfer=30, validation=20, test=20)
NO_CARD = cast("Card", None)


def rows(config: Config, split: str = "train") -> list[Example]:
    return list(Source(config, NO_CARD, None).read(split))


def content(example: Example) -> tuple[object, ...]:
    return example.id, example.words, example.image and example.image(), dict(example.labels)


def large(knobs: model.Knobs, seed: int = 3, count: int = 30_000) -> model.Rows:
    return model.draw(knobs, np.random.default_rng(seed), count)


# Rows


FINGERPRINT = """
import hashlib, sys
from mmkd.data.market_notes import Config, Source
digest = hashlib.sha256()
for split in ("train", "transfer"):
    for row in Source(Config(train=40, transfer=30, validation=20, test=20), None, None).read(split):
        digest.update(repr((row.id, row.words, row.image and row.image(), sorted(row.labels.items()))).encode())
assert "torch" not in sys.modules
print(digest.hexdigest())
"""


def test_the_same_rows_in_another_process_and_without_torch() -> None:
    digest = hashlib.sha256()
    for split in ("train", "transfer"):
        for row in rows(SMALL, split):
            digest.update(repr((row.id, row.words, row.image and row.image(), sorted(row.labels.items()))).encode())
    other = subprocess.run([sys.executable, "-c", FINGERPRINT], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest.hexdigest()


def test_two_sources_give_the_same_rows_and_another_seed_gives_others() -> None:
    first, second = ([content(row) for row in rows(SMALL)] for _ in range(2))
    other = [content(row) for row in rows(SMALL.model_copy(update={"seed": 1}))]
    assert first == second
    assert sum(mine[1:] == theirs[1:] for mine, theirs in zip(first, other, strict=True)) == 0


def test_a_row_does_not_change_with_the_sizes() -> None:
    grown = Config(train=60, transfer=1, validation=5, test=100)
    assert [content(row) for row in rows(grown)][:40] == [content(row) for row in rows(SMALL)]
    assert [content(row) for row in rows(grown, "test")][:20] == [content(row) for row in rows(SMALL, "test")]


def test_ids_count_from_zero_and_splits_differ() -> None:
    assert [row.id for row in rows(SMALL)][17] == "market_notes/train/000017"
    texts = [{row.words for row in rows(SMALL, split) if row.words} for split in SPLITS]
    assert not set.intersection(texts[0], *texts[1:])
    charts = [row.image and row.image() for split in SPLITS for row in rows(SMALL, split) if row.image]
    assert len(set(charts)) == len(charts)
    facts = [[(row.labels["sentiment"], row.labels["risk"]) for row in rows(SMALL, split)] for split in SPLITS[2:]]
    assert facts[0] != facts[1]
    assert [len(rows(SMALL, split)) for split in SPLITS] == [40, 30, 20, 20]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_labels_are_in_range_and_tags_are_valid_bio(split: str) -> None:
    for row in rows(Config(train=300, validation=100, test=100), split):
        assert 0 <= cast(int, row.labels["sentiment"]) < len(SENTIMENT)
        assert 0 <= cast(int, row.labels["risk"]) < len(RISK)
        assert ("ner" in row.labels) == bool(row.words)
        names = [TAGS[tag] for tag in cast("tuple[int, ...]", row.labels.get("ner", ()))]
        assert len(names) == len(row.words)
        for before, name in zip(["O", *names], names, strict=False):
            assert not name.startswith("I-") or before[2:] == name[2:]
        assert all(word and not re.search(r"\s", word) for word in row.words)


def test_transfer_rows_have_text_and_image_but_no_labels() -> None:
    transfer = rows(SMALL, "transfer")
    assert all(not row.labels for row in transfer)
    assert sum(bool(row.words) and row.image is not None for row in transfer) > 20
    assert Source(SMALL, NO_CARD, None).ceilings("transfer") is None


def test_a_split_without_rows_has_no_ceilings() -> None:
    assert Source(Config(test=0), NO_CARD, None).ceilings("test") is None


def test_missing_modalities_follow_their_knobs_and_never_both() -> None:
    always_one = rows(Config(train=300, text_missing=0.5, image_missing=0.5))
    assert all(bool(row.words) != (row.image is not None) for row in always_one)
    assert 110 < sum(not row.words for row in always_one) < 190
    assert all(row.words and row.image for row in rows(Config(train=300, text_missing=0.0, image_missing=0.0)))
    lost = large(Config(text_missing=0.1, image_missing=0.2))
    assert 1 - lost.has_text.mean() == pytest.approx(0.1, abs=0.01)
    assert 1 - lost.has_image.mean() == pytest.approx(0.2, abs=0.01)
    assert (lost.has_text | lost.has_image).all()


def test_unknown_split_is_refused() -> None:
    source = Source(SMALL, NO_CARD, None)
    with pytest.raises(ValueError, match="'dev'; expected one of train, transfer, validation, test"):
        next(source.read("dev"))
    with pytest.raises(ValueError, match="'dev'; expected one of train"):
        source.ceilings("dev")


def test_shares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"shared \+ chart_only: found 0.7 \+ 0.4 = 1.1; expected at most 1"):
        Config(shared=0.7, chart_only=0.4)
    assert Config(shared=0.7, chart_only=0.3).carrier_prior().tolist() == pytest.approx([0.0, 0.7, 0.3])


# The model's knobs, by counting


def test_knobs_are_the_shares_they_name() -> None:
    drawn = large(Config(shared=0.5, chart_only=0.1, volatility_in_text=0.25, label_noise=0.1))
    assert (drawn.cue == model.NO_CUE).mean() == pytest.approx(0.1, abs=0.01)
    assert (drawn.mention != model.NOT_MENTIONED).mean() == pytest.approx(0.25, abs=0.01)
    told = drawn.mention != model.NOT_MENTIONED
    assert (drawn.mention[told] == drawn.volatility[told]).all()
    by_chance = 0.32**2 + 0.36**2 + 0.32**2
    assert (drawn.trend == drawn.feeling).mean() == pytest.approx(0.6 + 0.4 * by_chance, abs=0.01)
    assert (drawn.sentiment != drawn.feeling).mean() == pytest.approx(0.1, abs=0.01)
    level = np.minimum(drawn.volatility + drawn.statement, 3)
    assert (drawn.risk != level).mean() == pytest.approx(0.1, abs=0.01)
    assert (np.abs(drawn.risk - level) <= 1).all()


def test_tables_of_chances_sum_to_one() -> None:
    noise = Config(label_noise=0.3)
    for table in (
        model.SENTIMENT_PRIOR,
        model.VOLATILITY_PRIOR,
        model.STATEMENT_PRIOR,
        model.CUE_GIVEN_SENTIMENT,
        model.sentiment_noise(noise),
        model.risk_noise(noise),
    ):
        np.testing.assert_allclose(table.sum(axis=-1), 1.0)
        assert (table >= 0).all()


def test_steps_have_the_spread_and_drift_of_their_row() -> None:
    drawn = large(Config(), count=6000)
    for trend, volatility in itertools.product(range(3), range(3)):
        steps = drawn.steps[(drawn.trend == trend) & (drawn.volatility == volatility)]
        sigma = (0.7, 1.4, 2.6)[volatility]
        spread = 5.0 * sigma / np.sqrt(steps[:, :, 1].size)
        assert steps[:, :, 1].mean() == pytest.approx((-0.9, 0.0, 0.9)[trend], abs=spread)
        assert steps[:, :, 1].std() == pytest.approx(sigma, rel=0.05)
        assert steps[:, 1:, 0].std() == pytest.approx(0.45 * sigma, rel=0.05)
        assert np.sqrt((steps[:, :, 2:] ** 2).mean()) == pytest.approx(0.6 * sigma, rel=0.05)
        assert steps[:, :, 2:].min() >= 0.0


# The text


def test_context_tells_what_a_name_a_code_or_a_number_is() -> None:
    """With names, codes and numbers blanked, a sentence seen twice has the same tags, unless it is a doubtful one."""
    names = {name for own in NAMES.values() for name in own}
    codes = {words.capitals(name) for name in names}
    seen: dict[tuple[str, ...], set[tuple[int, ...]]] = defaultdict(set)
    kinds: dict[str, set[str]] = defaultdict(set)
    for row in rows(Config(train=2500, ambiguous=0.3, text_missing=0.0)):
        blanked, tags = [], []
        for word, tag in zip(row.words, cast("tuple[int, ...]", row.labels["ner"]), strict=True):
            kind = "NAME" if word in names else "CODE" if word in codes else "NUMBER" if word.isdigit() else word
            kinds[kind].add(TAGS[tag])
            blanked.append(kind)
            tags.append(tag)
            if word == ".":
                seen[tuple(blanked)].add(tuple(tags))
                blanked, tags = [], []
    unclear = {" ".join(sentence) for sentence, found in seen.items() if len(found) > 1}
    doubtful = {frame.replace("<doubtful>", "NAME") + " ." for frame in words.DOUBTFUL}
    assert unclear == {frame[0].upper() + frame[1:] for frame in doubtful}
    assert kinds["NAME"] == {"O", "B-COMPANY", "I-COMPANY", "B-PERSON", "I-PERSON"}
    assert kinds["CODE"] == {"O", "B-TICKER"}
    assert kinds["NUMBER"] == {"O", "B-MONEY"}


# What a phrase means, decoded by lists of our own: a verb has a direction, figures and negation turn it.
UPWARD = set(re.findall(r"\w+", "beat topped top exceeded exceed raised raise lifted lift increased increase"))
DOWNWARD = set(re.findall(r"\w+", "missed miss trailed trail undershot undershoot cut lowered lower reduced reduce"))
BAD_FIGURES = {"loss", "costs", "writedowns"}
NEGATIONS = {"not", "failed", "unable"}
FAINT = {"small", "just", "slightly"}


def decode(phrase: str) -> int:
    said = set(phrase.split())
    if not said & (UPWARD | DOWNWARD):
        return 2
    bad = bool(BAD_FIGURES & said) ^ bool(NEGATIONS & said) ^ bool(DOWNWARD & said)
    strength = 1 if FAINT & said else 2
    return 2 + strength * (-1 if bad else 1)


@pytest.mark.parametrize("cue", range(5))
def test_a_cue_can_be_read_off_its_words(cue: int) -> None:
    generator = np.random.default_rng(cue)
    phrases = {cue_phrase(generator, cue) for _ in range(400)}
    assert {decode(phrase) for phrase in phrases} == {cue}
    assert cue == 2 or {True, False} == {bool(NEGATIONS & set(phrase.split())) for phrase in phrases}
    assert not phrases & set(words.NO_NEWS)


def test_these_words_stand_in_good_and_in_bad_cues() -> None:
    """Negation turns a verb, and a figure decides what up and down mean."""
    signs = defaultdict(set)
    generator = np.random.default_rng(0)
    for cue in (0, 4):
        for _ in range(600):
            for word in cue_phrase(generator, cue).split():
                signs[word].add(cue)
    for word in ("cut", "raised", "lowered", "beat", "outlook", "costs", "forecasts", "not"):
        assert signs[word] == {0, 4}, word


def test_risk_and_pace_frames_of_different_meaning_are_different() -> None:
    groups = [set(words.REASSURES), set(words.NO_RISK_NEWS), set(words.WARNS), *map(set, words.PACES)]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_every_split_but_train_has_names_of_its_own() -> None:
    listed = [name for own in NAMES.values() for name in own]
    assert len(listed) == len(set(listed))
    assert not any(NAMES["train", use] for use in words.USES)
    train = {word for row in rows(Config(train=1500)) for word in row.words}
    names = {name for (split, _), own in NAMES.items() if split == "test" for name in own}
    assert not train & names
    assert len({word for row in rows(Config(test=300), "test") for word in row.words} & names) > 30


def test_an_unknown_slot_is_named() -> None:
    with pytest.raises(ValueError, match="found the slot <firm>; expected one that"):
        Writer(np.random.default_rng(0), "train").sentence("<firm> is closed")


def test_a_name_stands_for_one_thing_in_a_note() -> None:
    names = {name for own in NAMES.values() for name in own}
    for row in rows(Config(train=600)):
        used = [word for word in row.words if word in names]
        assert len(set(used)) == len(used)


def test_notes_are_short() -> None:
    lengths = [len(row.words) for row in rows(Config(train=500, text_missing=0.0))]
    assert min(lengths) >= 10
    assert max(lengths) <= 80
    assert 25 <= np.median(lengths) <= 40


def test_doubtful_names_are_the_only_difference_between_tags_and_best_tags() -> None:
    generator = np.random.default_rng(0)
    notes = [write_note(generator, "test", 4, 1, 3, 0.3, 1.0) for _ in range(600)]
    read_as = Counter(
        (TAGS[tag], TAGS[best])
        for note in notes
        for tag, best in zip(note.tags, note.best_tags, strict=True)
        if tag != best
    )
    assert set(read_as) == {("B-PERSON", "B-COMPANY")}
    assert read_as.total() / 600 == pytest.approx(0.4, abs=0.07)
    clear = [write_note(generator, "test", 4, 1, 3, 0.3, 0.0) for _ in range(200)]
    assert all(note.tags == note.best_tags for note in clear)


# The chart


def pixels_of(steps: np.ndarray, seed: int = 0, side: int = 128) -> np.ndarray:
    return np.asarray(render(steps, np.random.default_rng(seed), side)).astype(int)


def candle_mask(steps: np.ndarray, seed: int, side: int) -> np.ndarray:
    """[side, side] pixels of candles: the style's two colours, above the volume panel."""
    style = draw_style(np.random.default_rng(seed))
    picture = pixels_of(steps, seed, side)
    mask = (picture == style.rising).all(axis=2) | (picture == style.falling).all(axis=2)
    mask[side - round(style.margin * side) - 1 - round(style.volume * side) :] = False
    return mask


def test_charts_open_at_each_side_and_come_out_the_same_after_pickling() -> None:
    for side in (64, 96, 128):
        row = next(row for row in rows(SMALL.model_copy(update={"pixels": side})) if row.image)
        assert row.image is not None
        data = row.image()
        picture = Image.open(io.BytesIO(data))
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (side, side))
        assert pickle.loads(pickle.dumps(row.image))() == data


@pytest.mark.parametrize("side", [64, 128])
def test_candles_stand_where_the_path_is(side: int) -> None:
    """Highs and lows, read off the column of each wick, lie on one straight scale with the path's prices."""
    drawn = large(Config(), count=40)
    slots = np.arange(model.BARS) + 0.5 + 0.5 * (np.arange(model.BARS) // 5)  # half a bar's room at each weekend
    for row, steps in enumerate(drawn.steps):
        _, _, high, low = prices(steps)
        mask = candle_mask(steps, row, side)
        edge = round(draw_style(np.random.default_rng(row)).margin * side) + 1
        columns = np.rint(edge + slots * (side - 1 - 2 * edge) / 21.5).astype(int)
        wicks = mask[:, columns]
        read = np.concatenate([wicks.argmax(axis=0), side - 1 - wicks[::-1].argmax(axis=0)])
        assert wicks.any(axis=0).all()
        scale = np.polyfit(np.concatenate([high, low]), read, 1)
        assert np.abs(np.polyval(scale, np.concatenate([high, low])) - read).max() < 1.5
        assert 0.6 * side < -scale[0] * max(SPAN, high.max() - low.min()) < 0.95 * side


def test_wild_charts_are_taller_than_calm_ones() -> None:
    """The price axis is the same for all charts: the same shape with twice the steps covers twice the height."""
    steps = large(Config(), count=1).steps[0]
    steps = steps * 15.0 / np.ptp([prices(steps)[2].max(), prices(steps)[3].min()])
    small, tall = (np.ptp(np.nonzero(candle_mask(scale * steps, 0, 256))[0]) for scale in (1.0, 2.0))
    assert tall / small == pytest.approx(2.0, abs=0.05)


def test_a_path_beyond_the_axis_still_fits() -> None:
    steps = np.zeros((model.BARS, 4))
    steps[:, 1] = 20.0
    rows_drawn = np.nonzero(candle_mask(steps, 0, 128))[0]
    assert rows_drawn.min() >= 1
    assert np.ptp(rows_drawn) > 60


def test_one_changed_gap_changes_the_picture_but_not_the_style() -> None:
    steps = large(Config(), count=1).steps[0]
    gapped = steps.copy()
    gapped[10, 0] += 6.0
    before, after = pixels_of(steps), pixels_of(gapped)
    assert (before != after).any()
    assert (before[0, -1] == after[0, -1]).all()
    assert draw_style(np.random.default_rng(0)) == draw_style(np.random.default_rng(0))


def test_colours_tell_nothing_of_the_trend_but_the_shape_does() -> None:
    drawn = large(Config(), seed=8, count=700)
    colour, slope = [], []
    for row, steps in enumerate(drawn.steps):
        picture = pixels_of(steps, row, 48)
        colour.append(picture.mean(axis=(0, 1)))
        heights, columns = np.nonzero(candle_mask(steps, row, 48))
        slope.append([np.polyfit(columns, heights, 1)[0], 0.0, 0.0])

    def probe(features: list) -> float:
        inputs = np.column_stack([np.array(features), np.ones(len(features))])
        fitted = np.linalg.lstsq(inputs[:400], np.eye(3)[drawn.trend[:400]], rcond=None)[0]
        return float(np.mean((inputs[400:] @ fitted).argmax(axis=1) == drawn.trend[400:]))

    assert probe(colour) < 0.45
    assert probe(slope) > 0.55


def test_backgrounds_are_independent_of_the_labels_but_the_ink_is_not() -> None:
    background, ink, risk, sentiment = [], [], [], []
    for row in rows(Config(train=1200, pixels=48, image_missing=0.0)):
        assert row.image is not None
        picture = np.asarray(Image.open(io.BytesIO(row.image()))).astype(int)
        background.append(tuple(picture[0, -1]))
        ink.append((np.abs(picture - picture[0, -1]).max(axis=2) > 60).sum())
        risk.append(cast(int, row.labels["risk"]))
        sentiment.append(cast(int, row.labels["sentiment"]))

    def chance(first: list, second: list) -> float:
        counted = Counter(zip(first, second, strict=True))
        return float(
            chi2_contingency([[counted[a, b] for b in sorted(set(second))] for a in sorted(set(first))]).pvalue
        )

    assert len(set(background)) == 4
    assert chance(background, risk) > 0.001
    assert chance(background, sentiment) > 0.001
    assert chance(list(np.array(ink) > np.median(ink)), risk) < 1e-6


def test_volume_does_not_tell_the_scale_of_the_moves() -> None:
    steps = large(Config(), count=1).steps[0]
    calm, wild = (volumes(scale * steps, np.random.default_rng(0)) for scale in (1.0, 3.0))
    np.testing.assert_allclose(calm, wild, rtol=1e-6)
    assert calm.max() == 1.0
    assert calm.std() > 0.05


# Ceilings: the posterior


def naive_posterior(knobs: Config, drawn: model.Rows, row: int, text: bool, image: bool) -> tuple[list, list]:
    """By loops over every hidden value, and densities of scipy."""
    sentiment, risk = np.zeros(3), np.zeros(4)
    text, image = text and bool(drawn.has_text[row]), image and bool(drawn.has_image[row])
    carriers = {"text": 1 - knobs.shared - knobs.chart_only, "both": knobs.shared, "chart": knobs.chart_only}
    for s, carrier, trend, v, u in itertools.product(range(3), carriers, range(3), range(3), range(3)):
        chance = model.SENTIMENT_PRIOR[s] * carriers[carrier] * model.VOLATILITY_PRIOR[v] * model.STATEMENT_PRIOR[u]
        chance *= model.SENTIMENT_PRIOR[trend] if carrier == "text" else float(trend == s)
        if text:
            cue, mention = drawn.cue[row], drawn.mention[row]
            if carrier == "chart":
                chance *= float(cue == 5)
            else:
                chance *= model.CUE_GIVEN_SENTIMENT[s, cue] if cue < 5 else 0.0
            told = float(mention == v) if mention < 3 else 0.0
            chance *= 1 - knobs.volatility_in_text if mention == 3 else knobs.volatility_in_text * told
            chance *= float(drawn.statement[row] == u)
        if image and chance:
            sigma, (gap, body, up, down) = model.SPREAD[v], drawn.steps[row].T
            density = norm.logpdf(body, model.DRIFT[trend], sigma).sum() + norm.logpdf(gap[1:], 0, 0.45 * sigma).sum()
            density += halfnorm.logpdf(up, 0, 0.6 * sigma).sum() + halfnorm.logpdf(down, 0, 0.6 * sigma).sum()
            chance *= np.exp(density + 60.0)
        for label in range(3):
            sentiment[label] += chance * (1 - knobs.label_noise if label == s else knobs.label_noise / 2)
        level = min(v + u, 3)
        near = [other for other in (level - 1, level + 1) if 0 <= other <= 3]
        risk[level] += chance * (1 - knobs.label_noise)
        for other in near:
            risk[other] += chance * knobs.label_noise / len(near)
    return list(sentiment / sentiment.sum()), list(risk / risk.sum())


@pytest.mark.parametrize("view", ["text", "image", "both"])
def test_posterior_equals_a_sum_by_loops(view: str) -> None:
    knobs = Config(shared=0.3, chart_only=0.25, text_missing=0.2, image_missing=0.2)
    drawn = large(knobs, count=25)
    text, image = view != "image", view != "text"
    sentiment, risk = ceiling.posterior(knobs, drawn, text, image)
    for row in range(25):
        expected = naive_posterior(knobs, drawn, row, text, image)
        np.testing.assert_allclose(sentiment[row], expected[0], atol=1e-9)
        np.testing.assert_allclose(risk[row], expected[1], atol=1e-9)


def test_text_posterior_equals_the_shares_counted_in_a_sample() -> None:
    knobs = Config(text_missing=0.0)
    drawn = large(knobs, count=60_000)
    sentiment, risk = ceiling.posterior(knobs, drawn, text=True, image=False)
    for cue in range(6):
        group = drawn.cue == cue
        shares = np.bincount(drawn.sentiment[group], minlength=3) / group.sum()
        np.testing.assert_allclose(sentiment[group][0], shares, atol=4.5 * 0.5 / np.sqrt(group.sum()))
    for mention, statement in itertools.product(range(4), range(3)):
        group = (drawn.mention == mention) & (drawn.statement == statement)
        shares = np.bincount(drawn.risk[group], minlength=4) / group.sum()
        np.testing.assert_allclose(risk[group][0], shares, atol=4.5 * 0.5 / np.sqrt(group.sum()))


@pytest.mark.parametrize("view", ["image", "both"])
def test_rows_given_a_chance_have_the_label_that_often(view: str) -> None:
    knobs = Config()
    drawn = large(knobs, count=40_000)
    sentiment, risk = ceiling.posterior(knobs, drawn, view == "both", image=True)
    for chances, labels in ((sentiment, drawn.sentiment), (risk, drawn.risk)):
        for label in range(chances.shape[1]):
            for part in np.array_split(np.argsort(chances[:, label]), 12):
                spread = 4.5 * 0.5 / np.sqrt(len(part))
                assert chances[part, label].mean() == pytest.approx((labels[part] == label).mean(), abs=spread)


# Ceilings: the decision rules and the metrics


def test_f1_rule_is_the_best_of_all_answers_to_the_cues() -> None:
    """Six cues and three labels: all 729 rules, scored by hand on exact chances."""
    knobs = Config(text_missing=0.0, shared=0.2, chart_only=0.4)
    drawn = large(knobs, count=4000)
    chances = ceiling.posterior(knobs, drawn, text=True, image=False)[0]
    answer = ceiling.f1_rule(chances)(chances)
    present = chances.sum(axis=0)
    per_cue = np.array([chances[drawn.cue == cue].sum(axis=0) for cue in range(6)])
    size = np.bincount(drawn.cue, minlength=6)

    def score(rule: tuple[int, ...]) -> float:
        hits, answered = np.zeros(3), np.zeros(3)
        for cue, label in enumerate(rule):
            hits[label] += per_cue[cue, label]
            answered[label] += size[cue]
        return float((2 * hits / (answered + present)).mean())

    best = max(score(rule) for rule in itertools.product(range(3), repeat=6))
    mine = tuple(int(answer[drawn.cue == cue][0]) for cue in range(6))
    assert score(mine) == pytest.approx(best, abs=1e-12)


def test_f1_rule_beats_the_most_likely_label_when_one_class_is_rare() -> None:
    generator = np.random.default_rng(0)
    chances = generator.dirichlet([4.0, 1.0, 0.3], 20_000)
    labels = (generator.random((20_000, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    tuned = f1_score(labels, ceiling.f1_rule(chances)(chances), average="macro")
    assert tuned > f1_score(labels, chances.argmax(axis=1), average="macro") + 0.01


def test_qwk_rule_is_the_best_of_all_cuts() -> None:
    """The text shows 12 kinds of rows; kappa's best answer rises with the mean level, so all cuts can be tried."""
    knobs = Config(text_missing=0.0)
    drawn = large(knobs, count=4000)
    chances = ceiling.posterior(knobs, drawn, text=True, image=False)[1]
    order = np.argsort(chances @ np.arange(4), kind="stable")
    kinds, kind_of = np.unique(np.round(chances @ np.arange(4), 9), return_inverse=True)
    square = (np.arange(4)[:, None] - np.arange(4)) ** 2

    def score(answer: np.ndarray) -> float:
        observed = (chances * square[answer]).sum() / len(answer)
        expected = np.bincount(answer, minlength=4) / len(answer) @ square @ chances.mean(axis=0)
        return float(1 - observed / expected)

    cuts = itertools.combinations_with_replacement(range(len(kinds) + 1), 3)
    best = max(score(np.searchsorted(cut, kind_of, side="right")) for cut in cuts if cut != (0, 0, 0))
    answer = ceiling.qwk_rule(chances)(chances)
    assert score(answer) == pytest.approx(best, abs=1e-9)
    assert score(chances.argmax(axis=1)) < best - 0.02
    assert (np.diff(answer[order]) >= 0).all()


def test_qwk_rule_moves_away_from_the_middle_when_little_is_known() -> None:
    """With weak evidence the plain rounded mean answers the middle too often; cuts on a grid show the best there is."""
    chances = np.random.default_rng(0).dirichlet([2.0, 2.0, 2.0, 2.0], 3000)
    mean, square = chances @ np.arange(4), (np.arange(4)[:, None] - np.arange(4)) ** 2

    def score(answer: np.ndarray) -> float:
        observed = (chances * square[answer]).sum() / len(answer)
        return float(1 - observed / (np.bincount(answer, minlength=4) / len(answer) @ square @ chances.mean(axis=0)))

    grid = np.linspace(0.7, 2.3, 17)
    best = max(score(np.searchsorted(cut, mean)) for cut in itertools.combinations(grid, 3))
    mine = score(ceiling.qwk_rule(chances)(chances))
    assert mine >= best
    assert mine == pytest.approx(best, abs=0.01)
    assert mine > score(np.rint(mean).astype(int)) + 0.01


def test_qwk_rule_stands_where_all_rows_are_of_one_level() -> None:
    certain = np.eye(4)[[2, 2, 2]]
    assert ceiling.qwk_rule(certain)(certain).tolist() == [2, 2, 2]


def test_metrics_equal_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        truth, answer = generator.integers(0, 4, (2, 50))
        assert ceiling.macro_f1(truth, answer, 4) == pytest.approx(f1_score(truth, answer, average="macro"))
        assert ceiling.qwk(truth, answer, 4) == pytest.approx(cohen_kappa_score(truth, answer, weights="quadratic"))
    same = np.full(5, 2)
    assert ceiling.qwk(same, same, 4) == 0.0
    assert ceiling.macro_f1(same, same, 4) == 0.25


def test_entity_f1_by_hand() -> None:
    index = TAGS.index
    truth = [(index("B-COMPANY"), index("I-COMPANY"), 0, index("B-DATE"), index("B-DATE")), (0, index("B-PERSON"))]
    cut = [(index("B-COMPANY"), 0, 0, index("B-DATE"), index("B-DATE")), (0, index("B-COMPANY"))]
    assert ceiling.entity_f1(truth, truth) == 1.0
    assert ceiling.entity_f1(truth, cut) == pytest.approx(2 * 2 / (4 + 4))
    assert ceiling.entity_f1(truth, [(0,) * 5, (0, 0)]) == 0.0
    assert ceiling.entity_f1([(0,)], [(0,)]) == 0.0


# Ceilings: their order, their extremes, their shape


def scores(**knobs: float) -> ceiling.Scores:
    settings = Config(text_missing=0.0, image_missing=0.0).model_copy(update=knobs)
    return ceiling.label_ceilings(settings, large(settings, 5, 8000), large(settings, 6, 8000))


def test_both_know_more_than_either_alone() -> None:
    for metrics in scores().values():
        for by_view in metrics.values():
            assert by_view["both"] > max(by_view["text"], by_view["image"]) + 0.05


def test_with_nothing_in_the_chart_the_text_knows_all_of_the_sentiment() -> None:
    by_view = scores(shared=0.0, chart_only=0.0)["sentiment"]
    assert by_view["accuracy"]["text"] == by_view["accuracy"]["both"]
    assert by_view["macro_f1"]["text"] == by_view["macro_f1"]["both"]
    assert by_view["accuracy"]["image"] == pytest.approx(0.36, abs=0.025)


def test_with_nothing_in_the_text_the_chart_knows_all_of_the_sentiment() -> None:
    by_view = scores(shared=0.0, chart_only=1.0, volatility_in_text=0.0)["sentiment"]
    assert by_view["accuracy"]["image"] == by_view["accuracy"]["both"]
    assert by_view["accuracy"]["text"] == pytest.approx(0.36, abs=0.025)


def test_sharing_moves_knowledge_into_the_chart() -> None:
    apart, shared = (scores(shared=share, chart_only=0.1)["sentiment"]["accuracy"] for share in (0.1, 0.8))
    assert shared["image"] > apart["image"] + 0.2
    assert shared["text"] == pytest.approx(apart["text"], abs=0.03)


def test_with_volatility_told_the_text_knows_all_of_the_risk() -> None:
    by_view = scores(volatility_in_text=1.0, label_noise=0.0)["risk"]
    assert by_view["accuracy"]["text"] == by_view["accuracy"]["both"] == 1.0
    assert by_view["qwk"]["both"] == pytest.approx(1.0)


def test_label_noise_lowers_the_ceiling_by_its_share() -> None:
    clean, noisy = (scores(label_noise=noise)["risk"]["accuracy"]["both"] for noise in (0.0, 0.2))
    assert clean - noisy == pytest.approx(0.2, abs=0.02)


def test_source_gives_every_key_for_each_labelled_split() -> None:
    source = Source(Config(train=150, ambiguous=0.5), NO_CARD, None)
    found = source.ceilings("train")
    assert found is not None
    assert {task: set(metrics) for task, metrics in found.items()} == {
        "sentiment": {"macro_f1", "accuracy"},
        "risk": {"qwk", "accuracy"},
        "ner": {"entity_f1"},
    }
    for task in ("sentiment", "risk"):
        assert all(set(by_view) == {"text", "image", "both"} for by_view in found[task].values())
    by_view = found["ner"]["entity_f1"]
    assert set(by_view) == {"text", "both"}
    assert 0.8 < by_view["text"] == by_view["both"] < 1.0
    assert found == source.ceilings("train")


def test_ner_ceiling_is_one_without_doubtful_names_and_counts_them_otherwise() -> None:
    clear = Source(Config(train=100, ambiguous=0.0), NO_CARD, None).ceilings("train")
    assert clear is not None
    assert clear["ner"]["entity_f1"] == {"text": 1.0, "both": 1.0}
    config = Config(train=800, ambiguous=1.0, text_missing=0.0)
    starts = [
        [tag for tag in cast("tuple[int, ...]", row.labels["ner"]) if TAGS[tag].startswith("B-")]
        for row in rows(config)
    ]
    doubtful = Source(config, NO_CARD, None).ceilings("train")
    assert doubtful is not None
    lost = 0.4 * len(starts) / sum(map(len, starts))
    assert doubtful["ner"]["entity_f1"]["text"] == pytest.approx(1.0 - lost, abs=0.015)


def test_the_ceiling_of_a_split_is_that_of_its_rows() -> None:
    """Accuracy from the text alone, counted from published labels with the counted majority of each kind of row."""
    config = Config(train=3000, text_missing=0.0)
    drawn = [model.draw(config, np.random.default_rng([0, 0, 0, row]), 1) for row in range(3000)]
    labels = [cast(int, row.labels["sentiment"]) for row in rows(config)]
    assert labels == [int(row.sentiment[0]) for row in drawn]
    by_cue: dict[int, Counter[int]] = defaultdict(Counter)
    for row, label in zip(drawn, labels, strict=True):
        by_cue[int(row.cue[0])][label] += 1
    counted = sum(count.most_common(1)[0][1] for count in by_cue.values()) / 3000
    found = Source(config, NO_CARD, None).ceilings("train")
    assert found is not None
    assert found["sentiment"]["accuracy"]["text"] == pytest.approx(counted, abs=0.004)


# The card


def test_the_card_says_what_the_source_does() -> None:
    front = CARD.read_text(encoding="utf-8").split("---\n")[1]
    card = YAML(typ="safe").load(front)
    block = card["mmkd"]
    assert block["version"] == 1
    assert block["source"] == {"kind": "market_notes"}
    assert block["modalities"] == ["text", "image"]
    assert block["tasks"] == {
        "sentiment": {"kind": "classify", "labels": list(SENTIMENT), "metric": "macro_f1"},
        "ner": {"kind": "tag", "labels": list(TAGS), "scheme": "BIO", "metric": "entity_f1"},
        "risk": {"kind": "ordinal", "labels": list(RISK), "metric": "qwk"},
    }
    assert block["splits"] == {split: Config().rows(split) for split in SPLITS}
    assert block["pii"] == {"present": False}
    assert {part["name"]: part["num_examples"] for part in card["dataset_info"]["splits"]} == block["splits"]


def test_the_card_names_every_knob_with_its_default() -> None:
    text = CARD.read_text(encoding="utf-8")
    for name, field in Config.model_fields.items():
        if name not in ("kind", *SPLITS):
            assert f"| `{name}` | {field.default} |" in text
    for sentiment, chances in zip(SENTIMENT, model.CUE_GIVEN_SENTIMENT, strict=True):
        assert f"| {sentiment} | " + " | ".join(f"{chance:.2f}" for chance in chances) + " |" in text
