"""Write the notebook with its outputs as a page: ``python docs/tutorials/make_read_a_study.py``.

Runs ``notebooks/read_a_study.ipynb`` on the study that the repository keeps, whose report
``make reference`` writes first, and writes ``docs/tutorials/read-a-study.md`` and its figure in
``docs/images``. Cells tagged ``needs-weights`` are left out: the kept study has no weights.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbformat import NotebookNode
from traitlets.config import Config

PAGE, IMAGES = Path("docs/tutorials/read-a-study.md"), Path("docs/images")
NOTEBOOK = Path("notebooks/read_a_study.ipynb")
LEFT_OUT = "needs-weights"
HEAD = """<!-- written by docs/tutorials/make_read_a_study.py: change the notebook instead -->
"""
TAIL = """
## A trained arm answers

The notebook's last cell lets the full model answer test examples. It needs the weights of a study
that you trained yourself: [how](../how-to/use-a-trained-arm.md).
"""
# Tables as Markdown, which every reader of a repository shows.
TABLES = """
import pandas as pd

def _table(frame):
    flat = frame.copy()
    flat.columns = [" ".join(map(str, c)) if isinstance(c, tuple) else c for c in frame.columns]
    is_numbered = isinstance(frame.index, pd.RangeIndex)
    flat = flat if is_numbered else flat.reset_index()
    return flat.astype(object).where(flat.notna(), "").to_markdown(index=False)

pd.DataFrame._repr_markdown_ = _table
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="reference", help="environment of the study")
    parser.add_argument("--project", type=Path, default=Path(), help="root of the project")
    options = parser.parse_args(arguments)
    os.environ["KEDRO_ENV"] = options.env
    root = options.project.resolve()
    notebook = nbformat.read(root / NOTEBOOK, as_version=4)
    notebook.cells = [c for c in notebook.cells if LEFT_OUT not in c.metadata.get("tags", [])]
    text, figures = page_of(run(notebook, root))
    for name, content in figures.items():
        (root / IMAGES / name).write_bytes(content)
    (root / PAGE).write_text(text, "utf-8")
    sys.stdout.write(f"{PAGE}: {len(text) / 1000:.0f} kB, {len(figures)} figure(s)\n")
    return 0


def run(notebook: NotebookNode, root: Path) -> NotebookNode:
    """The notebook with its outputs, tables as Markdown."""
    hidden = nbformat.v4.new_code_cell(TABLES)
    notebook.cells.insert(0, hidden)
    folder = {"metadata": {"path": str(root / NOTEBOOK.parent)}}
    executed = NotebookClient(notebook, timeout=600, resources=folder).execute()
    executed.cells.remove(hidden)
    return executed


def page_of(notebook: NotebookNode) -> tuple[str, dict[str, bytes]]:
    """The page, and its figures by file name."""
    order = ["text/markdown", "image/png", "text/plain"]
    exporter = MarkdownExporter(config=Config({"NbConvertBase": {"display_data_priority": order}}))
    body, resources = exporter.from_notebook_node(notebook)
    figures = {}
    for number, (name, content) in enumerate(sorted(resources["outputs"].items()), start=1):
        figures[f"read_a_study_{number}.png"] = content
        body = body.replace(f"![png]({name})", f"![figure](../images/read_a_study_{number}.png)")
    lines = [line.rstrip() for line in (HEAD + body + TAIL).splitlines()]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n", figures


if __name__ == "__main__":
    raise SystemExit(main())
