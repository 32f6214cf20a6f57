"""Operations on images: what each does to the pixels, and that all that is random comes from the own generator."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mmkd.config.augment import ImageAugment
from mmkd.data import augment_image as module
from mmkd.data.augment_image import augment_image

WIDTH, HEIGHT = 200, 100
EVERYTHING = {
    "crop": {},
    "flip": 0.5,
    "policy": "rand-m9-mstd0.5-inc1",
    "jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "erase": 0.5,
}
POLICIES = [
    *("trivial", "rand", "rand-m9-n3-p0.5-mstd0.5-mmax30-inc1", "rand-n9-tweights", "rand-n9-t3aw", "rand-m0-t3a"),
    "rand-m30-n9-p1-mmax30",  # asks posterize for more than 8 bits
    *("augmix-m5-w4-d2-b0-a0.5-mstd1", "augmix-b1", "original-mstd0.5", "originalr", "v0", "v0r-mstd2", "3a"),
]


def section(**keys: Any) -> ImageAugment:
    return ImageAugment.model_validate(keys)


def view(image: Image.Image, config: ImageAugment, seed: int = 0) -> Image.Image:
    return augment_image(image, config, np.random.default_rng(seed))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Smooth noise: as photographs have, no two places are alike."""
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def places() -> Image.Image:
    """Red says the column, green the row."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack([columns, rows, rows * 0], -1).astype(np.uint8))


def grey(value: int) -> Image.Image:
    return Image.new("RGB", (WIDTH, HEIGHT), (value, value, value))


def test_a_crop_is_a_box_of_the_image_with_area_and_ratio_as_asked(places: Image.Image):
    boxes = []
    for seed in range(300):
        cut = view(places, section(crop={"scale": [0.5, 0.7], "ratio": [0.8, 1.25]}), seed)
        left, top, _ = places_of = pixels(cut)[0, 0]
        assert places_of[2] == 0
        box = (int(left), int(top), int(left) + cut.width, int(top) + cut.height)
        assert np.array_equal(pixels(cut), pixels(places.crop(box)))
        boxes.append((cut.width, cut.height, left, top))
    width, height, left, top = np.array(boxes, float).T
    shares, ratios = width * height / (WIDTH * HEIGHT), width / height / (WIDTH / HEIGHT)
    # Sides are whole pixels: half a pixel of 70 rows is 0.7 percent.
    assert 0.49 < shares.min() < 0.52 and 0.68 < shares.max() < 0.71
    assert 0.79 < ratios.min() < 0.83 and 1.2 < ratios.max() < 1.27
    assert left.min() <= 1 and top.min() <= 1
    assert (left + width).max() >= WIDTH - 1 and (top + height).max() >= HEIGHT - 1


def test_a_crop_of_a_long_image_loses_no_more_than_was_asked():
    long = Image.new("RGB", (1000, 40))
    for seed in range(50):
        cut = view(long, section(crop={"scale": [0.8, 1.0], "ratio": [0.9, 1.1]}), seed)
        assert cut.width * cut.height > 0.78 * 40_000


def test_flips_come_at_their_chance_and_are_mirror_images(photo: Image.Image):
    mirrored, same = pixels(ImageOps.mirror(photo)), pixels(photo)
    assert np.array_equal(pixels(view(photo, section(flip=1.0))), mirrored)
    found = [pixels(view(photo, section(flip=0.3), seed)) for seed in range(400)]
    flipped = sum(np.array_equal(each, mirrored) for each in found)
    assert sum(np.array_equal(each, same) for each in found) == 400 - flipped
    assert abs(flipped - 120) < 5 * (400 * 0.3 * 0.7) ** 0.5


def test_brightness_changes_by_a_factor_in_its_range():
    values = np.array([pixels(view(grey(100), section(jitter={"brightness": 0.3}), seed)) for seed in range(200)])
    assert (values == values[:, :1, :1, :1]).all()
    assert 70 <= values.min() < 75 and 125 < values.max() <= 130


def test_contrast_saturation_and_hue_of_a_grey_image_change_nothing():
    jitter = {"contrast": 0.5, "saturation": 0.5, "hue": 0.5}
    assert np.array_equal(pixels(view(grey(100), section(jitter=jitter))), pixels(grey(100)))


def test_each_jitter_changes_a_photo(photo: Image.Image):
    found = [view(photo, section(jitter={name: 0.4})) for name in ("brightness", "contrast", "saturation", "hue")]
    assert len({image.tobytes() for image in (photo, *found)}) == 5


def test_erased_is_one_black_rectangle_of_2_to_33_percent():
    shares = []
    for seed in range(100):
        black = (pixels(view(grey(100), section(erase=1.0), seed)) == 0).all(-1)
        rows, columns = np.flatnonzero(black.any(1)), np.flatnonzero(black.any(0))
        assert black.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        shares.append(black.mean())
    assert 0.015 < min(shares) < 0.05 and 0.25 < max(shares) < 0.34


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_changes_the_image_and_keeps_its_size(photo: Image.Image, policy: str):
    found = [view(photo, section(policy=policy), seed) for seed in range(8)]
    assert {image.size for image in found} == {(WIDTH, HEIGHT)}
    assert {image.mode for image in found} == {"RGB"}
    assert len({image.tobytes() for image in found}) > 1 or policy == "3a"
    assert any(image.tobytes() != photo.tobytes() for image in found)


def test_without_operations_the_image_is_the_same_and_is_never_changed_in_place(photo: Image.Image):
    before = photo.tobytes()
    assert view(photo, section()).tobytes() == before
    for seed in range(5):
        view(photo, section(**EVERYTHING), seed)
    assert photo.tobytes() == before


def test_the_same_generator_gives_the_same_view_whatever_the_global_ones_hold(photo: Image.Image):
    first = [view(photo, section(**EVERYTHING), seed).tobytes() for seed in range(6)]
    assert len(set(first)) == 6
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    again = [view(photo, section(**EVERYTHING), seed).tobytes() for seed in reversed(range(6))]
    assert again[::-1] == first


def global_state() -> bytes:
    """What the three global generators will give, without moving them on."""
    return (
        repr(random.getstate()).encode()
        + repr(np.random.get_state()[1:3]).encode()
        + (torch.get_rng_state().numpy().tobytes())
    )


@pytest.fixture
def global_generators():
    """Leaves the global generators as they were before the test."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])


@pytest.mark.usefixtures("global_generators")
def test_the_global_generators_are_left_as_they_were(photo: Image.Image):
    for draw in (random.random, np.random.random, torch.rand):
        before = global_state()
        view(photo, section(**EVERYTHING))
        view(photo, section(policy="augmix-m3"))
        assert global_state() == before
        draw(1) if draw is torch.rand else draw()
        assert global_state() != before  # the comparison can fail


def test_they_are_left_so_when_an_operation_fails(photo: Image.Image, monkeypatch: pytest.MonkeyPatch):
    def fail(image: Image.Image) -> Image.Image:
        random.random(), np.random.random(), torch.rand(1)
        raise RuntimeError("an operation failed")

    monkeypatch.setattr(module, "_operations", lambda config: (fail,))
    before = global_state()
    with pytest.raises(RuntimeError, match="an operation failed"):
        view(photo, section(**EVERYTHING))
    assert global_state() == before
    assert not module.ONE_THREAD.locked()


def test_threads_do_not_draw_from_one_another(photo: Image.Image):
    expected = [view(photo, section(**EVERYTHING), seed).tobytes() for seed in range(24)]
    found: dict[int, bytes] = {}

    def work(start: int) -> None:
        for seed in range(start, 24, 4):
            found[seed] = view(photo, section(**EVERYTHING), seed).tobytes()

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(24)] == expected


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2)])
def test_the_smallest_images_are_no_trouble(size: tuple[int, int]):
    for seed in range(10):
        assert min(view(Image.new("RGB", size), section(**EVERYTHING), seed).size) >= 1


def test_an_image_that_is_not_rgb_is_refused():
    with pytest.raises(ValueError, match="found an image of the mode P; expected RGB"):
        view(Image.new("P", (4, 4)), section(flip=1.0))
