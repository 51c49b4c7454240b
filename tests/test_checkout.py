"""Provenance against real repositories, and git that is slow, missing or refuses."""

import shutil
import subprocess
import time

import pytest

from hybrid_pipeline.checkout import Checkout, read_checkout


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "file.txt").write_text("a")
    author = ["-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def fake_git(tmp_path, monkeypatch):
    """Puts a shell script in git's place."""

    def install(script):
        program = tmp_path / "bin" / "git"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return install


def test_commit_and_local_changes(repository):
    clean = read_checkout(repository)
    assert len(clean.commit) == 40
    assert (clean.is_dirty, clean.dirty_word, clean.short) == (False, "false", clean.commit[:12])
    (repository / "untracked.txt").write_text("b")
    assert not read_checkout(repository / "package").is_dirty
    (repository / "package" / "file.txt").write_text("b")
    dirty = read_checkout(repository / "package")
    assert (dirty.commit, dirty.is_dirty) == (clean.commit, True)
    assert dirty.short == clean.commit[:12] + "+"


def test_a_folder_that_is_only_copied_into_a_repository_is_unknown(repository, tmp_path):
    copy = repository / "copy"
    shutil.copytree(repository / "package", copy)
    assert read_checkout(copy) == Checkout()
    assert read_checkout(tmp_path) == Checkout()


def test_a_hook_of_another_repository_does_not_mislead(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository))
    assert read_checkout(tmp_path) == Checkout()


def test_git_that_hangs_with_a_child_costs_two_seconds(fake_git, tmp_path):
    fake_git("sleep 30 & wait")
    started = time.monotonic()
    assert read_checkout(tmp_path) == Checkout()
    assert time.monotonic() - started < 10


def test_a_slow_status_leaves_the_commit_and_no_guess(fake_git, tmp_path):
    fake_git('case "$*" in *status*) sleep 30;; *) echo 0123456789abcdef;; esac')
    found = read_checkout(tmp_path)
    assert (found.commit, found.is_dirty) == ("0123456789abcdef", None)
    assert found.dirty_word == "unknown"
    assert found.short == "0123456789ab (local changes unknown)"


@pytest.mark.parametrize(
    "script", ["echo fatal: detected dubious ownership >&2; exit 128", "exit 1", "printf '\\377'"]
)
def test_git_that_refuses_or_babbles_is_no_error(script, fake_git, tmp_path):
    fake_git(script)
    assert read_checkout(tmp_path) == Checkout()


def test_no_git_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_checkout(tmp_path) == Checkout()
