"""The calls of a network's modules: the rows whose value on its way out, or gradient on its way back, is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Call:
    """One call of a module. value: rows whose output is not finite; out, into: rows whose gradient there is not.

    own: names of its own parameters whose gradient is not finite.
    """

    name: str
    value: set[int] = field(default_factory=set)
    out: set[int] = field(default_factory=set)
    into: set[int] = field(default_factory=set)
    own: list[str] = field(default_factory=list)


class Calls:
    """The calls of a network's modules. begun, done: in the order in which they began, and ended."""

    def __init__(self) -> None:
        """None so far."""
        self.begun: list[Call] = []
        self.done: list[Call] = []

    def forget_gradients(self) -> None:
        """Before the gradient of another term."""
        for call in self.begun:
            call.out.clear()
            call.into.clear()


@contextmanager
def watched(network: nn.Module) -> Iterator[Calls]:
    """Look at every value and gradient that goes into a module and comes out of it, while the context lasts."""
    calls, stack, hooks = Calls(), [], []

    def before(name: str, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        call = Call(name)
        calls.begun.append(call)
        stack.append(call)

        def own(tensor: Tensor) -> Tensor:
            if not tensor.requires_grad:
                return tensor
            view = tensor.view_as(tensor)  # of others that read the same tensor, the gradients stand elsewhere
            view.register_hook(partial(_take_in, call.into))
            return view

        return mapped(arguments, own), mapped(named, own)

    def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        call = stack.pop()
        calls.done.append(call)
        for tensor in tensors_of(output):
            _take_in(call.value, tensor.detach())
            if tensor.requires_grad:
                tensor.register_hook(partial(_take_in, call.out))

    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(partial(before, name), with_kwargs=True))
        hooks.append(module.register_forward_hook(after))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _take_in(rows: set[int], values: Tensor) -> None:
    rows |= bad_rows(values, None)


def bad_rows(values: Tensor, mask: Tensor | None) -> set[int]:
    """Numbers of the rows, along the first dimension, that hold a number that is not finite.

    mask: over the first dimensions of the values; what it leaves out has no meaning.
    """
    wrong = ~torch.atleast_1d(values).isfinite()
    if mask is not None:
        wrong = wrong & mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))
    return set(wrong.flatten(1).any(1).nonzero()[:, 0].tolist() if wrong.ndim > 1 else wrong.nonzero()[:, 0].tolist())


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor of fractions in a value: in tuples, lists, maps and dataclasses."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_of(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors_of(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from tensors_of(getattr(value, each.name))


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, dict) else enumerate(value)


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same value with each tensor changed: in tuples, lists, maps and dataclasses."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (dict, tuple, list):
        pairs = {key: mapped(each, change) for key, each in _items(value)}
        return pairs if isinstance(value, dict) else type(value)(pairs.values())
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: mapped(getattr(value, each.name), change) for each in fields(value)})
    return value
