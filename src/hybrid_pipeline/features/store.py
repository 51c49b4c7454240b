"""Arrays on disk: npy shards and a manifest, written atomically, read by whole-batch gathers.

A shard is a file ``shard_00000.<array>.npy`` per array. It is written to a temporary file, synced
and renamed; its entry enters ``manifest.json`` last. So a shard that is in the manifest is whole,
and a run that was killed goes on with the shards that are missing.

The manifest holds a checksum of every shard and one of itself. A shard is compared with its own
when a process first reads it; one that differs is set aside and made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from hybrid_pipeline.storage import (
    Checksum,
    DamagedError,
    canonical_json,
    check,
    locked,
    read_json,
    set_aside,
    write_atomically,
    write_json_atomically,
)

MANIFEST = "manifest.json"
SPARE_BYTES = 64 * 2**20


class StoreError(RuntimeError):
    """A store is missing, damaged, incomplete or of another key; one sentence."""


class DiskFullError(StoreError):
    """The disk cannot hold what is about to be written."""


def check_disk(folder: Path, num_bytes: int) -> None:
    """Refuse up front what does not fit.

    Raises:
        DiskFullError: naming the bytes needed and free.
    """
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    needed = num_bytes + SPARE_BYTES
    if needed > free:
        raise DiskFullError(
            f"{folder} needs {needed:,} bytes ({needed / 2**30:.1f} GiB), but only {free:,} bytes"
            f" ({free / 2**30:.1f} GiB) are free on its disk"
        )


class ArrayStore:
    """Rows of one or more arrays, cut into shards of equal length.

    Attributes:
        root: the folder.
        key: content key of what made the arrays.
        num_rows: rows of each array.
        rows_per_shard: rows of each shard but the last.
        meta: whatever the writer noted.
        remake: writes a shard of a store again from its sources; None where nothing can.
    """

    def __init__(self, root: Path, manifest: dict[str, Any]) -> None:
        self.root = root
        self.remake: Callable[[Any, int], None] | None = None
        self._manifest = manifest
        self._maps: dict[tuple[str, int], np.ndarray] = {}

    @classmethod
    def create(
        cls,
        root: Path,
        key: str,
        num_rows: int,
        rows_per_shard: int,
        meta: Mapping[str, Any],
        *,
        row_bytes: int = 0,
    ) -> Self:
        """Begin a store, or go on with one of the same key.

        Args:
            root: its folder.
            key: content key; shards of another key are never mixed in.
            num_rows: rows in all.
            rows_per_shard: rows of a shard.
            meta: JSON values kept in the manifest.
            row_bytes: bytes of one row of all arrays, for the check of the disk.

        Raises:
            StoreError: when another key's store lies there.
            DiskFullError: when the missing shards do not fit.
        """
        if num_rows < 1 or rows_per_shard < 1:
            raise StoreError(f"{root}: a store needs rows, not {num_rows} in {rows_per_shard}s")
        manifest = {
            "key": key,
            "num_rows": num_rows,
            "rows_per_shard": rows_per_shard,
            "meta": dict(meta),
            "shards": {},
        }
        store = cls.found(root) or cls(root, manifest)
        store._check_same(key, num_rows, rows_per_shard)
        check_disk(root, row_bytes * sum(len(store.shard_rows(i)) for i in store.missing_shards()))
        root.mkdir(parents=True, exist_ok=True)
        with store._locked():
            if not (root / MANIFEST).is_file():
                _write_manifest(root, manifest)
        return store

    @classmethod
    def found(cls, root: Path) -> Self | None:
        """The store that lies there; one whose manifest is damaged is begun again."""
        if not (root / MANIFEST).is_file():
            return None
        try:
            _read_manifest(root)
        except DamagedError as error:
            set_aside(error, error.path, f"all of {root} is made again")
            return None
        return cls.open(root)

    @classmethod
    def open(cls, root: Path, *, remake: Callable[[Any, int], None] | None = None) -> Self:
        """Open a store, whole or not.

        Shards whose files are gone or have another size than noted count as missing.

        Args:
            root: its folder.
            remake: called with the store and the number of a damaged shard; writes it again.

        Raises:
            StoreError: when there is none, or its manifest is damaged.
        """
        if not (root / MANIFEST).is_file():
            raise StoreError(f"{root} holds no {MANIFEST}")
        try:
            manifest = _read_manifest(root)
        except DamagedError as error:
            raise StoreError(
                f"{error}: run the whole pipeline again, which sets it aside and makes it again"
            ) from error
        store = cls(root, manifest)
        store.remake = remake
        store._forget_damaged()
        return store

    @property
    def key(self) -> str:
        """Content key of what made the arrays."""
        return str(self._manifest["key"])

    @property
    def num_rows(self) -> int:
        """Rows of each array."""
        return int(self._manifest["num_rows"])

    @property
    def rows_per_shard(self) -> int:
        """Rows of each shard but the last."""
        return int(self._manifest["rows_per_shard"])

    @property
    def meta(self) -> dict[str, Any]:
        """Whatever the writer noted."""
        return dict(self._manifest["meta"])

    @property
    def num_shards(self) -> int:
        """Shards of the finished store."""
        return -(-self.num_rows // self.rows_per_shard)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays written so far."""
        return tuple(sorted({name for s in self._manifest["shards"].values() for name in s}))

    @property
    def is_complete(self) -> bool:
        """Whether every shard is there."""
        return not self.missing_shards()

    def missing_shards(self) -> list[int]:
        """Numbers of the shards still to be written."""
        return [i for i in range(self.num_shards) if str(i) not in self._manifest["shards"]]

    def shard_rows(self, shard: int) -> range:
        """The rows of a shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.num_rows))

    def write_shard(self, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write one shard of every array; workers may write different shards at once.

        Raises:
            StoreError: when an array does not have the shard's rows, or differs in name, dtype or
                shape from the shards before it.
        """
        if not 0 <= shard < self.num_shards:
            raise StoreError(f"{self.root} has {self.num_shards} shards, there is no {shard}")
        entry = {}
        for name, array in arrays.items():
            if len(array) != len(self.shard_rows(shard)):
                raise StoreError(
                    f"shard {shard} of {name!r} must have {len(self.shard_rows(shard))} rows,"
                    f" not {len(array)}"
                )
            entry[name] = self._write_array(shard, name, np.ascontiguousarray(array))
        self._enter(shard, entry)

    def note(self, **meta: Any) -> None:
        """Add JSON values to the manifest."""
        with self._locked_manifest() as manifest:
            manifest["meta"].update(meta)

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows of an array in any order, read through memory maps.

        Args:
            name: the array.
            rows: int64 [n], between 0 and ``num_rows``.

        Returns:
            [n, ...] in the array's dtype.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= self.num_rows):
            raise IndexError(f"rows must be between 0 and {self.num_rows - 1} in {self.root}")
        shards, inside = np.divmod(rows, self.rows_per_shard)
        first = self._map(name, int(shards[0]) if len(rows) else 0)
        out = np.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
        for shard in np.unique(shards):
            here = shards == shard
            out[here] = self._map(name, int(shard))[inside[here]]
        return out

    def load(self, name: str) -> np.ndarray:
        """A whole array in memory, [num_rows, ...]."""
        return np.concatenate([self._map(name, i) for i in range(self.num_shards)])

    def shard(self, name: str, shard: int) -> np.ndarray:
        """One shard of an array, memory-mapped."""
        return self._map(name, shard)

    def verify(self) -> None:
        """Read every shard and compare it with its checksum.

        Raises:
            StoreError: naming the first file that differs.
        """
        for shard in self._manifest["shards"]:
            self._verify_shard(int(shard))

    def _verify_shard(self, shard: int) -> None:
        for name, noted in self._manifest["shards"].get(str(shard), {}).items():
            try:
                check(self._path(shard, name), _checksum(noted))
            except DamagedError as error:
                raise StoreError(f"{error}; delete it and run again") from error

    def _path(self, shard: int, name: str) -> Path:
        return self.root / f"shard_{shard:05d}.{name}.npy"

    def _map(self, name: str, shard: int) -> np.ndarray:
        if (name, shard) not in self._maps:
            if not self._is_whole(name, shard):
                self._make_again(name, shard)
            self._maps[name, shard] = np.load(self._path(shard, name), mmap_mode="r")
        return self._maps[name, shard]

    def _is_whole(self, name: str, shard: int) -> bool:
        """Whether an array's shard is there; one that differs from its checksum is set aside."""
        noted = self._manifest["shards"].get(str(shard), {}).get(name)
        if noted is None:
            return False
        try:
            check(self._path(shard, name), _checksum(noted))
        except DamagedError as error:
            if self.remake is None:
                raise StoreError(f"{error}; delete it and run again") from error
            self._set_aside(shard)
            return False
        return True

    def _make_again(self, name: str, shard: int) -> None:
        """Let a shard be written again that is not there, or no longer."""
        if self.remake is not None:
            self.remake(self, shard)
            self._manifest = _read_manifest(self.root)
        if name not in self._manifest["shards"].get(str(shard), {}):
            raise StoreError(f"{self.root} has no shard {shard} of {name!r} yet")
        self._verify_shard(shard)

    def _set_aside(self, shard: int) -> None:
        """Set a damaged shard aside, unless another process has done it."""
        with self._locked_manifest() as manifest:
            self._drop(manifest, shard)

    def _drop(self, manifest: dict[str, Any], shard: int) -> None:
        """Take a shard out of the manifest if a file of it is missing or damaged."""
        for name, noted in manifest["shards"].get(str(shard), {}).items():
            try:
                check(self._path(shard, name), _checksum(noted))
            except DamagedError as error:
                again = f"shard {shard} of {self.num_shards} is made again"
                set_aside(error, error.path, again)
                del manifest["shards"][str(shard)]
                break

    def _write_array(self, shard: int, name: str, array: np.ndarray) -> dict[str, Any]:
        path = self._path(shard, name)
        write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))
        num_bytes, crc32 = Checksum.of(path)
        return {
            "dtype": array.dtype.str,
            "shape": list(array.shape[1:]),
            "bytes": num_bytes,
            "crc32": crc32,
        }

    def _enter(self, shard: int, entry: dict[str, Any]) -> None:
        with self._locked_manifest() as manifest:
            for other in manifest["shards"].values():
                if _forms(entry) != _forms(other):
                    raise StoreError(
                        f"shard {shard} holds {_forms(entry)}, the others {_forms(other)}"
                    )
                break
            manifest["shards"][str(shard)] = entry

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.root / ".lock"):
            yield

    @contextmanager
    def _locked_manifest(self) -> Iterator[dict[str, Any]]:
        """The manifest as it is on disk, written back unless the block raises."""
        with self._locked():
            manifest = _read_manifest(self.root)
            yield manifest
            _write_manifest(self.root, manifest)
            self._manifest = manifest

    def _forget_damaged(self) -> None:
        if all(self._is_there(int(s), e) for s, e in self._manifest["shards"].items()):
            return
        with self._locked_manifest() as manifest:
            for shard, entry in list(manifest["shards"].items()):
                if not self._is_there(int(shard), entry):
                    self._drop(manifest, int(shard))

    def _is_there(self, shard: int, entry: Mapping[str, Any]) -> bool:
        """Whether a shard's files have the noted sizes; their content is not read."""
        paths = {self._path(shard, name): noted["bytes"] for name, noted in entry.items()}
        return all(p.is_file() and p.stat().st_size == size for p, size in paths.items())

    def _check_same(self, key: str, num_rows: int, rows_per_shard: int) -> None:
        found = (self.key, self.num_rows, self.rows_per_shard)
        if found != (key, num_rows, rows_per_shard):
            raise StoreError(
                f"{self.root} holds a store of key {found[0]} with {found[1]} rows in shards of"
                f" {found[2]}, not of key {key} with {num_rows} in {rows_per_shard}"
            )


def _forms(entry: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {name: (noted["dtype"], noted["shape"]) for name, noted in entry.items()}


def _checksum(noted: Mapping[str, Any]) -> Checksum:
    return Checksum(noted["bytes"], noted["crc32"])


def _write_manifest(root: Path, manifest: Mapping[str, Any]) -> None:
    crc32 = Checksum.of_text(canonical_json(manifest)).crc32
    write_json_atomically(root / MANIFEST, {**manifest, "crc32": crc32})


def _read_manifest(root: Path) -> dict[str, Any]:
    """The manifest without its own checksum.

    Raises:
        DamagedError: when it is no JSON, lacks its checksum or differs from it.
    """
    path = root / MANIFEST
    try:
        content = read_json(path)
        crc32 = content.pop("crc32")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(path, "is damaged: it holds no manifest with a checksum") from error
    if crc32 != Checksum.of_text(canonical_json(content)).crc32:
        raise DamagedError(path, "is damaged: it differs from its checksum")
    return dict(content)
