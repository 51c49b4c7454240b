"""A Plotly figure as JSON: kedro-datasets' own, written so that it appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kedro.io import DatasetError
from kedro_datasets._typing import PlotlyPreview
from kedro_datasets.plotly import JSONDataset

from hybrid_pipeline.kedro_ext.datasets import NOT_WRITTEN, check_written, damaged
from hybrid_pipeline.plot_style import EITHER_THEME
from hybrid_pipeline.storage import json_text, write_noted

if TYPE_CHECKING:
    from plotly import graph_objects as go


class FigureDataset(JSONDataset):  # type: ignore[misc]
    """``plotly.JSONDataset`` on a local file, replaced as a whole; equal figures are equal files.

    Kedro-Viz draws its preview.
    """

    def load(self) -> go.Figure:
        """The figure.

        Raises:
            DatasetError: when the file is missing or damaged, with what to do about it.
        """
        path = Path(self._get_load_path())
        check_written(path)
        try:
            return super().load()
        except DatasetError as error:
            raise damaged(path, str(error.__cause__)) from error

    def preview(self) -> PlotlyPreview:
        """The figure for Kedro-Viz, in colours that its dark and its light theme both show.

        Kedro-Viz sets paper, fonts and the first panel's grid, and leaves the rest as it is.
        Without a file it is an empty figure that says so.
        """
        if not Path(self._get_load_path()).is_file():
            note = {"text": NOT_WRITTEN, "showarrow": False}
            axis = {"visible": False}
            return PlotlyPreview(
                {"data": [], "layout": {"annotations": [note], "xaxis": axis, "yaxis": axis}}
            )
        text = json.dumps(super().preview())
        for color, other in EITHER_THEME.items():
            text = text.replace(f'"{color}"', f'"{other}"')
        return PlotlyPreview(json.loads(text))

    def save(self, data: go.Figure) -> None:
        """Write the file; a reader sees the old figure or the new one."""
        content = json_text(json.loads(data.to_json())).encode()
        write_noted(Path(self._get_save_path()), lambda file: file.write(content))
        self._invalidate_cache()
