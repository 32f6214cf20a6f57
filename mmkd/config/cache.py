"""How teachers' features are made narrower before they are stored. No torch here."""

from typing import Annotated, Literal

from pydantic import Field

from mmkd.config.section import PositiveInt, Section


class Features(Section):
    """A fixed linear projection of a teacher's pooled and hidden features; narrower features stay as they are.

    kind: `pca` takes the directions that hold most of the squared length of the features of the first training rows,
        without centring, so that inner products and cosines are kept as well as `width` allows; `random` takes random
        directions, scaled so that squared lengths are kept in the mean (Johnson and Lindenstrauss).
    width: of what is stored. seed: of the random directions.
    """

    kind: Literal["random", "pca"] = "pca"
    width: PositiveInt
    seed: Annotated[int, Field(ge=0)] = 0
