"""What the student says of mixtures of a batch's examples, as `train.mixup` asks for it.

The teachers spoke about each example whole, once, and that stays true: the objective of a mixture is taken with each
example's own targets and only then mixed (`objective`), which serves every loss and needs no soft label. For a
cross-entropy that is the paper's. For a divergence KL(p || q) of the teacher's p it is the divergence to the mixture of
both teachers' p, but for a number that the student does not change, so the gradient is the same.

Neither mixes what a mixture has no targets for: words, hidden layers, pooled features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.distributions import Beta

from mmkd.config.mixup import Mixup
from mmkd.student.student import READER, Student
from mmkd.types import Batch, Mixed, Outputs


def mixtures(
    config: Mixup, network: Student, student: Outputs, batch: Batch, speak: Callable[[Batch], Outputs]
) -> Mixed | None:
    """What the student says of mixtures; None where there are no two examples that can be mixed.

    student: what it said of the batch. speak: gives what it says of another one. The share, the partners and a
    rectangle's place are drawn from torch's random state.
    """
    share = float(Beta(config.alpha, config.alpha).sample())
    if config.of == "features":
        assert student.fused is not None  # a student always has a fused feature
        order = partners(student.speaks)
        fused = share * student.fused + (1 - share) * student.fused[order]
        said = replace(student, logits=network.logits_of(fused), fused=fused)
    else:
        order = partners(student.has["image"] & ~student.has.get("text", torch.zeros_like(student.speaks)))
        if torch.equal(order, torch.arange(len(order), device=order.device)):
            return None
        pixels = batch.images[READER].float()
        if config.of == "pixels":
            pixels = share * pixels + (1 - share) * pixels[order]
        else:
            inside = rectangle(pixels.shape[2], pixels.shape[3], 1 - share).to(pixels.device)
            share = 1 - float(inside.float().mean())
            pixels = torch.where(inside, pixels[order], pixels)
        said = speak(replace(batch, images={**batch.images, READER: pixels}))
    # Without features: a loss that reads them has no business here, and fails.
    return Mixed(replace(said, pooled={}, hidden={}), share, order)


def partners(rows: Bool[Tensor, " B"]) -> Int[Tensor, " B"]:
    """For each of the rows another of them, or itself, at random; for the rest themselves."""
    order = torch.arange(len(rows), device=rows.device)
    places = order[rows]
    order[rows] = places[torch.randperm(len(places)).to(rows.device)]
    return order


def rectangle(height: int, width: int, area: float) -> Bool[Tensor, "H W"]:
    """A rectangle of the image's form around a random place, cut at the edges (1905.04899, eq. 2).

    area: the share of the image that it has where it is not cut.
    """
    found = torch.zeros(height, width, dtype=torch.bool)
    cut = [(float(torch.rand(())) * side, side * area**0.5 / 2) for side in (height, width)]
    spans = [slice(max(0, round(middle - half)), round(middle + half)) for middle, half in cut]
    found[spans[0], spans[1]] = True
    return found


def reordered(batch: Batch, order: Int[Tensor, " B"]) -> Batch:
    """The examples in another order, with what their targets are; without what networks read."""
    return replace(
        batch,
        ids=tuple(batch.ids[n] for n in order.tolist()),
        rows=batch.rows[order],
        word_mask=batch.word_mask[order],
        tokens={},
        images={},
        has_text=batch.has_text[order],
        has_image=batch.has_image[order],
        labels={task: label[order] for task, label in batch.labels.items()},
        has_label={task: has[order] for task, has in batch.has_label.items()},
    )


def reordered_logits(said: Outputs, order: Int[Tensor, " B"]) -> Outputs:
    """What a network says of the tasks, for the examples in another order."""
    logits: dict[str, Float[Tensor, "B ..."]] = {task: values[order] for task, values in said.logits.items()}
    return Outputs(logits, said.speaks[order], said.words[order])
