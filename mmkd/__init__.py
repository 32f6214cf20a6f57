"""Multimodal, multi-task knowledge distillation. Importing this costs milliseconds; the names below load on use."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmkd.api import load_experiment, load_records, run_experiment

__all__ = ["load_experiment", "load_records", "run_experiment"]
__version__ = version("mmkd")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("mmkd.api"), name)
    raise AttributeError(f"module 'mmkd' has no attribute {name!r}")
