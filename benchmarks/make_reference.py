"""Keep what a finished study's report is made of, small enough to be committed.

    python benchmarks/make_reference.py base-1a2b3c4d benchmarks/reference/default

The first argument names the study's folder under ``data/08_reporting``. The folder that is written
holds the score table, the curves (losses thinned to what the report draws), the cells, what stands
around the figures, and a card; ``kedro run --pipeline reporting --env reference`` reads it.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

LIMIT_BYTES = 3 * 2**20
LOSS_POINTS = 60  # of a curve in the report


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the folder; 2 with one sentence if the study is not there or too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="name of the study's folder")
    parser.add_argument("target", type=Path, help="folder to be written")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder")
    options = parser.parse_args(arguments)
    try:
        size = make_reference(options.data, options.study, options.target)
    except (OSError, ValueError) as error:
        print(f"{error}", file=sys.stderr)
        return 2
    print(f"{options.target}: {size / 2**20:.2f} MiB")
    return 0


def make_reference(data: Path, study: str, target: Path) -> int:
    """Copy, thin and describe; returns the bytes written.

    Raises:
        FileNotFoundError: if the study has no report.
        ValueError: if the folder is larger than may be committed.
    """
    reporting, output = data / "08_reporting" / study, data / "07_model_output" / study
    if not (reporting / "scores.parquet").is_file():
        raise FileNotFoundError(f"there is no finished study in {reporting}.")
    target.mkdir(parents=True, exist_ok=True)
    _write_table(pd.read_parquet(reporting / "scores.parquet"), target / "scores.parquet")
    _write_table(pd.read_parquet(output / "validations.parquet"), target / "validations.parquet")
    losses = thinned(pd.read_parquet(output / "updates.parquet"))
    _write_table(losses, target / "updates.parquet")
    for source in (
        reporting / "advice.json",
        output / "cells.json",
        output / "stability_in_report.json",
        data / "05_model_input" / "task_data.json",
    ):
        shutil.copy(source, target / source.name)
    _write_json(context_of(output), target / "report_context.json")
    _write_json(card_of(study, output), target / "card.json")
    size = sum(path.stat().st_size for path in target.iterdir())
    if size > LIMIT_BYTES:
        raise ValueError(f"{target} has {size / 2**20:.1f} MiB, more than the 3 that are kept.")
    return size


def thinned(updates: pd.DataFrame) -> pd.DataFrame:
    """The losses as the report draws them: rolling means, every so many updates."""
    parts = []
    for _, curve in updates.groupby(["arm", "seed", "task"], sort=False):
        every = max(1, len(curve) // LOSS_POINTS)
        smooth = curve["loss"].rolling(every, min_periods=1).mean()
        parts.append(curve.assign(loss=smooth)[::every])
    return pd.concat(parts, ignore_index=True)


def context_of(output: Path) -> dict[str, Any]:
    """What stands around the figures, with the provenance of the study itself."""
    context: dict[str, Any] = json.loads((output / "report_context.json").read_text("utf-8"))
    inputs = json.loads((output / "report_inputs.json").read_text("utf-8"))
    return {**context, "provenance": inputs["provenance"]}


def card_of(study: str, output: Path) -> dict[str, Any]:
    """Commit, versions, processor and minutes of the study, and the level it was judged at."""
    inputs = json.loads((output / "report_inputs.json").read_text("utf-8"))
    results = json.loads((output / "study_results.json").read_text("utf-8"))
    cells = json.loads((output / "cells.json").read_text("utf-8"))
    seconds = [result["cell_seconds"] for cell in cells for result in cell["results"]]
    return {
        "study": study,
        "level": round(1 - results["alpha"], 12),
        "provenance": inputs["provenance"],
        "processor": processor(),
        "cell minutes": round(sum(seconds) / 60, 1),
        "cells": len(cells),
        "results": len(seconds),
    }


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _write_table(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False, compression="zstd")


def _write_json(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
