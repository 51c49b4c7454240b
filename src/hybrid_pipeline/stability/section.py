"""The stability study's part of the report."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from hybrid_pipeline.config import StrictConfig


class ExtraTable(StrictConfig):
    """A table that another part of the project fills, such as the stability metrics."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row of {self.title!r} has {len(row)} entries for "
                    f"{len(self.columns)} columns"
                )
        return self


class ExtraFigure(StrictConfig):
    """A Plotly figure that another part of the project draws; ``name`` is unique in the page."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    caption: str
    figure: dict[str, Any]


class StabilitySection(StrictConfig):
    """The optional section on training stability.

    ``figures`` lie together in the file ``figures/<figures_file>.json``.
    """

    points: tuple[str, ...]
    tables: tuple[ExtraTable, ...] = ()
    figures: tuple[ExtraFigure, ...] = ()
    figures_file: str = "stability"
