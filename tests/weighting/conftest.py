"""A network of tasks with a given Jacobian."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.jacobian import Graph, make_graph


@pytest.fixture
def graph() -> Callable[..., Graph]:
    return make_graph
