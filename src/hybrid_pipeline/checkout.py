"""Which commit of a repository lies in a folder, as far as git says so.

What git does not answer in time, or refuses to answer (a folder of another owner), is unknown: it
is neither an error nor "no".
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

UNKNOWN = "unknown"
TIMEOUT_S = 2.0
OF_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # set inside git's hooks


@dataclass(frozen=True)
class Checkout:
    """The state of a working tree.

    Attributes:
        commit: full hash, or ``unknown``.
        is_dirty: whether tracked files differ from the commit; ``None`` if that is unknown.
    """

    commit: str = UNKNOWN
    is_dirty: bool | None = None

    @property
    def dirty_word(self) -> str:
        """``true``, ``false`` or ``unknown``."""
        return UNKNOWN if self.is_dirty is None else str(self.is_dirty).lower()

    @property
    def short(self) -> str:
        """Twelve digits of the commit, with ``+`` where files differ from it."""
        if self.commit == UNKNOWN:
            return UNKNOWN
        marks = {None: " (local changes unknown)", True: "+", False: ""}
        return self.commit[:12] + marks[self.is_dirty]


def read_checkout(folder: Path) -> Checkout:
    """Ask git about the repository that a folder belongs to.

    A folder that merely lies inside a repository, without a file that is tracked there, is unknown.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return Checkout()
    if not _git(folder, "ls-files", "--error-unmatch", "."):
        return Checkout()
    status = _git(folder, "--no-optional-locks", "status", "--porcelain", "-uno")
    return Checkout(commit, None if status is None else bool(status))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, ``None`` if it fails, is missing or takes longer than two seconds.

    The output goes to a file: a pipe would stay open as long as a child that git left behind.
    """
    kept = {k: v for k, v in os.environ.items() if k not in OF_ANOTHER_REPOSITORY}
    try:
        with tempfile.TemporaryFile() as output:
            subprocess.run(
                ["git", *arguments],
                cwd=folder,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                check=True,
            )
            output.seek(0)
            return output.read().decode(errors="replace").strip()
    except (OSError, subprocess.SubprocessError):
        return None
