"""Ray, which runs code for whoever it lets in: it asks for a token, and has no dashboard."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import ray

from mmkd.sweep.tuner import cluster

STRANGER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print('LET IN')"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Ray is started with."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **options: found.update(options))
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return found


def test_a_sweep_starts_ray_with_a_new_token_and_without_a_dashboard(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(None):
        first = os.environ["RAY_AUTH_TOKEN"]
    assert len(first) == 64
    assert asked["include_dashboard"] is False
    assert first not in repr(asked)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with cluster(None):
        assert os.environ["RAY_AUTH_TOKEN"] != first


@pytest.mark.parametrize("name", ["RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"])
def test_a_cluster_of_ones_own_has_a_token_of_its_own(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "given")
    with cluster(None):
        pass
    assert asked["address"] == ("given" if name == "RAY_ADDRESS" else "local")
    assert os.environ.get("RAY_AUTH_TOKEN") == ("given" if name == "RAY_AUTH_TOKEN" else None)


@pytest.mark.slow
def test_who_has_no_token_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with cluster(None):
        address = ray.get_runtime_context().gcs_address
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"]}
        others = ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64})
        assert "LET IN" in _stranger(address, own)  # the control
        for other in others:
            assert "LET IN" not in _stranger(address, other)


def _stranger(address: str, variables: dict[str, str]) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", STRANGER, address]
    return subprocess.run(command, env=clean | variables, capture_output=True, text=True).stdout
