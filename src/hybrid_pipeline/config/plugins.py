"""Which modules of the user's register what they bring."""

from __future__ import annotations

from pydantic import RootModel


class PluginsConfig(RootModel[list[str]]):
    """Modules that are imported before anything is read."""

    model_config = {"frozen": True}
    root: list[str] = []
