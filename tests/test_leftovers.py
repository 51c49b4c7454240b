"""Temporary files: swept once nobody writes them; writes where the file system lacks something."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from hybrid_pipeline.storage import sweep, write_atomically, write_text_atomically

KILLED_WHILE_WRITING = """
import sys, time
from pathlib import Path
from hybrid_pipeline.storage import write_atomically
def write(file):
    file.write(b"half"); file.flush()
    print("writing", flush=True)
    time.sleep(60)
write_atomically(Path(sys.argv[1]), write)
"""


def old(path, age_s=30.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_a_kill_left_is_swept_and_what_is_being_written_is_not(tmp_path):
    cell = tmp_path / "06_models" / "cells" / "abc"
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(cell / "updates.parquet")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        (temporary,) = cell.iterdir()
        assert sweep(tmp_path, before_s=time.time() + 60) == []
        process.send_signal(signal.SIGKILL)
    assert sweep(tmp_path, before_s=time.time() + 60) == [temporary]
    assert list(cell.iterdir()) == []


def test_only_our_temporary_files_of_earlier_runs(tmp_path):
    leftover = old(tmp_path / "06_models/cells/abc/.updates.parquet.k53qf38d")
    kept = [
        old(tmp_path / "06_models/cells/abc/updates.parquet"),
        old(tmp_path / "04_feature/abc/.lock"),
        old(tmp_path / "01_raw/.mine.settings"),
        old(tmp_path / "06_models/cells/abc/.new.abcdefgh", age_s=-30),
    ]
    assert sweep(tmp_path, before_s=time.time()) == [leftover]
    assert all(path.is_file() for path in kept)
    assert sweep(tmp_path / "nowhere", before_s=time.time()) == []


def test_without_flock_a_leftover_stays_for_an_hour(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    old(tmp_path / "04_feature/.a.npy.abcdefgh")
    hours = old(tmp_path / "04_feature/.b.npy.abcdefgh", age_s=7200)
    assert sweep(tmp_path, before_s=time.time()) == [hours]


@pytest.mark.parametrize(
    ("module", "name", "code"),
    [(os, "fchmod", errno.EPERM), (os, "fsync", errno.EINVAL), (fcntl, "flock", errno.ENOSYS)],
)
def test_a_file_system_without_permissions_fsync_or_locks(
    module, name, code, tmp_path, monkeypatch
):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, name, refuse)
    write_text_atomically(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


def test_a_full_disk_names_the_file(tmp_path):
    def fill(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "effects.csv"
    with pytest.raises(OSError, match=r"No space left on device: '.*/effects\.csv'"):
        write_atomically(path, fill)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/effects\.csv"):
        write_text_atomically(tmp_path / "file" / "effects.csv", "")
