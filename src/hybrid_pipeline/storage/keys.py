"""Content keys: a hash of parameters, data, weights, versions and the code that matters."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hybrid_pipeline.storage.code import code_of
from hybrid_pipeline.storage.files import canonical_json

PACKAGE_ROOT = Path(__file__).parents[1]


def content_key(*parts: Any) -> str:
    """A 16-digit hexadecimal key of the parts (Pydantic models, mappings, sequences, scalars)."""
    text = canonical_json([_plain(p) for p in parts])
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
    return _fingerprint(PACKAGE_ROOT, _source_files(modules))


@cache
def package_fingerprint(name: str) -> str:
    """The same over a whole package, or a single module, of the user's.

    Args:
        name: of the top-level package or module, which can be imported.
    """
    spec = importlib.util.find_spec(name)
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    if folders:
        root, files = folders[0], [file for place in folders for file in place.rglob("*.py")]
    elif spec is not None and spec.origin is not None:
        root, files = Path(spec.origin).parent, [Path(spec.origin)]
    else:
        raise ValueError(f"the code of module {name!r} cannot be found, so it has no fingerprint")
    return _fingerprint(root, sorted(files))


def _fingerprint(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(os.path.relpath(path, root).encode())
        digest.update(code_of(path.read_text("utf-8")).encode())
    return digest.hexdigest()[:16]


def _source_files(modules: Iterable[str]) -> list[Path]:
    files: list[Path] = []
    for module in modules:
        path = PACKAGE_ROOT / module
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        files.extend(found)
    return files


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions of distributions, for keys and provenance."""
    return {name: metadata.version(name) for name in names}
