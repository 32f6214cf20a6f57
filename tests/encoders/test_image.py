"""Image encoders: layers, grids, and images that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from mmkd.encoders.image import ImageEncoder
from tiny_project import image_config, same_weights

MODELS = ["test_convnext", "test_resnet", "test_vit", "lcnet_035"]


def build(model: str = "test_resnet", layers: tuple[int, ...] = (), **changes: object) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(image_config(model=model, **changes), layers)


def pixels(n: int, size: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)


ALL = torch.ones(3, dtype=torch.bool)
SOME = torch.tensor([True, False, True])
NONE = torch.zeros(3, dtype=torch.bool)


@pytest.mark.parametrize("model", MODELS)
def test_layers_are_timms_intermediates(model: str):
    own = build(model)
    own = build(model, tuple(range(own.depth))).eval()
    found = own(pixels(3), ALL)
    stated = own.model.pretrained_cfg
    mean, std = (torch.tensor(stated[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        scaled = (pixels(3).float() / 255 - mean) / std
        maps = own.model.forward_intermediates(scaled, output_fmt="NCHW", intermediates_only=True)
        pooled = own.model(scaled)  # without classes timm's own forward gives the pooled feature
    assert len(maps) == own.depth
    assert found.pooled.shape == (3, own.width)
    torch.testing.assert_close(found.pooled, pooled, rtol=0, atol=1e-4)
    for layer, grid in enumerate(maps):
        hidden = found.hidden[layer]
        assert hidden.grid == grid.shape[2:]
        assert hidden.values.shape == (3, grid.shape[2] * grid.shape[3], own.width_of(layer))
        assert hidden.mask.all()
        rows, columns = hidden.grid
        for place in (0, columns % (rows * columns), rows * columns - 1):
            row, column = divmod(place, columns)
            torch.testing.assert_close(hidden.values[:, place], grid[:, :, row, column], rtol=0, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_absent_images_are_zeros_and_change_nothing_else(model: str):
    own = build(model).eval()
    last = own.depth - 1
    found = own(pixels(3), SOME)
    there = own(pixels(3)[SOME], ALL[:2])
    torch.testing.assert_close(found.pooled[SOME], there.pooled, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.hidden[last].values[SOME], there.hidden[last].values, rtol=0, atol=1e-5)
    assert not found.pooled[1].any()
    assert not found.hidden[last].values[1].any()
    assert found.hidden[last].mask.all(1).tolist() == SOME.tolist()
    assert found.hidden[last].mask.any(1).tolist() == SOME.tolist()


def test_a_batch_without_any_image_has_the_usual_shapes():
    own = build().train()
    there, nothing = own(pixels(3), ALL), own(pixels(3), NONE)
    assert not nothing.pooled.any()
    assert nothing.pooled.shape == there.pooled.shape
    for layer, hidden in there.hidden.items():
        assert nothing.hidden[layer].values.shape == hidden.values.shape
        assert nothing.hidden[layer].grid == hidden.grid
        assert not nothing.hidden[layer].mask.any()


def buffers(own: ImageEncoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in own.named_buffers()}


def test_absent_images_leave_batch_norms_and_gradients_alone():
    own = build().train()
    before = buffers(own)
    out = own(pixels(3), NONE)
    assert same_weights(buffers(own), before)
    assert own.model.training
    assert not out.pooled.requires_grad

    changed = pixels(3)
    changed[1] = 255 - changed[1]  # only the absent image differs
    results = []
    for each in (pixels(3), changed):
        own = build().train()
        own(each, SOME).pooled.square().sum().backward()
        results.append((buffers(own), {name: p.grad for name, p in own.named_parameters() if p.grad is not None}))
    assert not same_weights(results[0][0], before)  # the images that are there did move the statistics
    assert same_weights(results[0][0], results[1][0])
    assert same_weights(results[0][1], results[1][1])


def test_building_leaves_batch_norms_alone():
    fresh = timm.create_model("test_resnet", num_classes=0)
    assert same_weights(
        {name: value for name, value in build().model.named_buffers() if "running" in name},
        {name: value for name, value in fresh.named_buffers() if "running" in name},
    )


def test_frozen_batch_norms_keep_their_statistics_in_training():
    own = build(frozen_batch_norm=True).train()
    before = buffers(own)
    own(pixels(3), ALL)
    own(pixels(3), NONE)
    assert own.model.training
    own(pixels(3), ALL)
    assert same_weights(buffers(own), before)


@pytest.mark.parametrize(
    ("model", "size", "side"), [("test_vit", 48, 3), ("test_vit", 64, 4), ("test_convnext", 64, 2)]
)
def test_models_with_and_without_a_fixed_size_take_the_size_asked_for(model: str, size: int, side: int):
    (last,) = build(model, size=size).eval()(pixels(1, size), ALL[:1]).hidden.values()
    assert last.grid == (side, side)  # patches of 16 pixels; four stages that end at a 32nd


def test_the_mean_and_deviation_of_the_config_are_used():
    plain, shifted = build().eval(), build(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]).eval()
    with torch.no_grad():
        expected = plain.model(pixels(2).float() / 255)
        torch.testing.assert_close(shifted(pixels(2), ALL[:2]).pooled, expected, rtol=0, atol=1e-5)
        assert not torch.allclose(plain(pixels(2), ALL[:2]).pooled, expected, atol=1e-3)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"layers \[5\]: test_resnet has the layers 0 to 4"):
        build(layers=(5,))


def test_an_unknown_name_is_refused_with_names_that_exist():
    with pytest.raises(ValueError, match=r"knows no `resnet_18`; some that it knows: \['"):
        build("resnet_18")


def test_local_weights_with_a_classifier_are_loaded(tmp_path: Path):
    whole = timm.create_model("test_resnet")
    save_file(whole.state_dict(), tmp_path / "weights.safetensors")
    own = build(weights=str(tmp_path / "weights.safetensors"))
    kept = {name: value for name, value in whole.state_dict().items() if name in own.model.state_dict()}
    assert len(kept) == len(own.model.state_dict())
    assert same_weights({n: v.contiguous() for n, v in own.model.state_dict().items()}, kept)


def test_weights_that_are_not_there_are_named():
    with pytest.raises(FileNotFoundError, match=r"found no nowhere\.safetensors"):
        build(weights="nowhere.safetensors")
