"""Checksums: a stored thing is what was written, or it is named and made again.

CRC-32 of the standard library: rot is an accident and no adversary, and it sums 3.7 GiB a second on
one core where SHA-256 sums 1.3. A file by itself has a note in the folder ``.checksums`` beside it.
The files of a finished folder are noted together in its ``checksums.json``, which is written last:
a folder is finished when it is sealed.
"""

from __future__ import annotations

import logging
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from hybrid_pipeline.storage.files import (
    canonical_json,
    read_json,
    write_atomically,
    write_json_atomically,
)

NOTES = ".checksums"
SEAL = "checksums.json"
DAMAGED = ".damaged"
KEPT_NOTES = 3
BLOCK_BYTES = 1 << 20

logger = logging.getLogger(__name__)
_verified: set[tuple[object, ...]] = set()


class DamagedError(RuntimeError):
    """A stored file is not what was written; one sentence.

    Attributes:
        path: the file.
        why: what is wrong with it, and what to do if the caller cannot make it again.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)  # both, so that it travels between processes
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


class Checksum(NamedTuple):
    """Of a file's bytes.

    Attributes:
        num_bytes: how many.
        crc32: CRC-32 as 8 hexadecimal digits.
    """

    num_bytes: int
    crc32: str

    @classmethod
    def of(cls, path: Path) -> Checksum:
        """Read a file and sum it up."""
        crc = num_bytes = 0
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                crc = zlib.crc32(block, crc)
                num_bytes += len(block)
        return cls(num_bytes, f"{crc:08x}")

    @classmethod
    def of_text(cls, text: str) -> Checksum:
        """Of a text in UTF-8."""
        content = text.encode()
        return cls(len(content), f"{zlib.crc32(content):08x}")


def check(path: Path, *noted: Checksum) -> None:
    """Compare a file with the checksums that it may have; each file is read once in a process.

    Raises:
        DamagedError: when the file is missing or has none of them.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise DamagedError(path, "is missing") from None
    seen = (path.absolute(), found.st_ino, found.st_mtime_ns, found.st_size, noted)
    if seen in _verified:
        return
    sizes = {n.num_bytes for n in noted}
    if found.st_size not in sizes or Checksum.of(path) not in noted:
        raise DamagedError(path, "differs from its checksum")
    _verified.add(seen)


def write_noted(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole or not at all, with a note of its checksum.

    The note is written before the file is put in place and keeps the checksums before, so that file
    and note fit each other whenever the process is killed. Equal bytes leave the note as it is.
    """

    def note(temporary: Path) -> None:
        new = Checksum.of(temporary)
        kept = _notes(path)[-KEPT_NOTES + 1 :] if path.is_file() else []
        if kept and kept[-1] == new:
            return
        path.parent.joinpath(NOTES).mkdir(exist_ok=True)
        write_json_atomically(_note_of(path), [*kept, new])

    write_atomically(path, write, before=note)


def is_noted(path: Path) -> bool:
    """Whether a file and the note of its checksum are there."""
    return path.is_file() and _note_of(path).is_file()


def check_noted(path: Path) -> None:
    """Compare a file with its note.

    Raises:
        DamagedError: when the file is missing, was not written by :func:`write_noted` or differs.
    """
    noted = _notes(path)
    if path.is_file() and not noted:
        raise DamagedError(path, "has no checksum")
    try:
        check(path, *noted)
    except DamagedError:
        if (now := _notes(path)) == noted:
            raise
        check(path, *now)  # another process has written the file since


def seal(folder: Path, *, leave: tuple[str, ...] = ()) -> None:
    """Note the checksums of a folder's files: the folder is finished.

    The seal takes the place of the files' own notes.

    Args:
        folder: its files are written; hidden ones and those set aside are not noted.
        leave: names of files that are not part of what is finished.
    """
    files = {p.name: Checksum.of(p)._asdict() for p in _files(folder) if p.name not in leave}
    write_json_atomically(folder / SEAL, {"files": files, "crc32": _sum_of(files)})
    shutil.rmtree(folder / NOTES, ignore_errors=True)


def is_sealed(folder: Path) -> bool:
    """Whether a folder was finished; :func:`verify` tells whether it still is what it was."""
    return (folder / SEAL).is_file()


def verify(folder: Path, *names: str) -> None:
    """Compare the files of a sealed folder with their checksums.

    Args:
        folder: a sealed folder.
        names: the files to compare; all if left out.

    Raises:
        DamagedError: naming the first file that is missing or differs.
    """
    path = folder / SEAL
    if not path.is_file():
        raise DamagedError(path, "is missing")
    try:
        content = read_json(path)
        files = content["files"]
        noted = {str(name): Checksum(**each) for name, each in files.items()}
        whole = content["crc32"] == _sum_of(files)
    except (ValueError, KeyError, TypeError, AttributeError):
        whole, noted = False, {}
    if not whole:
        raise DamagedError(path, "differs from its checksum")
    for name in names or noted:
        if name not in noted:
            raise DamagedError(folder / name, "is missing")
        check(folder / name, noted[name])


def is_whole(folder: Path, again: str) -> bool:
    """Whether a folder is sealed and all its files are what they were.

    A sealed folder with a damaged file is set aside with one warning.

    Args:
        folder: the folder.
        again: what is made again, for the warning.
    """
    if not is_sealed(folder):
        return False
    try:
        verify(folder)
    except DamagedError as error:
        set_aside(error, folder, again)
        return False
    return True


def sealed_file(path: Path, remedy: str) -> Path:
    """The path of a file in a sealed folder, once the file was compared with its checksum.

    Raises:
        DamagedError: with the remedy, when it is missing or differs or the folder is not sealed.
    """
    try:
        verify(path.parent, path.name)
    except DamagedError as error:
        raise DamagedError(error.path, f"{error.why}: {remedy}") from error
    return path


def set_aside(error: DamagedError, path: Path, again: str) -> Path:
    """Rename what is damaged and say so in one warning.

    Args:
        error: which file is damaged, and why.
        path: the file or folder to rename: the damaged file or the folder it lies in.
        again: what is made again.

    Returns:
        Its new path, ``<name>.damaged`` or ``<name>.damaged-2``.
    """
    taken = (path.with_name(f"{path.name}{DAMAGED}{end}") for end in _endings())
    place = next(p for p in taken if not p.exists())
    if path.exists():
        path.rename(place)
        logger.warning("%s: set aside as %s; %s", error, place.name, again)
    else:
        logger.warning("%s; %s", error, again)
    return place


def _endings() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1


def _files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and p.name != SEAL and not p.name.startswith(".") and DAMAGED not in p.name
    )


def _sum_of(files: Any) -> str:
    return Checksum.of_text(canonical_json(files)).crc32


def _note_of(path: Path) -> Path:
    return path.parent / NOTES / path.name


def _notes(path: Path) -> list[Checksum]:
    try:
        return [Checksum(int(num_bytes), str(crc)) for num_bytes, crc in read_json(_note_of(path))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):
        return [Checksum(-1, "")]  # a note that is damaged itself fits no file
