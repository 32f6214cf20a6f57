"""Adversarial training: how far an input may be moved to where the objective is worst. No torch here."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mmkd.config.section import PositiveFloat, PositiveInt, Section


class Adversarial(Section):
    """Learn from each batch twice: as it is, and moved to where the same objective is larger.

    With one step of the whole way it is the fast gradient method: Miyato's on words (1605.07725), Goodfellow's on
    pixels (1412.6572). With more and shorter steps it is projected gradient descent (Madry, 1706.06083).

    text: how far the embeddings of a text's sub-tokens may be moved, all together in L2; null: not at all.
    image: how far each value of a pixel may be moved, where 1 is from black to white; null: not at all.
    steps: each takes one more pass of the student, forward and back. step_size: of one step, in shares of the way.
    """

    text: PositiveFloat | None = None
    image: Annotated[float, Field(gt=0, le=1)] | None = None
    steps: PositiveInt = 1
    step_size: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if self.text is None and self.image is None:
            raise ValueError("expected `text`, `image` or both: how far each may be moved")
        return self
