"""A trial that several processes train together, each with a GPU of its own: Ray Train starts them, and joins them."""

from __future__ import annotations

from typing import Any

from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from mmkd.secrets import redacted_errors
from mmkd.sweep.attempt import attempt
from mmkd.sweep.order import Order


def attempt_together(order: Order) -> None:
    """Make the attempt in several processes; its outcome lies in the trial's folder when this returns."""
    TorchTrainer(
        _share,
        train_loop_config={"order": order.model_dump_json()},
        scaling_config=ScalingConfig(
            num_workers=order.processes, use_gpu=order.gpus > 0, resources_per_worker=resources(order.cpus, order.gpus)
        ),
        run_config=RunConfig(name="together", storage_path=str(order.place)),
    ).fit()


def resources(cpus: int, gpus: float) -> dict[str, float]:
    """What one process of a trial occupies. gpus: of the trial."""
    return {"CPU": cpus, "GPU": 1.0} if gpus else {"CPU": cpus}


def _share(config: dict[str, Any]) -> None:
    """One of the processes. What they report is seen by nobody: the trial's pulse and outcome say all."""
    with redacted_errors():
        attempt(Order.model_validate_json(config["order"]), lambda epochs, best: None)
