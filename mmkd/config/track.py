"""Where a run is followed beside TensorBoard: Weights & Biases or MLflow. No torch here, and neither of them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mmkd.config.section import Section


class Wandb(Section):
    """Weights & Biases (`pip install 'mmkd[wandb]'`). The key is in the environment: WANDB_API_KEY.

    offline: written below the run's folder, for `wandb sync`.
    """

    packages: ClassVar[tuple[str, ...]] = ("wandb",)

    kind: Literal["wandb"] = "wandb"
    project: str = "mmkd"
    entity: str | None = None
    offline: bool = False


class MLflow(Section):
    """MLflow (`pip install 'mmkd[mlflow]'`). The token is in the environment: MLFLOW_TRACKING_TOKEN.

    uri: of a tracking server or a data base; null: a file on this machine, results/mlflow.db of the project.
    """

    packages: ClassVar[tuple[str, ...]] = ("mlflow", "sqlalchemy")

    kind: Literal["mlflow"] = "mlflow"
    uri: str | None = None
    experiment: str = "mmkd"


Track = Annotated[Wandb | MLflow, Field(discriminator="kind")]


def not_installed(track: Wandb | MLflow) -> str | None:
    """What is missing for it on this machine, and how to get it; None when all is there."""
    absent = [name for name in track.packages if find_spec(name) is None]
    return f"{track.kind} needs {', '.join(absent)}; pip install 'mmkd[{track.kind}]'" if absent else None
