"""A package of the user's, made of the code blocks of a how-to, in a project of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from hybrid_pipeline.components import load_components
from hybrid_pipeline.features.sources import load_tower_sources
from hybrid_pipeline.storage import code
from hybrid_pipeline.storage.keys import package_fingerprint

ROOT = Path(__file__).parents[1]


def how_to(name: str) -> str:
    return (ROOT / "docs/how-to" / name).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.M | re.S)


def forget() -> None:
    """Leave no trace of the package ``mine`` in this process."""
    load_components()
    load_tower_sources()
    for kept in (code._path, code._source, package_fingerprint):
        kept.cache_clear()
    for name in [n for n in sys.modules if n.partition(".")[0] == "mine"]:
        del sys.modules[name]


def copy_project(folder: Path) -> None:
    """The project without data, tests and documentation."""
    for part in ("src/hybrid_pipeline", "conf"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "src/mine").mkdir()


def run_in(folder: Path, *words: str) -> str:
    """What ``python -m`` with these words writes to standard output in the project."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
