"""``latest`` beside the folders of studies: a link to the study whose report was written last."""

from __future__ import annotations

import os
from pathlib import Path

from hybrid_pipeline.storage import write_text_atomically

LATEST = "latest"
NAME_FILE = "latest.txt"  # instead of the link on systems that refuse links


def point_latest(folder: Path) -> None:
    """Make ``latest`` beside ``folder`` lead to it.

    A relative symbolic link, replaced as a whole. Where the system refuses links (Windows without
    developer mode), ``latest.txt`` beside it holds the folder's name instead.
    """
    link, spare = folder.parent / LATEST, folder.parent / NAME_FILE
    new = folder.parent / f".{LATEST}.{os.getpid()}"
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(folder.name, target_is_directory=True)
        new.replace(link)
    except OSError:
        new.unlink(missing_ok=True)
        write_text_atomically(spare, folder.name + "\n")
    else:
        spare.unlink(missing_ok=True)


def latest_study(reporting: Path) -> Path:
    """The folder of the study whose report was written last.

    Args:
        reporting: the folder of all studies, ``data/08_reporting``.

    Raises:
        FileNotFoundError: if no study has written a report there.
    """
    spare = reporting / NAME_FILE
    folder = reporting / LATEST
    if spare.is_file():
        folder = reporting / spare.read_text("utf-8").strip()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no study in {reporting}: run `make ablation` first.")
    return folder.resolve()


def latest_folders(data: Path) -> tuple[Path, Path]:
    """Where the latest study keeps its results and its documents.

    Args:
        data: the data folder.

    Raises:
        FileNotFoundError: if no study has written a report there.
    """
    documents = latest_study(data / "08_reporting")
    return data / "07_model_output" / documents.name, documents
