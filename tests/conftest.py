"""Shared fixtures; the shapes in the signatures of models/ are checked at every call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

CHECKED = (
    "coconut", "deep_core", "encoder", "fusion", "layers", "n2n", "parts", "q_head", "reader",
    "token_grid", "trm", "vit",
)  # fmt: skip
install_import_hook([f"hybrid_pipeline.models.{m}" for m in CHECKED], "beartype.beartype")

if TYPE_CHECKING:
    from hybrid_pipeline.training.loader import TaskData


@pytest.fixture(autouse=True)
def _no_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """statsmodels collects garbage at every Holm correction, a second with torch in memory."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> TaskData:
    """The toy task with views and frozen tokens; read-only."""
    from toy_study import toy_data  # torch: not for every test

    return toy_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def project_root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
