"""The notebook for Colab and Kaggle: valid, and it names only what exists."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from project_conf import ENVIRONMENTS
from test_docs import registered_pipelines

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/colab_t4.ipynb"
SOURCES = [
    "".join(cell["source"])
    for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    if cell["cell_type"] == "code"
]
TEXT = NOTEBOOK.read_text("utf-8")


def test_it_is_a_valid_notebook() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_its_python_is_python() -> None:
    for source in SOURCES:
        if not source.startswith("!"):
            ast.parse(source)


def test_its_commands_name_environments_and_pipelines_that_exist() -> None:
    named = re.findall(r'^ENVIRONMENT = "(\w+)"  # or "(\w+)"', "\n".join(SOURCES), re.MULTILINE)
    assert named == [("t4_session", "gpu")]
    assert set(named[0]) <= set(ENVIRONMENTS)
    commands = [source for source in SOURCES if source.startswith("!")]
    assert len(commands) == 2
    for command in commands:
        found = re.fullmatch(r"!kedro run --pipeline (\w+) --env \{ENVIRONMENT\}", command)
        assert found is not None, command
        assert found[1] in registered_pipelines()


def test_it_leaves_the_platforms_torch_alone() -> None:
    """pip is asked for every other dependency, with torch and torchvision as constraints."""
    source = next(s for s in SOURCES if "constraints" in s)
    chosen = re.search(r"needed = (.+)", source)
    assert chosen is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = eval(chosen[1], {"project": project})
    assert len(needed) == len(project["dependencies"]) - 2
    assert not [d for d in needed if re.match(r"torch(vision)?\b", d)]
    assert '"--constraint", "/tmp/constraints.txt", *needed' in source
    assert '"--no-deps", "--editable"' in source


def test_readme_and_docs_link_it() -> None:
    for page in ("README.md", "docs/README.md", "docs/how-to/run-on-a-t4.md"):
        assert "colab_t4.ipynb" in (ROOT / page).read_text("utf-8"), page
    for page in ("docs/how-to/run-on-a-t4.md",):
        assert page in TEXT
        assert (ROOT / page).exists()
