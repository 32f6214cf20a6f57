"""Crop, flip, random policy, colour jitter and erasing of an image at its own size, from a generator of one's own.

Readers resize afterwards, so that a teacher at 224 pixels and a student at 64 see the same view. The operations are
those of torchvision (transforms v2) and timm, which draw from the global generators of torch, numpy and Python.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from mmkd.config.augment import Crop, ImageAugment, Jitter

Operation = Callable[[Image.Image], Image.Image]

# Two threads that seed the same global generators would draw from one another's.
ONE_THREAD = threading.Lock()


def augment_image(image: Image.Image, config: ImageAugment, generator: np.random.Generator) -> Image.Image:
    """The image after the operations of the section, in their order; the crop alone changes its size.

    image: RGB; it is not changed. generator: all that is random. The global generators are left as they were.

    Raises ValueError for an image that is not RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"found an image of the mode {image.mode}; expected RGB: convert it first")
    operations = _operations(config)  # before the seeds: a library may draw while it is imported
    with _global_generators_from(generator):
        for operation in operations:
            image = operation(image)
    return image


@contextmanager
def _global_generators_from(generator: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch (CPU); afterwards each is as it was."""
    import torch

    of_python, of_numpy, of_torch = (int(seed) for seed in generator.integers(2**32, size=3))
    with ONE_THREAD:
        # Not torch.manual_seed, which would seed the generators of the accelerators too.
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            random.seed(of_python)
            np.random.seed(of_numpy)
            torch.default_generator.manual_seed(of_torch)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])


@lru_cache(maxsize=16)
def _operations(config: ImageAugment) -> tuple[Operation, ...]:
    """What the section asks for, in its order."""
    from torchvision.transforms import v2

    found: list[Operation] = []
    if config.crop is not None:
        found.append(_crop(config.crop))
    if config.flip:
        found.append(v2.RandomHorizontalFlip(config.flip))
    if config.policy is not None:
        found.append(_policy(config.policy))
    if config.jitter is not None:
        found.append(_jitter(config.jitter))
    if config.erase:
        found.append(v2.RandomErasing(config.erase))
    return tuple(found)


def _crop(config: Crop) -> Operation:
    """The box of torchvision's RandomResizedCrop, with the aspect ratio relative to the image's own, not resized."""
    from torchvision.transforms import v2

    def crop(image: Image.Image) -> Image.Image:
        own = image.width / image.height
        ratio = [own * bound for bound in config.ratio]
        top, left, height, width = v2.RandomResizedCrop.get_params(image, list(config.scale), ratio)
        return image.crop((left, top, left + width, top + height))

    return crop


def _jitter(config: Jitter) -> Operation:
    from torchvision.transforms import v2

    return v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue)


def _policy(name: str) -> Operation:
    """A policy that the config has found to be a known one."""
    if name == "trivial":
        from torchvision.transforms import v2

        return v2.TrivialAugmentWide()
    from timm.data import auto_augment

    kind = name.partition("-")[0]
    if kind == "rand":
        policy = auto_augment.rand_augment_transform(name)
        parts = policy.ops
    elif kind == "augmix":
        policy = auto_augment.augment_and_mix_transform(name)
        parts = policy.ops
    else:
        policy = auto_augment.auto_augment_transform(name)
        parts = [part for pair in policy.policy for part in pair]
    for part in parts:
        if part.aug_fn is auto_augment.posterize:
            part.aug_fn = _posterize
    return policy


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """timm's posterize with at least one bit: it asks for 0 too, a black image, which Pillow 13 refuses."""
    return ImageOps.posterize(image, min(max(bits, 1), 8))
