"""Shared fixtures; the shapes in the signatures of models/ are checked at every call."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest has a process per core already
gc.set_threshold(20_000)  # looking over imported objects took a fifth of the imports' time

CHECKED = (
    "coconut", "deep_core", "encoder", "fusion", "layers", "n2n", "parts", "q_head", "reader",
    "token_grid", "trm", "vit",
)  # fmt: skip
install_import_hook([f"hybrid_pipeline.models.{m}" for m in CHECKED], "beartype.beartype")

if TYPE_CHECKING:
    from hybrid_pipeline.training.loader import TaskData


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process waits for another's last file."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> TaskData:
    """The toy task with views and frozen tokens; read-only."""
    from toy_study import toy_data  # torch: not for every test

    return toy_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def project_root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
