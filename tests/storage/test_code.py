"""The key over code: what is followed, what is looked through, what does not count."""

from __future__ import annotations

import pytest

from hybrid_pipeline.storage import code
from hybrid_pipeline.storage.code import code_key, import_closure

FILES = {
    "__init__.py": '"""The package."""\n__version__ = "1"\n',
    "work.py": "import json\nfrom pack.room import tool\n\ndef run():\n    from . import late\n"
    "    return tool() + late.VALUE\n",
    "late.py": "VALUE = 1\n",
    "loner.py": "VALUE = 1\n",
    "room/__init__.py": '"""A room."""\nfrom pack.room.tools import tool\n'
    'from pack.room.other import other\n__all__ = ["other", "tool"]\n',
    "room/tools.py": '"""Tools."""\nfrom .deep import DEPTH as D\n\n\ndef tool():\n'
    '    """Says."""\n    return D\n',
    "room/deep.py": "DEPTH = 3\n",
    "room/other.py": "def other():\n    return 2\n",
}


@pytest.fixture
def pack(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "pack"
    _forget()


def _forget():
    code._path.cache_clear()
    code._source.cache_clear()


def key_after(pack, name, old, new, **kwargs):
    text = (pack / name).read_text()
    assert old in text
    (pack / name).write_text(text.replace(old, new))
    _forget()
    return code_key(["pack.work"], **kwargs)


REACHED = ("pack.late", "pack.room.deep", "pack.room.tools", "pack.work")


def test_imports_are_followed_also_relative_ones_and_those_in_functions(pack):
    assert import_closure(["pack.work"]) == REACHED


def test_an_init_that_does_more_than_pass_names_on_counts_with_all_it_imports(pack):
    (pack / "room/__init__.py").write_text(FILES["room/__init__.py"] + "import os\n")
    _forget()
    assert set(import_closure(["pack.work"])) == {*REACHED, "pack.room", "pack.room.other"}


@pytest.mark.parametrize(
    "form", ["import pack.loner", "from pack import loner", "from .loner import *"]
)
def test_every_form_of_import_is_followed(pack, form):
    (pack / "late.py").write_text(f"{form}\nVALUE = 1\n")
    _forget()
    assert set(import_closure(["pack.work"])) == {*REACHED, "pack.loner"}


def test_a_folder_without_an_init_is_followed_too(pack):
    (pack / "__init__.py").unlink()
    (pack / "room/__init__.py").unlink()
    (pack / "work.py").write_text("from pack.room.tools import tool\n")
    _forget()
    assert import_closure(["pack.work"]) == ("pack.room.deep", "pack.room.tools", "pack.work")


def test_what_is_ignored_is_not_followed_either(pack):
    assert import_closure(["pack.work"], ["pack.room"]) == ("pack.late", "pack.work")
    assert import_closure(["pack.work"], ["pack.room.tools"]) == ("pack.late", "pack.work")


@pytest.mark.parametrize("module", REACHED)
def test_an_edit_of_any_reached_module_changes_the_key(pack, module):
    before = code_key(["pack.work"])
    name = f"{module.removeprefix('pack.').replace('.', '/')}.py"
    text = (pack / name).read_text()
    (pack / name).write_text(f"{text}\nMORE = 1\n")
    _forget()
    assert code_key(["pack.work"]) != before


def test_comments_docstrings_layout_and_strangers_do_not_count(pack):
    before = code_key(["pack.work"])
    assert key_after(pack, "room/tools.py", '"""Says."""', '"""Says more."""') == before
    assert key_after(pack, "room/tools.py", "return D", "return (D)  # why") == before
    assert key_after(pack, "room/other.py", "return 2", "return 3") == before
    assert key_after(pack, "loner.py", "1", "2") == before
    assert key_after(pack, "__init__.py", '"1"', '"2"') == before
    assert key_after(pack, "room/deep.py", "3", "4") != before


def test_the_modules_names_count(pack):
    before = code_key(["pack.work"])
    (pack / "deeper.py").write_text(FILES["room/deep.py"])
    assert key_after(pack, "room/tools.py", "from .deep", "from ..deeper") != before


def test_a_root_that_is_no_module_is_refused(pack):
    with pytest.raises(ValueError, match=r"there is no module 'pack.nothing' to make a key of"):
        code_key(["pack.nothing"])


def test_a_text_is_written_out_once_for_all_keys(monkeypatch):
    written = []
    unparse = code.ast.unparse
    monkeypatch.setattr(code.ast, "unparse", lambda tree: written.append(tree) or unparse(tree))
    text = '"""One."""\nx = 1  # two\n'
    assert code.code_of(text) == code.code_of(text) == code.code_of("x=1") == "x = 1"
    assert len(written) == 2
