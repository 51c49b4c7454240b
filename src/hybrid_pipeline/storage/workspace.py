"""Where the data folder keeps what."""

from __future__ import annotations

from pathlib import Path


class Workspace:
    """The layers of the data folder that hold results under their keys.

    Args:
        root: the data folder, relative to the project or absolute.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.tables = self.root / "03_primary" / "tables"
        self.features = self.root / "04_feature"
        self.images = self.root / "05_model_input" / "views"
        self.cells = self.root / "06_models" / "cells"
        self.towers = self.root / "06_models" / "towers"
