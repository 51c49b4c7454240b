"""Fixtures of the tests of the models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def in_dtype(dtype: torch.dtype) -> Iterator[torch.dtype]:
    """Everything that the test builds is of the parameter ``dtype``."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield dtype
    torch.set_default_dtype(before)
