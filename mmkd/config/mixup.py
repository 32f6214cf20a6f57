"""Mixup: examples that lie between two of a batch, with the targets of both. No torch here."""

from typing import Literal

from mmkd.config.section import PositiveFloat, Section


class Mixup(Section):
    """The tasks over examples learn from mixtures: a share s of one example and 1 - s of another of the same batch.

    The head's objective is s times that with the one's targets plus 1 - s times that with the other's, labels and
    teachers' words alike. Words, and all that learns from hidden layers or pooled features, keep the batch as it is.

    of: `features` mixes the fused features (manifold mixup, 1806.05236), of all examples; `pixels` the images (mixup,
        1710.09412), `patches` puts a rectangle of one into the other (CutMix, 1905.04899), both of examples that have
        an image and no text, since nothing else of an example could be said to be mixed with it.
    alpha: s is drawn from Beta(alpha, alpha), once for each batch; small values leave most examples nearly whole.
    """

    of: Literal["features", "pixels", "patches"] = "features"
    alpha: PositiveFloat = 1.0
