"""Locks between real processes, on file systems with and without flock."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hybrid_pipeline.storage import FileLock, LockedError, UnlockableError, locked, locks

HOLD = """
import fcntl, sys, time
from pathlib import Path
from hybrid_pipeline.storage import FileLock
if sys.argv[2] == "without":
    def flock(*_):
        raise OSError(38, "Function not implemented")
    fcntl.flock = flock
FileLock(Path(sys.argv[1])).acquire(wait_s=0)
print("held", flush=True)
time.sleep(60)
"""


def no_flock(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.fixture(params=["with", "without"])
def flock(request, monkeypatch):
    if request.param == "without":
        monkeypatch.setattr(fcntl, "flock", no_flock)
    return request.param


def test_one_holder_at_a_time_and_the_sentence_names_it(flock, tmp_path):
    path = tmp_path / "deep" / "a.lock"
    mine = rf"process {os.getpid()} on .* since"
    with FileLock(path).acquire(), pytest.raises(LockedError, match=mine):
        FileLock(path).acquire(wait_s=0)
    with FileLock(path).acquire(wait_s=0):
        pass


def test_a_killed_holder_stops_nobody(flock, tmp_path):
    path = tmp_path / "a.lock"
    command = [sys.executable, "-c", HOLD, str(path), flock]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {process.pid} "):
            FileLock(path).acquire(wait_s=0)
        process.send_signal(signal.SIGKILL)
    with FileLock(path).acquire(wait_s=0):
        pass


def test_another_machine_that_fell_silent_stops_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_flock)
    path = tmp_path / "a.lock"
    held = tmp_path / "a.lock.held"
    held.write_text(json.dumps({"pid": 1, "host": "elsewhere", "since_s": 0}))
    with pytest.raises(LockedError, match="process 1 on elsewhere"):
        FileLock(path).acquire(wait_s=0)
    silent = time.time() - locks.STALE_S - 5
    os.utime(held, (silent, silent))
    with FileLock(path).acquire(wait_s=0):
        assert json.loads(held.read_text())["pid"] == os.getpid()
    assert not held.exists()


def test_a_living_holder_is_seen_to_live(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_flock)
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.01)
    with FileLock(tmp_path / "a.lock").acquire():
        held = tmp_path / "a.lock.held"
        os.utime(held, (0, 0))
        deadline = time.monotonic() + 10
        while held.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.stat().st_mtime > 1


def test_who_waits_gets_its_turn(flock, tmp_path):
    code = (
        "import sys, time, fcntl\n"
        "from pathlib import Path\n"
        "from hybrid_pipeline.storage import locked\n"
        "def flock(*_): raise OSError(38, 'Function not implemented')\n"
        "if sys.argv[2] == 'without': fcntl.flock = flock\n"
        "count = Path(sys.argv[1]) / 'count'\n"
        "for _ in range(20):\n"
        "    with locked(Path(sys.argv[1]) / 'a.lock'):\n"
        "        seen = int(count.read_text())\n"
        "        time.sleep(0.001)\n"
        "        count.write_text(str(seen + 1))\n"
    )
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", code, str(tmp_path), flock]
    children = [subprocess.Popen(command) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert (tmp_path / "count").read_text() == "40"


def test_where_nothing_works_the_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_flock)
    real = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_EXCL:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    named = f"{tmp_path} allows no lock .*storage.root"
    with pytest.raises(UnlockableError, match=named), locked(tmp_path / "a.lock"):
        pass
