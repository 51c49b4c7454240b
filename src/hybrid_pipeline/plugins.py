"""Modules of the user's that are imported before anything is read, so that they can register.

A task source or a rule of the review is made known by a decorator; importing the module that holds
it is all that is needed. Components, controls and tower sources are records of such a module.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from importlib import metadata
from types import ModuleType

from hybrid_pipeline.config import ConfigError

ENTRY_POINTS = "hybrid_pipeline.plugins"


def load_plugins(names: Iterable[str]) -> tuple[ModuleType, ...]:
    """Import modules; what they register is known in this process from then on.

    Args:
        names: modules on the Python path (``src/`` of the project is on it), or entry points of
            the group ``hybrid_pipeline.plugins``.

    Returns:
        The modules.

    Raises:
        ConfigError: naming the module that cannot be imported, or whose registration is refused.
    """
    modules = []
    for name in names:
        entries = metadata.entry_points(group=ENTRY_POINTS, name=name)
        module = next((entry.module for entry in entries), name)
        try:
            modules.append(importlib.import_module(module))
        except (ImportError, TypeError, ValueError) as error:
            raise ConfigError(
                f"parameter 'plugins' names {name!r}, which cannot be imported "
                f"({type(error).__name__}: {error}); allowed are modules below src/ or on the "
                f"Python path, and entry points of the group {ENTRY_POINTS!r}."
            ) from error
    return tuple(modules)
