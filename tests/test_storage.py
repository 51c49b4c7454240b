import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hybrid_pipeline.config import NoiseConfig
from hybrid_pipeline.storage import (
    code_fingerprint,
    content_key,
    file_key,
    keys,
    library_versions,
    package_fingerprint,
    read_json,
    write_atomically,
    write_json_atomically,
)


def test_a_key_depends_on_values_and_not_on_the_order_of_keys():
    assert content_key({"a": 1, "b": [1, 2]}) == content_key({"b": (1, 2), "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert content_key(NoiseConfig()) != content_key(NoiseConfig(gaussian_std=0.1))
    assert content_key({3, 1}) == content_key({1, 3})


def test_a_value_without_a_canonical_form_is_refused():
    with pytest.raises(TypeError, match="no canonical form for a object"):
        content_key(object())


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "value.json"
    write_json_atomically(path, {"a": 1})

    def fail(file):
        file.write(b"half")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        write_atomically(path, fail)
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "value.json"
    code = (
        "from pathlib import Path; from hybrid_pipeline.storage import write_json_atomically\n"
        f"for i in range(10**9): write_json_atomically(Path({str(path)!r}), [i] * 5000)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(20):
        assert len(read_json(path)) == 5000
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(set(read_json(path))) == 1


def test_the_fingerprint_sees_code_and_not_comments(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "PACKAGE_ROOT", tmp_path)
    module = tmp_path / "room.py"

    def fingerprint(text):
        module.write_text(text)
        code_fingerprint.cache_clear()
        return code_fingerprint("room.py")

    plain = fingerprint("def f(x):\n    return x + 1\n")
    assert fingerprint('"""Doc."""\ndef f(x):\n    "Says."\n    return x + 1  # why\n') == plain
    assert fingerprint("def f(x):\n    return x + 2\n") != plain
    code_fingerprint.cache_clear()


def test_file_key_is_of_the_bytes(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"x" * (3 << 20))
    b.write_bytes(b"x" * (3 << 20))
    assert file_key(a) == file_key(b)
    b.write_bytes(b"x" * ((3 << 20) - 1) + b"y")
    assert file_key(a) != file_key(b)


def test_versions_are_those_installed():
    import numpy

    assert json.loads(json.dumps(library_versions("numpy"))) == {"numpy": numpy.__version__}


def test_a_users_package_has_a_key_of_its_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "of_the_user"  # a namespace package: no __init__.py
    folder.mkdir()
    (folder / "one.py").write_text("x = 1\n")
    key = package_fingerprint("of_the_user")
    package_fingerprint.cache_clear()
    (folder / "one.py").write_text('"""Documented."""\nx = 1  # said\n')
    assert package_fingerprint("of_the_user") == key
    package_fingerprint.cache_clear()
    (folder / "two.py").write_text("y = 1\n")
    assert package_fingerprint("of_the_user") != key
    (tmp_path / "single_of_the_user.py").write_text("x = 1\n")
    assert package_fingerprint("single_of_the_user") != key
    with pytest.raises(ValueError, match="'no_such_module' cannot be found"):
        package_fingerprint("no_such_module")
