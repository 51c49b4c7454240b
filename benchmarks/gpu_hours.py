"""How long the GPU profiles take by arithmetic, written into the pages that speak of them.

    python benchmarks/gpu_hours.py            # write
    python benchmarks/gpu_hours.py --check    # compare; exit status 1 where a page is out of date

Nothing here is measured. A T4 is taken to sustain 25 TFLOP/s; ``gpu_time.py`` says what is
summed. The default study's updates are too small for that bound: there a GPU waits for launches, so
its time on an H100 is summed from a prototype's milliseconds per captured update.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arm_time import study_minutes
from gpu_time import Line, study_lines

from hybrid_pipeline.arms import arms_of_design, chain
from hybrid_pipeline.kedro_ext.config_loader import ProjectConfigLoader
from hybrid_pipeline.kedro_ext.project_parameters import validate_parameters
from hybrid_pipeline.settings import CONFIG_LOADER_ARGS
from hybrid_pipeline.storage import write_text_atomically

ROOT = Path(__file__).parents[1]
T4_PAGE = ROOT / "docs/how-to/run-on-a-t4.md"
GPU_PAGE = ROOT / "docs/how-to/run-on-a-gpu.md"
# A prototype of the captured update at base's sizes, one H100, torch 2.11: ms per update of the
# arms of the chain, one at a time. Thirty cells of 1,000 updates, six at once: 52 s on an H200.
MEASURED_MS = {
    "arm_1_baseline": 1.31,
    "arm_2_clip": 1.48,
    "arm_3_n2n": 1.56,
    "arm_4_trm": 6.4,
    "arm_5_coconut": 10.9,
}
# An arm that joined the chain later was not measured; it is taken to cost what the dearest does.
CHAIN_MS = {arm.name: MEASURED_MS.get(arm.name, max(MEASURED_MS.values())) for arm in chain()}
AT_ONCE = 6 * sum(MEASURED_MS.values()) / 52.0


def groups_of(env: str) -> dict[str, Any]:
    """Validated parameters of an environment, as a run merges them."""
    loader = ProjectConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    return validate_parameters(dict(loader["parameters"]))


def table(lines: list[Line]) -> str:
    """The sum as a Markdown table."""
    rows = [
        f"| {line.what} | {line.gflops:.3g} | {line.passes / 1e6:,.2f} | {line.flops / 1e15:,.2f} |"
        f" {line.hours():,.2f} |"
        for line in lines
    ]
    total = sum(line.flops for line in lines) / 1e15
    hours = sum(line.hours() for line in lines)
    return "\n".join(
        [
            "| | GFLOP per forward pass | million passes | PFLOP | hours at 25 TFLOP/s |",
            "|---|---|---|---|---|",
            *rows,
            f"| **sum** | | | **{total:,.2f}** | **{hours:,.2f}** |",
        ]
    )


def captured_minutes(groups: Mapping[str, Any]) -> float:
    """Minutes of training on an H100, by the prototype's figures."""
    sizes = [task.num_train for task in groups["tasks"].root.values()]
    return study_minutes(groups["ablation"], groups["training"], sizes, CHAIN_MS, AT_ONCE)


def gpu_block(groups: Mapping[str, Any], lines: list[Line]) -> str:
    """What ``conf/gpu`` costs."""
    arms = len(arms_of_design(groups["ablation"]))
    cells = arms * groups["ablation"].num_blocks * len(groups["ablation"].lengths)
    cells *= len(groups["tasks"].root)
    most = math.ceil(60 * sum(line.hours() for line in lines))
    return (
        f"{arms} arms and controls, {groups['ablation'].num_blocks} seeds,"
        f" {len(groups['ablation'].lengths)} lengths, {len(groups['tasks'].root)} tasks:"
        f" {cells:,} cells. At 25 TFLOP/s its operations would take a T4 less than"
        f" {most} minute{'s' if most > 1 else ''}, but small updates do not"
        " reach that rate. By the prototype's milliseconds, training takes an H100"
        f" {captured_minutes(groups):.1f} minutes."
    )


def blocks() -> dict[Path, dict[str, str]]:
    """Page -> name of a block -> its text."""
    gpu = groups_of("gpu")
    return {
        T4_PAGE: {env: table(study_lines(groups_of(env))) for env in ("t4_session", "t4")},
        GPU_PAGE: {"gpu": gpu_block(gpu, study_lines(gpu))},
    }


def filled(text: str, name: str, block: str) -> str:
    """A page with a block between its two marks.

    Raises:
        ValueError: if the page does not have them.
    """
    marks = re.compile(rf"(<!-- hours of {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"the page has no block for the hours of {name}")
    return marks.sub(lambda found: f"{found[1]}{block}{found[2]}", text)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    outdated = []
    for page, found in blocks().items():
        text = new = page.read_text("utf-8")
        for name, block in found.items():
            new = filled(new, name, block)
        if new != text and not check:
            write_text_atomically(page, new)
        elif new != text:
            outdated.append(page.name)
    for name in outdated:
        sys.stderr.write(f"{name} is out of date: benchmarks/gpu_hours.py writes its hours.\n")
    return len(outdated[:1])


if __name__ == "__main__":
    sys.exit(main())
