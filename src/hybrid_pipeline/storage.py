"""Content keys and atomic files: a result is found under what made it, or it is not there.

A key is a hash over resolved parameters, data, frozen weights, library versions and the code that
matters. A file appears whole or not at all: temporary file, fsync, ``os.replace``.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

PACKAGE_ROOT = Path(__file__).parent


def content_key(*parts: Any) -> str:
    """A 16-digit hexadecimal key of the parts (Pydantic models, mappings, sequences, scalars)."""
    text = json.dumps([_plain(p) for p in parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(v) for v in value)
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    raise TypeError(f"no canonical form for a {type(value).__name__} in a content key")


def file_key(path: Path) -> str:
    """SHA-256 of a file's bytes, shortened to 16 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


@cache
def code_fingerprint(*modules: str) -> str:
    """A key over the code of some modules or packages, blind to comments and docstrings.

    Args:
        modules: paths below the package, such as ``"models"`` or ``"arms.py"``.
    """
    digest = hashlib.sha256()
    for path in _source_files(modules):
        tree = ast.parse(path.read_text("utf-8"))
        _drop_docstrings(tree)
        digest.update(str(path.relative_to(PACKAGE_ROOT)).encode())
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()[:16]


def _source_files(modules: Iterable[str]) -> list[Path]:
    files: list[Path] = []
    for module in modules:
        path = PACKAGE_ROOT / module
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        files.extend(found)
    return files


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions of distributions, for keys and provenance."""
    return {name: metadata.version(name) for name in names}


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call ``write`` on a temporary file beside ``path``, fsync it and put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's mask of permissions; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old file or the new one."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json_atomically(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values are equal files."""
    write_text_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text("utf-8"))


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
