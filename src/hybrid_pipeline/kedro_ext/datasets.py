"""Datasets that appear whole or not at all, on a local file system.

Kedro's own datasets write in place: a killed save leaves a truncated file whose ``exists()`` is
True. These write through a temporary file and note its checksum; a file that is damaged all the
same is named. A file without a note, put there by a person or kept in git, is read as it is.
"""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview

from hybrid_pipeline.storage import (
    DamagedError,
    check_noted,
    is_noted,
    json_text,
    read_json,
    write_noted,
)
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell

if TYPE_CHECKING:
    import pandas as pd

PREVIEW_CHARACTERS = 20_000
logger = logging.getLogger(__name__)
PREVIEW_ROWS = 40
EMPTY_PNG = (  # one transparent pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
NOT_WRITTEN = "not there yet: run the pipeline that writes it"


class AtomicFileDataset(AbstractDataset[Any, Any]):
    """A local file that is replaced as a whole.

    Args:
        filepath: the file; its folder is made when needed.
        metadata: ignored by Kedro, read by Kedro-Viz (layer, preview arguments).
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """Read the file.

        Raises:
            DatasetError: when the file is missing or damaged, with what to do about it.
        """
        try:
            check_written(self._filepath)
            return self._read()
        except (ValueError, OSError) as error:
            raise damaged(self._filepath, _first_line(error)) from error

    def save(self, data: Any) -> None:
        """Write the file and note its checksum; a reader sees the old content or the new one."""
        content = self._content(data)
        write_noted(self._filepath, lambda file: file.write(content))

    def _read(self) -> Any:
        raise NotImplementedError

    def _content(self, data: Any) -> bytes:
        raise NotImplementedError

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class JsonAtomicDataset(AtomicFileDataset):
    """JSON with sorted keys: equal values are equal files."""

    def _read(self) -> Any:
        return read_json(self._filepath)

    def _content(self, data: Any) -> bytes:
        return json_text(data).encode()

    def preview(self) -> JSONPreview:
        """The content for Kedro-Viz, cut if it is long; a sentence if there is no file."""
        if not self._filepath.is_file():
            return JSONPreview(json.dumps({"note": NOT_WRITTEN}))
        text = json.dumps(self.load(), default=lambda record: record.model_dump(mode="json"))
        if len(text) > PREVIEW_CHARACTERS:
            text = json.dumps({"first characters": text[:PREVIEW_CHARACTERS]})
        return JSONPreview(text)


class OptionalJsonDataset(JsonAtomicDataset):
    """A JSON mapping that another pipeline may have written; empty if it has not.

    A damaged file is as good as none, with one warning: it stops nobody who can do without it.
    """

    def load(self) -> Any:
        """The content, or ``{}`` without a whole file."""
        if not self._filepath.is_file():
            return {}
        try:
            found = super().load()
        except DatasetError as error:
            logger.warning("%s It is left out of this run.", error)
            return {}
        if not isinstance(found, dict):
            logger.warning("%s holds no mapping and is left out of this run.", self._filepath)
            return {}
        return found

    def _exists(self) -> bool:
        return True


class HandleDataset(JsonAtomicDataset):
    """What a step of a task's preparation made, by its content keys.

    Large results (image shards, features, checkpoints) never pass through Kedro; nodes hand their
    handles on, and a handle is small enough to travel to any worker.
    """

    def _read(self) -> TaskHandle:
        return TaskHandle.model_validate(super()._read())

    def _content(self, data: TaskHandle) -> bytes:
        return super()._content(data.model_dump(mode="json", exclude_unset=True))


class HandlesDataset(JsonAtomicDataset):
    """The handle of every task, by the task's name."""

    def _read(self) -> dict[str, TaskHandle]:
        found = super()._read().items()
        return {task: TaskHandle.model_validate({"task": task, **values}) for task, values in found}

    def _content(self, data: dict[str, TaskHandle]) -> bytes:
        named = data.items()  # the task stands in the key
        return super()._content(
            {t: h.model_dump(mode="json", exclude_unset=True, exclude={"task"}) for t, h in named}
        )


class CellDataset(JsonAtomicDataset):
    """One cell, an arm with a seed, as the record that nodes exchange."""

    def _read(self) -> Cell:
        return Cell.model_validate(super()._read())

    def _content(self, data: Cell) -> bytes:
        return super()._content(data.model_dump(mode="json"))


class CellsDataset(JsonAtomicDataset):
    """Many cells."""

    def _read(self) -> list[Cell]:
        return [Cell.model_validate(cell) for cell in super()._read()]

    def _content(self, data: list[Cell]) -> bytes:
        return super()._content([cell.model_dump(mode="json") for cell in data])


class TextAtomicDataset(AtomicFileDataset):
    """UTF-8 text, such as ``report.md`` or ``report.html``."""

    def _read(self) -> str:
        return self._filepath.read_text("utf-8")

    def _content(self, data: Any) -> bytes:
        return str(data).encode()


class PngAtomicDataset(AtomicFileDataset):
    """A picture as the bytes of a PNG file; Kedro-Viz shows it."""

    def _read(self) -> bytes:
        return self._filepath.read_bytes()

    def _content(self, data: bytes) -> bytes:
        return data

    def preview(self) -> ImagePreview:
        """The picture for Kedro-Viz; an empty one if there is no file."""
        if not self._filepath.is_file():
            return ImagePreview(EMPTY_PNG)
        return ImagePreview(base64.b64encode(self.load()).decode())


class _TableAtomicDataset(AtomicFileDataset):
    """A pandas table."""

    def preview(self, nrows: int = PREVIEW_ROWS) -> TablePreview:
        """The first rows for Kedro-Viz; a sentence if there is no file."""
        if not self._filepath.is_file():
            return TablePreview({"columns": ["note"], "index": [0], "data": [[NOT_WRITTEN]]})
        table: pd.DataFrame = self.load()
        split = table.head(nrows).to_json(orient="split", date_format="iso")
        return TablePreview(json.loads(split))


class ParquetAtomicDataset(_TableAtomicDataset):
    """A table as Parquet, without its index."""

    def _read(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self._filepath)

    def _content(self, data: pd.DataFrame) -> bytes:
        buffer = io.BytesIO()
        data.to_parquet(buffer, index=False)
        return buffer.getvalue()


class CsvAtomicDataset(_TableAtomicDataset):
    """A table as CSV, without its index; names come back as they were written."""

    def _read(self) -> pd.DataFrame:
        from hybrid_pipeline.report.csv_back import read_written

        return read_written(self._filepath)

    def _content(self, data: pd.DataFrame) -> bytes:
        return str(data.to_csv(index=False, lineterminator="\n")).encode()


def check_written(path: Path) -> None:
    """Refuse a file that is missing, or that differs from its note if it has one.

    Raises:
        DatasetError: with what to do about it.
    """
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; run the pipeline that writes it.")
    try:
        if is_noted(path):
            check_noted(path)
    except DamagedError as error:
        raise damaged(path, f"it {error.why}") from error


def damaged(path: Path, why: str) -> DatasetError:
    """The error of a file that is not what was written, with what to do about it."""
    return DatasetError(
        f"{path} is damaged ({why}); delete it and run the pipeline that writes it again."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
