"""The weights of a TorchScript archive, read without running the archive's code.

``torch.jit.load`` compiles and runs what the archive brings: a ``__setstate__`` can write any file.
An archive is a zip of code, of ``data.pkl`` (the tree of modules, pickled) and of the tensors'
bytes. Here only the tree and the bytes are read, by an unpickler that builds tensors and plain
containers and knows nothing else (format: torch/csrc/jit/docs/serialization.md).
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from torch import Tensor

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
MAX_VALUES, MAX_NAME = 1_000_000, 1_000


class TorchScriptError(ValueError):
    """An archive whose tensors cannot be read without running its code, or a damaged one."""


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor of the archive's modules by its dotted name, on the CPU, in its own dtype.

    Raises:
        TorchScriptError: when the archive packs a module's state by code of its own, holds anything
            but tensors and plain values, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tree = _Reader(archive).read()
    except TorchScriptError:
        raise
    except Exception as error:  # a damaged archive fails in any way
        raise TorchScriptError(f"it is damaged ({type(error).__name__}: {error})") from error
    return dict(_tensors(tree))


class _Reader(pickle.Unpickler):
    """Unpickles ``data.pkl``: modules become records, everything else is built here or refused."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._root = _root_of(archive)
        self._storages: dict[str, _Box] = {}
        self._record = type("Record", (_Record,), {})  # of this archive: it cannot change another's
        super().__init__(io.BytesIO(self._bytes("data.pkl")))

    def read(self) -> _Record:
        """The tree of modules."""
        order = f"{self._root}/byteorder"
        if order in self._archive.namelist() and self._archive.read(order) != b"little":
            raise TorchScriptError("its numbers are not little-endian")
        tree = self.load()
        if not isinstance(tree, _Record):
            raise TorchScriptError(f"it holds a {type(tree).__name__} and no module")
        return tree

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for; nothing is ever imported."""
        if module == "__torch__" or module.startswith("__torch__."):
            return self._record
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): dict,
            ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
            ("torch.jit._pickle", "restore_type_tag"): _Call(lambda value, _: value),
            **{("torch.jit._pickle", each): _Call(list) for each in LISTS},
            **{("torch", each): dtype for each, dtype in STORAGES.items()},
        }
        if (module, name) not in known:
            raise TorchScriptError(f"it names {module}.{name}, which is no tensor or plain value")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Box:
        """One storage as a flat tensor; each is read once."""
        kind, dtype, key, _device, num_values = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise TorchScriptError("a tensor's bytes are not named as a storage")
        if key not in self._storages:
            content = self._bytes(f"data/{PurePosixPath(key).name}")
            if len(content) != num_values * dtype.itemsize:
                raise TorchScriptError(
                    f"storage {key} has {len(content)} bytes, not as many as noted"
                )
            flat = (
                torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
            self._storages[key] = _Box(flat)
        return self._storages[key]

    def _bytes(self, name: str) -> bytearray:
        entry = self._archive.getinfo(f"{self._root}/{name}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise TorchScriptError(f"{name} is compressed, which torch never does to tensors")
        return bytearray(self._archive.read(entry))  # compares the entry's CRC


class _Box(NamedTuple):
    """A tensor that the pickle cannot reach into."""

    tensor: Tensor


class _Record:
    """A module or another object of the archive's classes: its attributes, and no code."""

    state: Mapping[str, Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise TorchScriptError(
                "a module in it packs its state by code of its own, and unpacking it would run that"
                " code"
            )
        self.__dict__["state"] = state


class _Call:
    """A function that the pickle may call, without attributes that it could change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def _tensor(
    box: _Box, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_grad: Any
) -> _Box:
    whole = all(isinstance(n, int) and n >= 0 for n in (offset, *size, *stride))
    if not (isinstance(box, _Box) and whole and len(size) == len(stride)):
        raise TorchScriptError("a tensor's shape is damaged")
    flat = box.tensor
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = 1
    for n in size:
        count *= n
    if count and (last >= flat.numel() or count > flat.numel()):
        raise TorchScriptError("a tensor reaches beyond its bytes")
    return _Box(torch.as_strided(flat, size, stride, offset) if count else flat.new_empty(size))


def _root_of(archive: zipfile.ZipFile) -> str:
    roots = [
        str(PurePosixPath(name).parent)
        for name in archive.namelist()
        if PurePosixPath(name).name == "data.pkl" and len(PurePosixPath(name).parts) == 2
    ]
    if len(roots) != 1:
        raise TorchScriptError("it holds no data.pkl")
    return roots[0]


def _tensors(tree: _Record) -> Iterator[tuple[str, Tensor]]:
    """Tensors that are attributes of modules, with their names, depth first."""
    waiting: list[tuple[str, _Record]] = [("", tree)]
    seen = 0
    while waiting:
        prefix, record = waiting.pop()
        for name, value in getattr(record, "state", {}).items():
            seen += 1
            if seen > MAX_VALUES or len(prefix) > MAX_NAME:
                raise TorchScriptError("its tree of modules does not end")
            if isinstance(value, _Box):
                yield f"{prefix}{name}", value.tensor
            elif isinstance(value, _Record):
                waiting.append((f"{prefix}{name}.", value))
