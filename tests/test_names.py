"""No name stands for two things."""

import ast
from collections import defaultdict
from pathlib import Path

import hybrid_pipeline

PACKAGE = Path(hybrid_pipeline.__file__).parent


def classes(root: Path) -> dict[str, list[str]]:
    """Class name -> the modules that define it at module level."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path.relative_to(root).as_posix())
    return found


def test_no_two_classes_share_a_name():
    found = classes(PACKAGE)
    assert len(found) > 150
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_two_classes_of_one_name_are_found(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("class Twin:\n    pass\n")
    assert classes(tmp_path) == {"Twin": ["a.py", "b.py"]}
