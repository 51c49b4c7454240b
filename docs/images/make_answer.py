"""Draw the README's picture from a finished study: ``python docs/images/make_answer.py``.

Every stage's measured relative gain with its interval, beside the gain that was claimed for it.
Reads the latest study under ``data`` and writes ``docs/images/answer.png``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from hybrid_pipeline.plot_style import BLUE, GREY, INK, ORANGE, VERMILLION
from hybrid_pipeline.report.latest import latest_folders
from hybrid_pipeline.report.wording import component_label, interval_text, signed_percent
from hybrid_pipeline.stats.results import MEAN_TASK, ClaimVerdict, Effect, StudyResults

mpl.use("Agg")
from matplotlib import pyplot as plt

SECTION = "Current Claims"
TARGET = Path("docs/images/answer.png")
# Colour, how the verdict's code starts, words.
MARKS = (
    (BLUE, "helps", "measured: helps"),
    (VERMILLION, "hurts", "hurts"),
    (INK, "no_meaningful_effect", "no effect"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the picture; 2 with one sentence if there is no study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder")
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    outputs, _ = latest_folders(options.data)
    path = outputs / "study_results.json"
    if not path.is_file():
        sys.stderr.write(f"there is no study in {path}: run `make ablation` first.\n")
        return 2
    results = StudyResults.from_json(path.read_text("utf-8"))
    options.target.parent.mkdir(parents=True, exist_ok=True)
    draw(results, options.target)
    return 0


def draw(results: StudyResults, target: Path) -> None:
    """One row per stage and one for the whole: an interval, and a diamond for the claim."""
    claims = {
        c.component: c for c in results.claims if c.section == SECTION and c.component is not None
    }
    effects = [
        e
        for e in results.effects
        if e.kind in ("stage", "total") and e.task == MEAN_TASK and e.relative is not None
    ]
    figure, axes = plt.subplots(figsize=(9.6, 0.62 * len(effects) + 1.7), dpi=150)
    for row, effect in enumerate(reversed(effects)):
        _draw_measured(axes, row, effect)
        claim = claims.get("total" if effect.kind == "total" else effect.component)
        if claim is not None and claim.claimed_low is not None:
            _draw_claim(axes, row, claim)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(effects)), [_label(e) for e in reversed(effects)])
    axes.set_ylim(-0.6, len(effects) - 0.3)
    axes.set_xlabel(
        f"relative gain in %, mean over {len(results.tasks)} tasks; "
        f"bar: {_level(effects)} % interval over {len(results.seeds)} seeds and the test examples"
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E8E8E8")
    axes.set_axisbelow(True)
    axes.set_title("Claimed and measured", loc="left", fontsize=13, weight="bold")
    _legend(axes)
    figure.tight_layout()
    figure.savefig(target, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def _draw_measured(axes: Axes, row: int, effect: Effect) -> None:
    if effect.relative is None:
        return
    low, mid, high = (
        100 * x for x in (effect.relative.low, effect.relative.estimate, effect.relative.high)
    )
    color = next((c for c, start, _ in MARKS if effect.verdict_code.startswith(start)), GREY)
    axes.plot([low, high], [row, row], color=color, linewidth=4, solid_capstyle="butt")
    axes.plot(mid, row, "o", color=color, markersize=9, markeredgecolor="white")
    axes.annotate(
        f"{signed_percent(effect.relative.estimate)} {interval_text(effect.relative, digits=0)}",
        (mid, row),
        (0, 9),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _draw_claim(axes: Axes, row: int, claim: ClaimVerdict) -> None:
    claimed = float(claim.claimed_low or 0.0)
    value = 100 * claimed
    axes.plot(value, row, "D", color=ORANGE, markersize=9, markeredgecolor=INK, zorder=3)
    axes.annotate(
        signed_percent(claimed),
        (value, row),
        (0, -17),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        color=INK,
    )


def _label(effect: Effect) -> str:
    if effect.kind == "total":
        return "all together"
    return f"+ {component_label(effect.component)}"


def _level(effects: Sequence[Effect]) -> str:
    level = next((e.relative.level for e in effects if e.relative is not None), 0.95)
    return f"{100 * level:.3g}"


def _legend(axes: Axes) -> None:
    for color, text in (*((color, words) for color, _, words in MARKS), (GREY, "undecided")):
        axes.plot([], [], "o-", color=color, linewidth=4, markersize=8, label=text)
    axes.plot([], [], "D", color=ORANGE, markeredgecolor=INK, label="claimed")
    axes.legend(loc="upper right", ncols=5, frameon=False, fontsize=9, bbox_to_anchor=(1, 1.13))


if __name__ == "__main__":
    raise SystemExit(main())
