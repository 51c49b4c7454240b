"""A key over the code that a piece of work runs: its modules and all that they import.

Comments, docstrings and layout do not count. Every import statement is followed, also one inside a
function. A package's ``__init__`` that only passes names on is looked through: ``from package
import name`` reaches the module that ``name`` comes from, and not its neighbours.
"""

from __future__ import annotations

import ast
import hashlib
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

_PARSER = threading.Lock()
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class _Source:
    """A parsed module.

    Attributes:
        digest: of its code.
        names: (module, name) of each ``from module import name``; name "" of ``import module``.
        passes_on: for an ``__init__`` that does nothing else, name -> (module, name) it passes on.
    """

    digest: str
    names: frozenset[tuple[str, str]]
    passes_on: dict[str, tuple[str, str]] | None


def code_key(roots: Iterable[str], ignored: Collection[str] = ()) -> str:
    """A 16-digit hexadecimal key over the code of ``import_closure``."""
    digest = hashlib.sha256()
    for module in import_closure(roots, ignored):
        digest.update(f"{module} {_source(module).digest}\n".encode())
    return digest.hexdigest()[:16]


def import_closure(roots: Iterable[str], ignored: Collection[str] = ()) -> tuple[str, ...]:
    """The modules that the roots reach by imports, within the roots' packages, sorted.

    Args:
        roots: full names of modules, such as ``hybrid_pipeline.training.cell``.
        ignored: modules and packages that are neither counted nor followed.

    Raises:
        ValueError: for a root that is no module.
    """
    start = list(roots)
    unknown = [root for root in start if _path(root) is None]
    if unknown:
        raise ValueError(f"there is no module {unknown[0]!r} to make a key of")
    tops = {root.partition(".")[0] for root in start}
    found: set[str] = set()
    while start:
        module = start.pop()
        if module not in found and not _is_in(module, ignored):
            found.add(module)
            start += _reached(module, tops)
    return tuple(sorted(found))


def _is_in(module: str, packages: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def _reached(module: str, tops: Collection[str]) -> Iterator[str]:
    """What a module's imports execute or take names from, within some top-level packages."""
    yield from _packages_of(module)
    for source, name in _source(module).names:
        if source.partition(".")[0] in tops:
            yield from _packages_of(source)
            yield from _origin(source, name)


def _packages_of(module: str) -> Iterator[str]:
    """The packages around a module whose ``__init__`` does more than pass names on."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        if _path(package) is not None and _source(package).passes_on is None:
            yield package


def _origin(module: str, name: str) -> Iterator[str]:
    """The module that a name comes from; ``*`` and unknown names come from the module itself."""
    if name and _path(f"{module}.{name}") is not None:
        yield f"{module}.{name}"
    elif _path(module) is not None:
        passes_on = _source(module).passes_on or {}
        if name in passes_on:
            yield from _packages_of(passes_on[name][0])
            yield from _origin(*passes_on[name])
        else:
            yield module


@cache
def _path(module: str) -> Path | None:
    """The file of a module, found without importing it; None for none, as of a bare folder."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return None if rest or spec.origin is None else Path(spec.origin)
    bases = [Path(folder).joinpath(*rest) for folder in spec.submodule_search_locations]
    candidates = [path for b in bases for path in (b / "__init__.py", b.with_suffix(".py"))]
    return next((path for path in candidates if path.is_file()), None)


@cache
def _source(module: str) -> _Source:
    path = _path(module)
    if path is None:
        raise ValueError(f"there is no module {module!r} to make a key of")
    text = path.read_text("utf-8")
    tree = _parsed(text)
    is_package = path.name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    passes_on = _passed_on(tree, package) if is_package else None
    names = frozenset(_imported(tree, package))
    digest = hashlib.sha256(code_of(text).encode()).hexdigest()
    return _Source(digest, names, passes_on)


def _imported(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((_absolute(node, package), alias.name) for alias in node.names)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    return resolve_name("." * node.level + (node.module or ""), package)


def _passed_on(tree: ast.Module, package: str) -> dict[str, tuple[str, str]] | None:
    """What an ``__init__`` of imports and labels passes on; None for one that does more."""
    passed: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            source = _absolute(node, package)
            passed |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
        elif not (_is_docstring(node) or _is_label(node)):
            return None
    return passed


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_label(node: ast.stmt) -> bool:
    """Whether it sets ``__all__``, ``__version__`` or the like."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return bool(targets) and all(isinstance(t, ast.Name) and t.id[:2] == "__" for t in targets)


def _parsed(text: str) -> ast.Module:
    """A module's tree, for one thread at a time: Python 3.11 mixes up how deep two of them are."""
    with _PARSER:
        return ast.parse(text)


@cache
def code_of(text: str) -> str:
    """The code of a module's text without comments, docstrings and layout.

    Kept by text: several keys of a run have modules in common, and writing a tree takes long.
    """
    tree = _parsed(text)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and node.body and _is_docstring(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
