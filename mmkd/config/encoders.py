"""What an encoder is made from: shared by teachers and the student. No torch here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, field_validator, model_validator

from mmkd.config.section import Integers, PositiveInt, Section

ATTENTION = ("eager", "sdpa")
"""Ways to compute attention that are part of transformers and torch."""

SOURCES = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""Arguments of `timm.create_model` that name files to load, pickles among them."""

Channels = Annotated[tuple[float, float, float], Strict(False)]


class TextEncoder(Section):
    """A transformers encoder: a pretrained one (`model`) or one built from config (`architecture`).

    model: hub name or local folder (in the working folder or below MMKD_DATA; `package:name/path` for one that an
        installed package carries), with its own tokenizer.
    architecture: keys of the transformers config, `model_type` among them; weights start random, and a WordPiece
        tokenizer of `vocabulary` entries is trained on the words of the training rows.
    trust_remote_code: run the Python code that `model` brings with it, which is refused otherwise.
    max_tokens: longer texts are cut; their cut words count as O in the metric and are no distillation rows.
    pooling: how sub-tokens become words.
    """

    model: str | None = None
    trust_remote_code: bool = False
    architecture: dict[str, Any] | None = None
    vocabulary: PositiveInt | None = None
    max_tokens: Annotated[int, Field(ge=3)] = 128
    pooling: Literal["first", "mean"] = "first"

    @field_validator("architecture")
    @classmethod
    def _without_code(cls, architecture: dict[str, Any] | None) -> dict[str, Any] | None:
        if code := _names_code(architecture):
            raise ValueError(f"found `{code}`, which names code to run; expected sizes and other plain settings")
        return architecture

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = self.origins()
        if sum(one is not None for one in origins.values()) != 1:
            *others, last = (f"`{name}`" for name in origins)
            raise ValueError(f"expected exactly one of {', '.join(others)} and {last}")
        own = [name for name in ("architecture", "bag") if name in origins]
        if (self.vocabulary is not None) != any(origins[name] is not None for name in own):
            named = " or ".join(f"`{name}`" for name in own)
            raise ValueError(f"`vocabulary` goes with {named}, and {named} with `vocabulary`")
        if self.architecture is not None and not isinstance(self.architecture.get("model_type"), str):
            raise ValueError("`architecture` needs `model_type`, for example bert")
        if self.trust_remote_code and self.model is None:
            raise ValueError("`trust_remote_code` goes with `model`; nothing else brings code of its own")
        return self

    def origins(self) -> dict[str, object]:
        """What the encoder may be made from, by key; one of them is given."""
        return {"model": self.model, "architecture": self.architecture}

    def blocks(self) -> int | None:
        """Number of its blocks, as far as this section says it."""
        keys = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
        found = [number for key in keys if isinstance(number := (self.architecture or {}).get(key), int)]
        return found[0] if found else None


def _names_code(architecture: Any) -> str | None:
    """The first key, at any depth, by which transformers would import code: a model's own, or a kernel of the hub."""
    if isinstance(architecture, list):
        return next(filter(None, map(_names_code, architecture)), None)
    if not isinstance(architecture, dict):
        return None
    for key, value in architecture.items():
        kernel = "attn_implementation" in key and not (value is None or value in ATTENTION)
        if key == "auto_map" or kernel:
            return str(key)
    return next(filter(None, map(_names_code, architecture.values())), None)


class Start(Section):
    """Blocks of a teacher that a student starts from (DistilBERT, 1910.01108; PKD, 1908.09355).

    teacher: its name. layers: its blocks, counted from 0, in the order in which the student has them.
    """

    teacher: str
    layers: Annotated[Integers, Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.layers[0] < 0 or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"layers: found {list(self.layers)}; expected numbers of blocks that rise, from 0 on")
        return self


class Bag(Section):
    """A bag of words: each sub-token has a vector of `width`, and nothing knows its neighbours."""

    width: PositiveInt = 64


class Pixels(Section):
    """A linear map of an image, averaged to `side` x `side` pixels, to `width` features."""

    width: PositiveInt = 64
    side: PositiveInt = 8


class StudentText(TextEncoder):
    """The student's text encoder: a transformers encoder, or one that is no transformer.

    start: the architecture, tokenizer and embeddings of a fine-tuned text teacher, with some of its blocks.
    bag: a mean of sub-tokens' vectors, with a WordPiece tokenizer of `vocabulary` entries; whatever `pooling` says, a
        word is the mean of its own.
    """

    start: Start | None = None
    bag: Bag | None = None

    def origins(self) -> dict[str, object]:
        """What the encoder may be made from, by key; one of them is given."""
        return {**super().origins(), "start": self.start, "bag": self.bag}


class Images(Section):
    """How images are read, and how their network is made.

    pretrained: fetch timm's weights of that name; `weights`: a local safetensors file of the whole model instead,
        found as a text encoder's `model` is.
    size: height and width in pixels that images are resized to.
    mean, std: per-channel normalisation of pixels in 0..1; default: what the named model was trained with.
    frozen_batch_norm: batch norms keep their stored statistics while the model trains.
    options: further keyword arguments of `timm.create_model`.
    """

    pretrained: bool = False
    weights: str | None = None
    size: Annotated[int, Field(ge=8)] = 224
    mean: Channels | None = None
    std: Channels | None = None
    frozen_batch_norm: bool = False
    options: dict[str, Any] = {}

    @field_validator("weights")
    @classmethod
    def _safe(cls, weights: str | None) -> str | None:
        if weights is not None and not weights.endswith(".safetensors"):
            raise ValueError("expected a .safetensors file; other formats can run code when they are read")
        return weights

    @field_validator("options")
    @classmethod
    def _without_files(cls, options: dict[str, Any]) -> dict[str, Any]:
        if named := [name for name in SOURCES if name in options]:
            raise ValueError(f"found `{named[0]}`; expected `pretrained` or `weights`, beside `options`")
        return options

    @model_validator(mode="after")
    def _one_set_of_weights(self) -> Self:
        if self.pretrained and self.weights is not None:
            raise ValueError("expected at most one of `pretrained: true` and `weights`")
        return self


class ImageEncoder(Images):
    """A timm model: its name, for instance `vit_base_patch16_224.augreg2_in21k_ft_in1k`."""

    model: str

    def blocks(self) -> int | None:
        """Number of its blocks, as far as this section says it."""
        depth = self.options.get("depth")
        return depth if isinstance(depth, int) else None


class StudentImage(Images):
    """The student's image encoder: a timm model, or a linear map.

    model: timm name.
    start: a fine-tuned timm teacher that is a row of `blocks`, with some of them; `options` are added to the teacher's.
    pixels: a linear map of the image made small.
    """

    model: str | None = None
    start: Start | None = None
    pixels: Pixels | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(one is not None for one in (self.model, self.start, self.pixels)) != 1:
            raise ValueError("expected exactly one of `model`, `start` and `pixels`")
        if self.model is None and (self.pretrained or self.weights is not None):
            raise ValueError("`pretrained` and `weights` go with `model`")
        return self

    def encoder(self) -> ImageEncoder:
        """The timm model that it is, as a teacher would state it."""
        return ImageEncoder.model_validate(self.model_dump(exclude={"start", "pixels"}))
