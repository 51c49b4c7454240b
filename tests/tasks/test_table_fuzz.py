"""Five hundred seeded tables, most of them damaged: examples as written, or one sentence."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_pipeline.config import ConfigError, RenderingConfig
from hybrid_pipeline.rendering import UndrawableError
from hybrid_pipeline.tasks import TaskTable, build_table, check_no_leakage, source_of
from hybrid_pipeline.tasks.own_table import TableTask, label_seen
from hybrid_pipeline.visible_text import normalised

ALPHABETS = (
    "abc XYZ 019",
    'a,b;"\t|',
    "é\u0301ß½ﬁ\u00a0\u3000",
    "\u200b\u200d\ufeff\ufe0f\u00ad\x00\x08\u2800",
    "\r\n\v\f\x85\u2028",
    "漢🙂سשע\u0e01",
)
LABELS = (["a", "b"], ["1", "1.0", "01"], ["yes", "yes\u200b", "no"], ["NA", "nan", "None"], [""])
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
Pair = tuple[str, str]


def drawn_rows(rng: np.random.Generator) -> list[Pair]:
    letters = "".join(rng.permutation(ALPHABETS)[: rng.integers(1, 4)]) + "abcdefgh "
    labels = LABELS[rng.choice(len(LABELS), p=(0.6, 0.1, 0.1, 0.1, 0.1))]
    count = int(rng.choice([0, 1, 3, 30, 60], p=(0.05, 0.05, 0.1, 0.3, 0.5)))
    rows = []
    for number in range(count):
        noise = "".join(rng.choice(list(letters), int(rng.integers(0, 9))))
        repeated = number if rng.random() < 0.95 else 0
        label = str(number) if rng.random() < 0.02 else labels[repeated % len(labels)]
        rows.append((f"{noise if rng.random() < 0.3 else ''} t{repeated}", label))
    return rows


def as_csv(rows: list[Pair], delimiter: str, rng: np.random.Generator) -> bytes:
    quoting = csv.QUOTE_NONE if rng.random() < 0.15 else csv.QUOTE_MINIMAL
    file = io.StringIO()
    escape = "\\" if quoting == csv.QUOTE_NONE else None
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, escapechar=escape)
    writer.writerow(("text", "label"))
    writer.writerows(rows)
    return file.getvalue().encode(str(rng.choice(["utf-8", "utf-8-sig"])))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(6)
    place = int(rng.integers(len(content) + 1))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes(rng.integers(0, 256, 3, dtype=np.uint8)) + content[place:]
    if kind == 2:
        return content.replace(b",", b";", 2)
    if kind == 3:
        return content[:place] + b'"' + content[place:]
    if kind == 4:
        return content[:place] + b",extra\n" + content[place:]
    return b""


def as_parquet(rows: list[Pair], path: Path, rng: np.random.Generator) -> None:
    texts, labels = [[pair[side] for pair in rows] for side in (0, 1)]
    columns = [
        pa.array(texts, pa.string()),
        pa.array(texts, pa.string()).dictionary_encode(),
        pa.array([[text] for text in texts], pa.list_(pa.string())),
        pa.array([float(n) if n % 7 else None for n in range(len(rows))], pa.float64()),
        pa.array([text.encode("utf-16") for text in texts], pa.binary()),
        pa.array([{"a": text} for text in texts], pa.struct([("a", pa.string())])),
    ]
    chosen = columns[rng.choice(len(columns), p=(0.5, 0.2, 0.1, 0.1, 0.05, 0.05))]
    names = ["text", str(rng.choice(["label", "label", "label", "text", "other"]))]
    pq.write_table(pa.table([chosen, pa.array(labels, pa.string())], names=names), path)


def written(folder: Path, rng: np.random.Generator) -> tuple[str, list[Pair] | None]:
    """A file of a random kind; its rows if they are undamaged CSV, else None."""
    rows = drawn_rows(rng)
    if rng.random() < 0.25:
        as_parquet(rows, folder / "x.parquet", rng)
        if rng.random() < 0.2:
            (folder / "x.parquet").write_bytes(damaged((folder / "x.parquet").read_bytes(), rng))
        return "x.parquet", None
    kind, packed = str(rng.choice(["csv", "tsv", "CSV"])), str(rng.choice(list(PACKERS)))
    content = as_csv(rows, "\t" if kind == "tsv" else ",", rng)
    whole = b"\\" not in content and rng.random() < 0.6
    content = PACKERS[packed](content if whole else damaged(content, rng))
    if not whole and rng.random() < 0.2:
        content = damaged(content, rng)
    (folder / f"x.{kind}{packed}").write_bytes(content)
    return f"x.{kind}{packed}", rows if whole else None


def read(name: str, folder: Path) -> TaskTable | str:
    """The table, or the sentence that refuses it."""
    task = TableTask(source="table", path=name)
    try:
        table, source = build_table("mine", task, folder), source_of("mine", task, folder)
        check_no_leakage(table, source)
        names = [source.label(int(example)) for example in table.example]
        source.check_drawable(table.prompt, RenderingConfig(), names)
    except (ConfigError, UndrawableError) as refused:
        return str(refused)
    except ValueError as refused:  # too few rows; no library's error is one of these
        if "cannot fill its splits" not in str(refused):
            raise
        return str(refused)
    return table


@pytest.mark.parametrize("block", range(5))
def test_a_table_gives_its_rows_or_one_sentence(tmp_path: Path, block: int) -> None:
    accepted = compared = 0
    for seed in range(100 * block, 100 * block + 100):
        folder = tmp_path / str(seed)
        folder.mkdir()
        name, rows = written(folder, np.random.default_rng(seed))
        table = read(name, folder)
        if isinstance(table, str):
            assert table.startswith(("parameter 'tasks.mine.", "task 'mine' ", "row ")), seed
            assert table.isprintable(), (seed, table)
            continue
        accepted += 1
        assert table.examples_read - table.repeats_dropped == len(table.prompt), seed
        if rows is not None:
            compared += 1
            kept = {normalised(text): label_seen(label) for text, label in rows}
            labels = [table.classes[target] for target in table.targets[:, 0]]
            found = dict(zip(map(normalised, table.prompt), labels, strict=True))
            assert found == kept, seed
    assert accepted >= 15
    assert compared >= 10
