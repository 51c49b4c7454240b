"""``python -m hybrid_pipeline.stats SCORES``: analyse a tidy score table."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from hybrid_pipeline.arms import Arm, find_arm
from hybrid_pipeline.config import EvaluationConfig, at_home, explain
from hybrid_pipeline.stats.analysis import Study, analyse
from hybrid_pipeline.stats.results import StudyResults
from hybrid_pipeline.stats.scores import (
    LENGTH,
    METRICS,
    at_length,
    check_complete,
    check_scores,
    read_scores,
)
from hybrid_pipeline.stats.text import render_text
from hybrid_pipeline.storage import write_text_atomically


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 with one sentence on standard error."""
    options = score_parser("hybrid_pipeline.stats").parse_args(arguments)
    return report(options, analyse)


def report(options: argparse.Namespace, judge: Callable[[Study], StudyResults]) -> int:
    """Print the results of a score table, and write them if that is asked.

    Args:
        options: of ``score_parser``.
        judge: gives the results of the study that the table holds.

    Returns:
        0, or 2 with one sentence on standard error.
    """
    try:
        results = judge(_study(options))
        if options.json is not None:
            write_text_atomically(options.json, results.to_json() + "\n")
        _print(render_text(results))
    except ValidationError as error:
        sys.stderr.write(explain(error, "evaluation", EvaluationConfig) + "\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        named = error.filename2 or error.filename or "the operating system refused"
        sys.stderr.write(f"{named}: {error.strerror or error}.\n")
        return 2
    return 0


def _print(text: str) -> None:
    """Write to standard output; what it does not take (a full disk) is said with its name."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (else the exit tries again)
        raise OSError(error.errno, error.strerror, "standard output") from error


def score_parser(module: str) -> argparse.ArgumentParser:
    """The arguments of a command that reads a score table, run as ``python -m module``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description="Effects, compound estimate and verdicts from a table of scores "
        "(arm, seed, task, example, correct), arms in the order of the table.",
    )
    parser.add_argument("scores", type=path_at_home, help="a .csv or .parquet table")
    parser.add_argument("--delta", type=float, default=EvaluationConfig().delta,
                        help="smallest effect of interest, a fraction of accuracy")  # fmt: skip
    parser.add_argument("--level", type=float, default=EvaluationConfig().level,
                        help="of the intervals")  # fmt: skip
    parser.add_argument("--baseline", metavar="ARM", help="the arm that the chain starts from")
    parser.add_argument("--metric", choices=METRICS, default="correct")
    parser.add_argument(
        "--json", type=path_at_home, metavar="OUT", help="write the results as JSON"
    )
    parser.add_argument("--allow-missing", action="store_true",
                        help="list missing cells and analyse the complete pairs")  # fmt: skip
    return parser


def path_at_home(text: str) -> Path:
    """A path on the command line; ``~`` is the home folder."""
    return Path(at_home(text))


def _study(options: argparse.Namespace) -> Study:
    scores = check_scores(read_scores(options.scores), metrics=(options.metric,))
    if not options.allow_missing:
        check_complete(at_length(scores, scores[LENGTH].max()))
    arms = _arm_order(scores, options.baseline)
    known = _known_arms(arms)
    return Study(
        scores=scores,
        arms=arms,
        evaluation=EvaluationConfig(delta=options.delta, level=options.level),
        components={arm.name: arm.components for arm in known},
        metrics={str(task): options.metric for task in scores["task"].unique()},
        controls={a.name: a.control_of for a in known if a.control_of in arms and a.control_of},
        provenance={"scores": options.scores.name, "metric": options.metric},
    )


def _arm_order(scores: pd.DataFrame, baseline: str | None) -> list[str]:
    arms = [str(arm) for arm in scores["arm"].unique()]
    if baseline is None:
        return arms
    if baseline not in arms:
        raise ValueError(f"there is no arm {baseline!r} in the table; it has {', '.join(arms)}.")
    return [baseline, *(arm for arm in arms if arm != baseline)]


def _known_arms(names: Sequence[str]) -> list[Arm]:
    """The project's own arms, by name; in a table with other names all arms are the chain."""
    try:
        return [find_arm(name) for name in names]
    except ValueError:
        return []
