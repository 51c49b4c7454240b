"""Locks between processes, on one machine or on several that share a folder.

``flock`` is tried first: the kernel frees it when its holder dies, on NFS as well. Some file
systems do not have it ("Function not implemented", "Operation not supported"); there a second file
that only one process can create is the lock. Its holder touches it every few seconds, so that it
can be told from what a killed process left.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

LOCKS = ".locks"  # beside folders of keys: one process at a time makes what lies under a key
POLL_S = 0.02
HEARTBEAT_S = 5.0
STALE_S = 60.0
NOT_HERE = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EPERM}


class LockedError(RuntimeError):
    """Somebody else holds the lock; the message says who."""


class UnlockableError(OSError):
    """The folder allows no lock of either kind."""


class FileLock:
    """One lock, named by a file that stays when it is released.

    Args:
        path: the file; its folder is made when needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._stopped: threading.Event | None = None

    @property
    def _exclusive(self) -> Path:
        return self.path.with_name(f"{self.path.name}.held")

    def acquire(self, wait_s: float = float("inf")) -> Self:
        """Take the lock.

        Args:
            wait_s: how long to wait for another holder.

        Raises:
            LockedError: when somebody else still has it then.
            UnlockableError: if the folder allows no lock; naming it.
        """
        deadline = time.monotonic() + wait_s
        while not self._try():
            if time.monotonic() >= deadline:
                raise LockedError(f"{self.path} is held by {self.holder()}")
            time.sleep(POLL_S)
        return self

    def release(self) -> None:
        """Give the lock back; without it, nothing happens."""
        if self._stopped is not None:
            self._stopped.set()
            self._stopped = None
            self._exclusive.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> str:
        """Who took the lock last, as ``process 12 on host since 14:05``."""
        for path in (self._exclusive, self.path):
            with suppress(OSError, ValueError, TypeError, KeyError):
                owner = json.loads(path.read_text("utf-8"))
                since = time.strftime("%d %b %H:%M", time.localtime(owner["since_s"]))
                return f"process {owner['pid']} on {owner['host']} since {since}"
        return "another process"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _try(self) -> bool:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            if isinstance(error, BlockingIOError):
                return False
            if error.errno in NOT_HERE:
                return self._try_exclusive()
            raise self._unlockable(error) from error
        self._sign(self._descriptor)
        return True

    def _try_exclusive(self) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self._exclusive, flags, 0o666)
        except FileExistsError:
            if not self._is_stale():
                return False
            self._exclusive.unlink(missing_ok=True)
            return self._try_exclusive()
        except OSError as error:
            raise self._unlockable(error) from error
        self._sign(descriptor)
        os.close(descriptor)
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, args=(self._stopped,), daemon=True).start()
        return True

    def _beat(self, stopped: threading.Event) -> None:
        while not stopped.wait(HEARTBEAT_S):
            with suppress(OSError):
                os.utime(self._exclusive)

    def _is_stale(self) -> bool:
        """Whether the holder is dead: on this machine by its number, elsewhere by its silence.

        The age is measured with the file system's own clock: machines' clocks differ.
        """
        try:
            owner = json.loads(self._exclusive.read_text("utf-8"))
            if owner["host"] == socket.gethostname():
                return not _is_alive(int(owner["pid"]))
        except (OSError, ValueError, TypeError, KeyError):
            pass  # just being written, or just released
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=self.path.parent) as now:
            age_s = Path(now.name).stat().st_mtime - self._exclusive.stat().st_mtime
            return age_s > STALE_S
        return False

    def _sign(self, descriptor: int) -> None:
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since_s": int(time.time())}
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)

    def _unlockable(self, error: OSError) -> UnlockableError:
        return UnlockableError(
            error.errno,
            f"{self.path.parent} allows no lock ({error.strerror}): use a folder where files can "
            "be made, such as another storage.root",
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock for the length of the block; waits for its turn."""
    with FileLock(path).acquire():
        yield


def is_in_use(path: Path) -> bool | None:
    """Whether a process holds a ``flock`` on a file; ``None`` if that cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return True if isinstance(error, BlockingIOError) else None
    finally:
        os.close(descriptor)
    return False


def hold_open_file(file: Any) -> None:
    """Mark a file as in use until it is closed, if the file system can."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
