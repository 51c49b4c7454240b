"""A note or a seal sees every change of its files, and no kill makes one that does not fit."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from damage import flip_bit, flip_bytes, replace_bytes, truncate, zero_half
from hybrid_pipeline.storage import (
    Checksum,
    DamagedError,
    check,
    check_noted,
    checksums,
    is_sealed,
    seal,
    set_aside,
    verify,
    write_noted,
)

CONTENT = bytes(range(256)) * 20


def written(path: Path, content: bytes = CONTENT) -> Path:
    write_noted(path, lambda file: file.write(content))
    return path


def test_the_checksum_is_crc_32(tmp_path: Path) -> None:
    (tmp_path / "check").write_bytes(b"123456789")  # the check value of CRC-32/ISO-HDLC
    assert Checksum.of(tmp_path / "check") == (9, "cbf43926")
    (tmp_path / "long").write_bytes(CONTENT * 700)  # more than one block
    assert Checksum.of(tmp_path / "long").crc32 == f"{zlib.crc32(CONTENT * 700):08x}"
    assert Checksum.of_text("123456789") == (9, "cbf43926")


def test_a_file_that_is_written_while_it_is_read_is_no_damage(tmp_path: Path, monkeypatch) -> None:
    """The note is read before the file: what another process puts in place then is read too."""
    path = written(tmp_path / "a", b"first")
    read_notes = checksums._notes
    seen = []

    def notes_before_the_second(path: Path) -> list[Checksum]:
        found = read_notes(path)
        if not seen:
            seen.append(found)
            written(path, b"second")
        return found

    monkeypatch.setattr(checksums, "_notes", notes_before_the_second)
    check_noted(path)
    assert path.read_bytes() == b"second"
    replace_bytes(path, b"other")
    with pytest.raises(DamagedError):
        check_noted(path)


def test_every_flipped_bit_of_a_small_file_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "a", CONTENT[:40])
    check_noted(path)
    for place in range(40):
        for bit in range(8):
            flip_bit(path, place, bit)
            with pytest.raises(DamagedError, match=r"a differs from its checksum"):
                check_noted(path)
            flip_bit(path, place, bit)
    check_noted(path)


@pytest.mark.parametrize(
    "damage", [flip_bytes, zero_half, lambda p: truncate(p, 0), lambda p: truncate(p, 999)]
)
def test_damage_is_seen_in_a_noted_and_in_a_sealed_file(tmp_path: Path, damage) -> None:
    noted, sealed = written(tmp_path / "noted" / "a"), written(tmp_path / "sealed" / "a")
    seal(sealed.parent)
    verify(sealed.parent)
    damage(noted)
    damage(sealed)
    looks = (
        lambda: check_noted(noted),
        lambda: verify(sealed.parent),
        lambda: verify(sealed.parent, "a"),
    )
    for see in looks:
        with pytest.raises(DamagedError, match=r"a differs from its checksum"):
            see()
    noted.unlink()
    sealed.unlink()
    for see in looks:
        with pytest.raises(DamagedError, match="a is missing"):
            see()


def test_a_file_without_a_note_or_with_a_damaged_one_is_not_trusted(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    note = tmp_path / ".checksums" / "a"
    kept = note.read_bytes()
    for content in (b"", b"[[", b"{}", b"[1]", b"[[5120]]", b"\xff\xfe", kept[:-4], b"null"):
        note.write_bytes(content)
        with pytest.raises(DamagedError, match=r"a (has no|differs from its) checksum"):
            check_noted(path)
    note.unlink()
    with pytest.raises(DamagedError, match="a has no checksum"):
        check_noted(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"files": {}}', b'{"files": 3}'])
def test_a_damaged_seal_is_named(tmp_path: Path, content: bytes) -> None:
    written(tmp_path / "a")
    seal(tmp_path)
    replace_bytes(tmp_path / "checksums.json", content)
    with pytest.raises(DamagedError, match=r"checksums.json differs"):
        verify(tmp_path)


def test_any_flipped_byte_of_a_seal_is_seen(tmp_path: Path) -> None:
    written(tmp_path / "a")
    seal(tmp_path)
    path = tmp_path / "checksums.json"
    content = path.read_bytes()
    for place, old in enumerate(content):
        for new in {old ^ 1, ord("7"), ord('"'), 0xFF} - {old}:
            replace_bytes(path, content[:place] + bytes([new]) + content[place + 1 :])
            try:
                verify(tmp_path)
            except DamagedError:
                continue
            assert chr(old).isspace() or chr(new).isspace(), (place, old, new)


def test_a_seal_names_what_is_part_of_the_folder(tmp_path: Path) -> None:
    for name in ("a", "b", "checkpoint.pt", ".hidden", "old.damaged"):
        (tmp_path / name).write_bytes(name.encode())
    assert not is_sealed(tmp_path)
    with pytest.raises(DamagedError, match=r"checksums.json is missing"):
        verify(tmp_path)
    seal(tmp_path, leave=("checkpoint.pt",))
    assert is_sealed(tmp_path)
    for name in ("checkpoint.pt", ".hidden", "old.damaged"):
        (tmp_path / name).unlink()
    verify(tmp_path)
    with pytest.raises(DamagedError, match="c is missing"):
        verify(tmp_path, "c")


def test_a_file_is_read_once_in_a_process(tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path / "a")
    check_noted(path)
    monkeypatch.setattr(Checksum, "of", None)
    check_noted(path)
    with pytest.raises(TypeError):  # against another checksum it is read again
        check(path, Checksum(len(CONTENT), "00000000"))


def test_setting_aside_keeps_every_damaged_file_and_warns_once(tmp_path: Path, caplog) -> None:
    error = DamagedError(tmp_path / "a", "differs from its checksum")
    for end in ("", "-2", "-3"):
        (tmp_path / "a").write_text(end)
        assert set_aside(error, tmp_path / "a", "it is made again").name == f"a.damaged{end}"
        assert (tmp_path / f"a.damaged{end}").read_text() == end
    assert not (tmp_path / "a").exists()
    assert [r.getMessage() for r in caplog.records][:1] == [
        f"{tmp_path / 'a'} differs from its checksum: set aside as a.damaged; it is made again"
    ]
    assert len(caplog.records) == 3


def test_the_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DamagedError(Path("a/b"), "is missing")))
    assert (str(error), error.path, error.why) == ("a/b is missing", Path("a/b"), "is missing")


def test_a_kill_between_note_and_file_leaves_a_pair_that_fits(tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path / "a", b"first")

    def killed(self, target):
        raise KeyboardInterrupt

    for content in (b"second", b"third"):
        monkeypatch.setattr(Path, "replace", killed_for(path, killed))
        with pytest.raises(KeyboardInterrupt):
            written(path, content)
        monkeypatch.undo()
        assert path.read_bytes() == b"first"
        check_noted(path)
    written(path, b"fourth")
    check_noted(path)
    assert path.read_bytes() == b"fourth"


def killed_for(path: Path, killed):
    """``Path.replace`` that dies for one target."""
    real = Path.replace

    def replace(self, target):
        return killed(self, target) if Path(target) == path else real(self, target)

    return replace


WRITER = """
import sys
from pathlib import Path
from hybrid_pipeline.storage import write_noted
path = Path(sys.argv[1])
for i in range(10**9):
    write_noted(path, lambda file: file.write(bytes([i % 251]) * 20_000))
"""


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_at_a_random_moment_leaves_a_pair_that_fits(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    try:
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0.0, 0.1))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    check_noted(path)
    assert len(set(path.read_bytes())) == 1
