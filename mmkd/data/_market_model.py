"""The probability model behind `market_notes`: what is drawn, and with which chances. Our own, numpy only.

    sentiment s, carrier c            c: who carries s: the text, both, or the chart alone
    cue       | s, c                  what the note says of the company: five strengths, or nothing
    trend     | s, c                  the chart's drift: down, flat, up
    volatility v, statement u         how wild the chart is; whether the note reassures or warns
    mention   | v                     at times the note also says how wild trading was
    path      | trend, v              Gaussian steps: every candle of the chart
    labels    | s, v, u               sentiment from s, risk from v + u, both with a little noise

The note is written from (cue, statement, mention) alone and the chart is drawn from the path alone, so these
three and the path are all that anyone can know about the labels of sentiment and risk.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mmkd.config.section import Section

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

SENTIMENT_PRIOR = np.array([0.32, 0.36, 0.32])
"""Negative, neutral, positive."""

CUE_GIVEN_SENTIMENT = np.array(
    [
        [0.78, 0.16, 0.04, 0.01, 0.01],
        [0.02, 0.09, 0.78, 0.09, 0.02],
        [0.01, 0.01, 0.04, 0.16, 0.78],
    ]
)
"""Rows: sentiment. Columns: clearly bad, faintly bad, flat, faintly good, clearly good."""

NO_CUE = 5
TEXT_CARRIES, BOTH_CARRY, CHART_CARRIES = range(3)

VOLATILITY_PRIOR = np.array([0.40, 0.30, 0.30])
"""Calm, usual, wild."""

STATEMENT_PRIOR = np.array([0.40, 0.30, 0.30])
"""The note reassures, says nothing that matters, warns."""

NOT_MENTIONED = 3

RISK_LEVEL = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 3]])
"""Level by volatility (row) and statement (column): their sum, at most 3."""

BARS = 20
DRIFT = np.array([-0.9, 0.0, 0.9])
"""Mean move of a candle's body, percent of price per bar, for a trend down, flat, up."""

SPREAD = np.array([0.7, 1.4, 2.6])
"""Standard deviation of a candle's body, percent of price, for calm, usual, wild."""

GAP, WICK = 0.45, 0.60
"""Standard deviations of the opening gap and of the (half-normal) wicks, as shares of SPREAD."""


class Knobs(Section):
    """What an experiment may change of the model. All are shares of rows, 0 to 1."""

    shared: Share = 0.35
    """Rows in which text and chart both carry the sentiment."""
    chart_only: Share = 0.20
    """Rows in which only the chart does; in the rest (1 - shared - chart_only) only the text does."""
    volatility_in_text: Share = 0.30
    """Rows whose text also says how wild trading was, which the chart shows anyway."""
    label_noise: Annotated[float, Field(ge=0.0, le=0.5)] = 0.04
    """Sentiment labels replaced by one of the other two, and risk labels moved to a neighbouring level."""
    distractor: Share = 0.30
    """Rows whose text also reports on a rival, good or bad at random."""
    ambiguous: Share = 0.10
    """Rows with a name that may be a person or a company, and nothing in the note tells which."""
    text_missing: Annotated[float, Field(ge=0.0, le=0.5)] = 0.03
    """Rows without text; they have no label for ner."""
    image_missing: Annotated[float, Field(ge=0.0, le=0.5)] = 0.03
    """Rows without image; no row lacks both."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.shared + self.chart_only > 1.0 + 1e-9:
            raise ValueError(
                f"shared + chart_only: found {self.shared} + {self.chart_only} = {self.shared + self.chart_only:g}; "
                "expected at most 1, since both are shares of the same rows; lower one of them"
            )
        return self

    def carrier_prior(self) -> Floats:
        """[3] chances that the text alone, both, or the chart alone carries the sentiment."""
        return np.array([max(0.0, 1.0 - self.shared - self.chart_only), self.shared, self.chart_only])


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows as drawn. Everything but `steps` [n, BARS, 4] has shape [n].

    Hidden: feeling, carrier, trend, volatility. Seen in the text, when `has_text`: cue, statement, mention.
    Seen in the chart, when `has_image`: steps, per bar (opening gap, body, upper wick, lower wick) in percent of
    price; the first gap is 0. Labels: sentiment, risk.
    """

    feeling: Ints
    carrier: Ints
    trend: Ints
    volatility: Ints
    cue: Ints
    statement: Ints
    mention: Ints
    steps: Floats
    has_text: NDArray[np.bool_]
    has_image: NDArray[np.bool_]
    sentiment: Ints
    risk: Ints


def draw(knobs: Knobs, generator: np.random.Generator, count: int) -> Rows:
    """Draw `count` independent rows of the model."""
    feeling = generator.choice(3, count, p=SENTIMENT_PRIOR)
    carrier = generator.choice(3, count, p=knobs.carrier_prior())
    said = _choose(generator, CUE_GIVEN_SENTIMENT[feeling])
    cue = np.where(carrier == CHART_CARRIES, NO_CUE, said)
    trend = np.where(carrier == TEXT_CARRIES, generator.choice(3, count, p=SENTIMENT_PRIOR), feeling)
    volatility = generator.choice(3, count, p=VOLATILITY_PRIOR)
    statement = generator.choice(3, count, p=STATEMENT_PRIOR)
    mention = np.where(generator.random(count) < knobs.volatility_in_text, volatility, NOT_MENTIONED)
    lost = generator.random(count)
    return Rows(
        feeling=feeling,
        carrier=carrier,
        trend=trend,
        volatility=volatility,
        cue=cue,
        statement=statement,
        mention=mention,
        steps=_steps(generator, trend, volatility),
        has_text=lost >= knobs.text_missing,
        has_image=(lost < knobs.text_missing) | (lost >= knobs.text_missing + knobs.image_missing),
        sentiment=_choose(generator, sentiment_noise(knobs)[feeling]),
        risk=_choose(generator, risk_noise(knobs)[RISK_LEVEL[volatility, statement]]),
    )


def stack(rows: list[Rows]) -> Rows:
    """One Rows out of several, in order."""
    return Rows(**{field.name: np.concatenate([getattr(part, field.name) for part in rows]) for field in fields(Rows)})


def sentiment_noise(knobs: Knobs) -> Floats:
    """[3, 3] chance of a label (column) given the sentiment (row)."""
    return (1.0 - 1.5 * knobs.label_noise) * np.eye(3) + 0.5 * knobs.label_noise


def risk_noise(knobs: Knobs) -> Floats:
    """[4, 4] chance of a label (column) given the risk level (row): the noise goes to the neighbours in equal parts."""
    near = np.eye(4, k=1) + np.eye(4, k=-1)
    return (1.0 - knobs.label_noise) * np.eye(4) + knobs.label_noise * near / near.sum(axis=1, keepdims=True)


def log_likelihood(steps: Floats) -> Floats:
    """[n, 3, 3] log density of each path by trend and volatility, up to a constant of the row. steps: [n, BARS, 4]."""
    gap, body, upper, lower = np.moveaxis(steps, 2, 0)
    away = ((body[:, :, None] - DRIFT) ** 2).sum(axis=1)[:, :, None]
    free = ((gap[:, 1:] / GAP) ** 2).sum(axis=1) + ((upper / WICK) ** 2 + (lower / WICK) ** 2).sum(axis=1)
    measured = 4 * BARS - 1
    return -(away + free[:, None, None]) / (2.0 * SPREAD**2) - measured * np.log(SPREAD)


def _steps(generator: np.random.Generator, trend: Ints, volatility: Ints) -> Floats:
    normal = generator.standard_normal((trend.size, BARS, 4)) * np.array([GAP, 1.0, WICK, WICK])
    steps = normal * SPREAD[volatility][:, None, None]
    steps[:, :, 1] += DRIFT[trend][:, None]
    steps[:, :, 2:] = np.abs(steps[:, :, 2:])
    steps[:, 0, 0] = 0.0
    return steps


def _choose(generator: np.random.Generator, chances: Floats) -> Ints:
    """[n] one column for each row of chances [n, K]."""
    reached = generator.random((len(chances), 1)) >= np.cumsum(chances, axis=1)
    return np.minimum(reached.sum(axis=1), chances.shape[1] - 1)
