"""What an encoder is made from: shared by teachers and the student. No torch here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from mmkd.config.section import PositiveInt, Section

Channels = Annotated[tuple[float, float, float], Strict(False)]


class TextEncoder(Section):
    """A transformers encoder: a pretrained one (`model`) or one built from config (`architecture`).

    model: hub name or local folder (in the working folder or below MMKD_DATA; `package:name/path` for one that an
        installed package carries), with its own tokenizer.
    architecture: keys of the transformers config, `model_type` among them; weights start random, and a WordPiece
        tokenizer of `vocabulary` entries is trained on the words of the training rows.
    max_tokens: longer texts are cut; their cut words count as O in the metric and are no distillation rows.
    pooling: how sub-tokens become words.
    """

    model: str | None = None
    architecture: dict[str, Any] | None = None
    vocabulary: PositiveInt | None = None
    max_tokens: Annotated[int, Field(ge=3)] = 128
    pooling: Literal["first", "mean"] = "first"

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.model is None) == (self.architecture is None):
            raise ValueError("expected exactly one of `model` and `architecture`")
        if (self.architecture is None) != (self.vocabulary is None):
            raise ValueError("`vocabulary` goes with `architecture`, and `architecture` with `vocabulary`")
        if self.architecture is not None and not isinstance(self.architecture.get("model_type"), str):
            raise ValueError("`architecture` needs `model_type`, for example bert")
        return self


class ImageEncoder(Section):
    """A timm model.

    model: timm name, for instance `vit_base_patch16_224.augreg2_in21k_ft_in1k`.
    pretrained: fetch timm's weights of that name; `weights`: a local safetensors file of the whole model instead,
        found as a text encoder's `model` is.
    size: height and width in pixels that images are resized to.
    mean, std: per-channel normalisation of pixels in 0..1; default: what the named model was trained with.
    frozen_batch_norm: batch norms keep their stored statistics while the model trains.
    options: further keyword arguments of `timm.create_model`.
    """

    model: str
    pretrained: bool = False
    weights: str | None = None
    size: Annotated[int, Field(ge=8)] = 224
    mean: Channels | None = None
    std: Channels | None = None
    frozen_batch_norm: bool = False
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.pretrained and self.weights is not None:
            raise ValueError("expected at most one of `pretrained: true` and `weights`")
        return self
