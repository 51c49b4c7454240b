"""FLOPs of an update by arm, counted in a process of its own while the run trains.

A model is built to be counted, without weights, but under the lock of torch's one generator, for
which cells of the run's process would wait. The process is nice, is asked once per run and is ended
with the display; without its answer the display knows less and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from hybrid_pipeline.kedro_ext.project_parameters import load_own_plugins

Shapes = Mapping[str, Mapping[str, Any]]  # task -> the fields of its InputShape
NICENESS = 10


class WorkProcess:
    """Asks for the FLOPs and takes the answer when it is there.

    Args:
        arms: names.
        parameters: merged parameters of the run.
    """

    def __init__(self, arms: Iterable[str], parameters: Mapping[str, Any]) -> None:
        self._arms = sorted(set(arms))
        self._parameters = parameters
        self._process: subprocess.Popen[str] | None = None
        self._found: dict[str, float] | None = None

    def ask(self, shapes: Shapes) -> dict[str, float] | None:
        """The FLOPs by arm; ``None`` until they are counted. The first call starts to count.

        Args:
            shapes: of the tasks, from the progress file of a cell that reads them.
        """
        if self._process is None:
            self._start(shapes)
        elif self._found is None and self._process.poll() is not None:
            self._found = _answer(self._process)
        return self._found or None

    def stop(self) -> None:
        """End the process, if it still counts."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _start(self, shapes: Shapes) -> None:
        question = {"arms": self._arms, "shapes": shapes, "parameters": self._parameters}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as asked:
            json.dump(question, asked, default=str)
            asked.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hybrid_pipeline.kedro_ext.work"],
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )


def _answer(process: subprocess.Popen[str]) -> dict[str, float]:
    written, _ = process.communicate()
    try:
        return {str(arm): float(value) for arm, value in json.loads(written).items()}
    except ValueError:
        return {}  # it could not count: the estimate goes without


def count(question: Mapping[str, Any]) -> dict[str, float]:
    """FLOPs of an update per example by arm, summed over the tasks.

    Args:
        question: ``arms``, ``shapes`` (task to the fields of its ``InputShape``), ``parameters``.
    """
    from hybrid_pipeline.config import ModelConfig
    from hybrid_pipeline.models.parts import InputShape
    from hybrid_pipeline.training.work import work_of_arms

    parameters = question["parameters"]
    load_own_plugins(parameters)
    update = (parameters.get("training") or {}).get("update")
    return work_of_arms(
        question["arms"],
        map(InputShape.from_json, question["shapes"].values()),
        ModelConfig.model_validate(parameters.get("model") or {}),
        encodes_every_step=update == "per_supervision_step",
    )


def main() -> None:
    """Answer the question on standard input."""
    os.nice(NICENESS)
    question = json.load(sys.stdin)
    sys.stdout.write(json.dumps(count(question)))


if __name__ == "__main__":
    main()
