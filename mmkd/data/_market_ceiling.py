"""The best score that the text, the chart or both of `market_notes` allow, from the model's exact posterior.

Accuracy is maximised by the most likely label. Macro-F1 and quadratic weighted kappa are ratios of sums over all
rows; at their maximum each row takes the label with the largest gain to the ratio, which gives the two rules below
(the fractional programming of Dinkelbach 1967, Management Science 13). Both are fitted on other rows of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmkd.data._market_model import (
    CHART_CARRIES,
    CUE_GIVEN_SENTIMENT,
    NO_CUE,
    NOT_MENTIONED,
    RISK_LEVEL,
    SENTIMENT_PRIOR,
    STATEMENT_PRIOR,
    TEXT_CARRIES,
    VOLATILITY_PRIOR,
    Floats,
    Ints,
    Knobs,
    Rows,
    log_likelihood,
    risk_noise,
    sentiment_noise,
)
from mmkd.data._market_text import TAGS

VIEWS = {"text": (True, False), "image": (False, True), "both": (True, True)}
"""What a reader is given: (the text, the image), where the row has them."""

TUNING_ROWS = 20_000
_ROUNDS = 30

Scores = dict[str, dict[str, dict[str, float]]]
Rule = Callable[[Floats], Ints]


def label_ceilings(knobs: Knobs, rows: Rows, tuning: Rows) -> Scores:
    """Task -> metric -> view -> score on `rows`, for sentiment and risk; `tuning` rows fit the decision rules."""
    scores: Scores = {"sentiment": {"macro_f1": {}, "accuracy": {}}, "risk": {"qwk": {}, "accuracy": {}}}
    for view, (text, image) in VIEWS.items():
        sentiment, risk = posterior(knobs, rows, text, image)
        tune_sentiment, tune_risk = posterior(knobs, tuning, text, image)
        by_f1, by_qwk = f1_rule(tune_sentiment), qwk_rule(tune_risk)
        scores["sentiment"]["macro_f1"][view] = macro_f1(rows.sentiment, by_f1(sentiment), 3)
        scores["sentiment"]["accuracy"][view] = float(np.mean(rows.sentiment == sentiment.argmax(axis=1)))
        scores["risk"]["qwk"][view] = qwk(rows.risk, by_qwk(risk), 4)
        scores["risk"]["accuracy"][view] = float(np.mean(rows.risk == risk.argmax(axis=1)))
    return scores


def posterior(knobs: Knobs, rows: Rows, text: bool, image: bool) -> tuple[Floats, Floats]:
    """P(sentiment label) [n, 3] and P(risk label) [n, 4] given the text and the chart, where a row has them.

    Sums the joint chance of (sentiment, carrier, trend, volatility) over all that is hidden; the axes below are
    named by s, c, t, v.
    """
    count = len(rows.cue)
    reads = rows.has_text & text
    looks = rows.has_image & image
    cue_sc = np.where(reads[:, None, None], _cue_chances()[:, :, rows.cue].transpose(2, 0, 1), 1.0)
    mention_v = np.where(reads[:, None], _mention_chances(knobs)[:, rows.mention].T, 1.0)
    seen = log_likelihood(rows.steps)
    path_tv = np.where(looks[:, None, None], np.exp(seen - seen.max(axis=(1, 2), keepdims=True)), 1.0)
    said_st = np.einsum("s,c,nsc,sct->nst", SENTIMENT_PRIOR, knobs.carrier_prior(), cue_sc, _trend_chances())
    drawn_tv = path_tv * (VOLATILITY_PRIOR * mention_v)[:, None, :]
    s, v = np.einsum("nst,ntv->ns", said_st, drawn_tv), np.einsum("nst,ntv->nv", said_st, drawn_tv)
    u = np.where(reads[:, None], np.eye(3)[rows.statement], STATEMENT_PRIOR)
    s, v = s / s.sum(axis=1, keepdims=True), v / v.sum(axis=1, keepdims=True)
    levels = np.zeros((count, 4))
    for volatility in range(3):
        for statement in range(3):
            levels[:, RISK_LEVEL[volatility, statement]] += v[:, volatility] * u[:, statement]
    return s @ sentiment_noise(knobs), levels @ risk_noise(knobs)


def f1_rule(chances: Floats) -> Rule:
    """The rule that maximises the expected macro-F1 over rows with these label chances [n, K].

    F_k = 2 hits_k / (answered_k + present_k), so answering k on one more row gains (2 p_k - F_k) / (answered_k +
    present_k). Starts from the most likely label and keeps the best of the rules met on the way.
    """
    present = chances.sum(axis=0)
    offset, scale = np.zeros(chances.shape[1]), np.ones(chances.shape[1])
    best, kept = -1.0, (offset, scale)
    for _ in range(_ROUNDS):
        answered = np.eye(len(present))[((2.0 * chances - offset) / scale).argmax(axis=1)]
        size = answered.sum(axis=0) + present
        f1 = 2.0 * (answered * chances).sum(axis=0) / size
        if f1.mean() > best:
            best, kept = float(f1.mean()), (offset, scale)
        offset, scale = f1, size
    return lambda given: ((2.0 * given - kept[0]) / kept[1]).argmax(axis=1)


def qwk_rule(chances: Floats) -> Rule:
    """The rule that maximises the expected quadratic weighted kappa over rows with these label chances [n, K].

    kappa = 1 - observed / expected, with both sums of squared distances. At the best ratio r = observed / expected
    each row answers the level that makes (its own squared distance) - r (the distance to a random label) least.
    """
    levels = np.arange(chances.shape[1])
    square = (levels[:, None] - levels) ** 2.0
    at_random = chances.mean(axis=0) @ square

    def answer(given: Floats, ratio: float) -> Ints:
        return (given @ square - ratio * at_random).argmin(axis=1)

    ratio = 0.0
    for _ in range(_ROUNDS):
        chosen = answer(chances, ratio)
        expected = at_random[chosen].mean()
        ratio = float((chances @ square)[np.arange(len(chosen)), chosen].mean() / expected) if expected else 0.0
    return lambda given: answer(given, ratio)


def macro_f1(truth: Ints, answer: Ints, classes: int) -> float:
    """Mean over classes of 2 hits / (answered + present); a class that is neither answered nor present counts 0."""
    hits = np.bincount(truth[truth == answer], minlength=classes)
    size = np.bincount(truth, minlength=classes) + np.bincount(answer, minlength=classes)
    return float(np.mean(2.0 * hits / np.maximum(size, 1)))


def qwk(truth: Ints, answer: Ints, levels: int) -> float:
    """1 - mean squared distance / the same with answers and labels paired at random; 0 where all are one level."""
    square = (np.arange(levels)[:, None] - np.arange(levels)) ** 2.0
    share_truth = np.bincount(truth, minlength=levels) / len(truth)
    share_answer = np.bincount(answer, minlength=levels) / len(answer)
    expected = share_truth @ square @ share_answer
    return float(1.0 - np.mean((truth - answer) ** 2.0) / expected) if expected else 0.0


def entity_f1(truth: Sequence[Sequence[int]], answer: Sequence[Sequence[int]]) -> float:
    """F1 of entities with exact bounds and type, over all rows; tags are valid BIO, as the writer makes them."""
    right, present, answered = 0, 0, 0
    for row, (wanted, given) in enumerate(zip(truth, answer, strict=True)):
        gold, guess = _spans(row, wanted), _spans(row, given)
        right, present, answered = right + len(gold & guess), present + len(gold), answered + len(guess)
    return 2.0 * right / (present + answered) if present + answered else 0.0


def _spans(row: int, tags: Sequence[int]) -> set[tuple[int, int, int, str]]:
    names = [TAGS[tag] for tag in tags]
    starts = [at for at, name in enumerate(names) if name.startswith("B-")]
    found = set()
    for start in starts:
        end = start + 1
        while end < len(names) and names[end] == f"I-{names[start][2:]}":
            end += 1
        found.add((row, start, end, names[start][2:]))
    return found


def _cue_chances() -> Floats:
    """[sentiment, carrier, cue] with NO_CUE as the last cue."""
    chances = np.zeros((3, 3, NO_CUE + 1))
    chances[:, :, :NO_CUE] = CUE_GIVEN_SENTIMENT[:, None, :]
    chances[:, CHART_CARRIES] = np.eye(NO_CUE + 1)[NO_CUE]
    return chances


def _trend_chances() -> Floats:
    """[sentiment, carrier, trend]: the sentiment's own trend, or any where the text alone carries it."""
    chances = np.repeat(np.eye(3)[:, None, :], 3, axis=1)
    chances[:, TEXT_CARRIES] = SENTIMENT_PRIOR
    return chances


def _mention_chances(knobs: Knobs) -> Floats:
    """[volatility, mention] with NOT_MENTIONED as the last."""
    chances = np.zeros((3, NOT_MENTIONED + 1))
    chances[:, :NOT_MENTIONED] = knobs.volatility_in_text * np.eye(3)
    chances[:, NOT_MENTIONED] = 1.0 - knobs.volatility_in_text
    return chances
