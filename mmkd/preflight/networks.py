"""What a network must keep to, whoever made it: a row's words depend on that row alone, and a teacher is frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mmkd.data.batches import to_device
from mmkd.data.corpus import Corpus
from mmkd.preflight.found import Finding, Report
from mmkd.preflight.parts import Part, garbled_inputs, parts_of
from mmkd.tasks.base import Task
from mmkd.teachers.base import Teacher
from mmkd.types import Batch, Outputs

TOLERANCE = 2e-3
"""Largest difference, relative to the largest value of the part: other widths of a batch are summed in another order,
in float32, through some tens of layers."""
ALONE = 3
"""Rows that are also asked about one by one."""

FROZEN, PADDING, ORDER, ALONE_TOO, TWICE = (
    "teacher frozen, in evaluation mode, without a gradient",
    "padding and absent images change nothing",
    "the order of rows changes nothing",
    "a row alone has the words that it has among others",
    "asked twice, the same words",
)


@dataclass(frozen=True)
class Asked:
    """A network, and the rows that it is asked about. who: as messages call it. network: says what `ask` says."""

    who: str
    network: nn.Module
    corpus: Corpus
    rows: np.ndarray
    tasks: Mapping[str, Task]
    device: torch.device

    def batch(self, rows: np.ndarray) -> Batch:
        """The batch of these rows, on the device."""
        batch: Batch = to_device(self.corpus.batch(rows), self.device)
        return batch

    @torch.no_grad()
    def says(self, batch: Batch) -> dict[str, Part]:
        """What the network says about a batch."""
        return parts_of(self.network(batch), self.tasks)


def check_frozen(asked: Asked, report: Report) -> bool:
    """A teacher does not learn, and neither drops nor counts; return whether it is so."""
    found: list[Finding] = []
    free = [name for name, p in asked.network.named_parameters() if p.requires_grad]
    if free:
        text = f"{len(free)} parameters ask for a gradient, the first `{free[0]}`"
        found.append(Finding(asked.who, text, "none", "let `freeze` of the teacher call `self.requires_grad_(False)`"))
    live = isinstance(asked.network, Teacher)  # a cache has no modes
    busy = [name or "itself" for name, module in asked.network.named_modules() if live and module.training]
    if busy:
        text = f"{len(busy)} modules are in training mode, the first `{busy[0]}`"
        advice = "let `freeze` of the teacher call `self.eval()`, and `train` keep to what it is asked for"
        found.append(Finding(asked.who, text, "evaluation mode, without dropout or statistics of the batch", advice))
    if not found:
        with torch.enable_grad():
            outputs: Outputs = asked.network(asked.batch(asked.rows[:2]))
        graph = [name for name, part in parts_of(outputs, asked.tasks).items() if part.values.requires_grad]
        if graph:
            text = f"{graph[0]} has a gradient, though no parameter asks for one"
            found.append(
                Finding(asked.who, text, "words without a gradient", "keep tensors that learn out of a teacher")
            )
    return report.add(FROZEN, asked.who, found)


def check_words(asked: Asked, report: Report, seed: int) -> None:
    """What the network says of a row depends on the row alone. seed: of the padding and the order that are tried."""
    rows, generator = asked.rows, torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    plain = asked.says(asked.batch(rows))
    torch.manual_seed(seed + 1)
    again = asked.says(asked.batch(rows))
    same = list(range(len(rows)))
    advice = "a network that teaches draws nothing: no dropout in evaluation mode"
    if not report.add(TWICE, asked.who, _judged(asked, plain, again, same, "asked about the same rows again", advice)):
        return  # whatever else is compared would differ too
    garbled = asked.says(garbled_inputs(asked.batch(rows), generator))
    what = "with other sub-tokens under the padding, and pixels where no image is"
    advice = "leave sub-tokens whose `tokens.mask` is False, and images whose `has_image` is False, out of every sum"
    report.add(PADDING, asked.who, _judged(asked, plain, garbled, same, what, advice))
    order = torch.randperm(len(rows), generator=generator).tolist()
    if order == same:
        order.reverse()
    turned = asked.says(asked.batch(rows[order]))
    advice = "say of each row what is asked, in the order of the batch"
    report.add(ORDER, asked.who, _judged(asked, plain, turned, order, "with the rows in another order", advice))
    advice = "let no row see another: no statistic, no attention over the batch, and padding masked"
    found = (
        finding
        for place in same[:ALONE]
        for finding in _judged(
            asked, plain, asked.says(asked.batch(rows[[place]])), [place], "asked about the row alone", advice
        )
    )
    report.add(ALONE_TOO, asked.who, list(found)[:1])


def _judged(
    asked: Asked, plain: Mapping[str, Part], other: Mapping[str, Part], order: Sequence[int], what: str, advice: str
) -> Iterator[Finding]:
    """The first part in which the rows `order` of the plain answer are not the rows of the other."""
    name_of: Callable[[int], str] = lambda place: asked.corpus.batch(asked.rows[[place]]).ids[0]  # noqa: E731
    for name, part in plain.items():
        size = max((float(part.row(place).abs().max()) for place in order if part.row(place).numel()), default=0.0)
        for number, place in enumerate(order):
            one, two = part.row(place), other[name].row(number)
            if one.shape != two.shape:
                found = f"{what}, {name} of {name_of(place)} has the shape {list(two.shape)}, before {list(one.shape)}"
                yield Finding(asked.who, found, "the same places", advice)
                return
            difference = float((one - two).abs().max().nan_to_num(nan=torch.inf)) if one.numel() else 0.0
            if difference > TOLERANCE * size:
                found = f"{what}, {name} of {name_of(place)} differs by {difference:.3g} of {size:.3g}"
                yield Finding(asked.who, found, f"at most {TOLERANCE * size:.3g}, as rounding leaves", advice)
                return
