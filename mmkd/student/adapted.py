"""A student whose encoders are adapted: their own weights stay, what is added to them learns.

Low-rank products are merged when training ends. A prefix and adapters are part of the student, and stored with it.
"""

from __future__ import annotations

from torch import nn

from mmkd.config.adapt import Adapt, LoraKind, Prefix
from mmkd.encoders.bottleneck import add_bottlenecks
from mmkd.encoders.image import ImageEncoder
from mmkd.encoders.text import TextEncoder
from mmkd.errors import MmkdError
from mmkd.lora import add_lora, merge_lora, require_targets
from mmkd.student.student import Student


class AdaptError(MmkdError):
    """An encoder cannot be adapted as the experiment says; the message says where and why."""


def adapt(student: Student, config: Adapt) -> None:
    """Add to the student's encoders what learns in their place, in place. What is added is drawn from torch's state.

    Raises LoraError for a target that no layer's name ends with; AdaptError for an encoder that cannot be adapted so.
    """
    for modality, how in config.by_modality().items():
        where, encoder = f"student.adapt.{modality}", student.encoders[modality]
        if not isinstance(encoder, TextEncoder | ImageEncoder):
            raise AdaptError(
                f"{where}: the encoder is a {type(encoder).__name__}; expected a transformer or timm model"
            )
        try:
            if isinstance(how, Prefix):
                text = student.config.text
                assert isinstance(encoder, TextEncoder) and text is not None  # checked by the config
                encoder.add_prefix(how.tokens, text.max_tokens)
            elif isinstance(how, LoraKind):
                add_lora(encoder.model, how, where)
            else:
                require_targets(encoder.model, how.targets, where)
                add_bottlenecks(encoder.model, how.targets, how.width)
        except ValueError as error:
            raise AdaptError(f"{where}: {error}") from error
        if isinstance(encoder, ImageEncoder):
            encoder.frozen_batch_norm = True  # running statistics are the encoder's own too


def merge(student: Student) -> None:
    """Write low-rank products into the weights, in place: encoders that had them are ordinary ones again."""
    adapt = student.config.adapt
    for modality, how in adapt.by_modality().items():
        if isinstance(how, LoraKind):
            merge_lora(student.encoders[modality])
            student.encoders[modality].requires_grad_(True)
            adapt = adapt.model_copy(update={modality: None})
    student.config = student.config.model_copy(update={"adapt": adapt})


def trained_parameters(network: nn.Module) -> int:
    """How many of a network's parameters learn."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
