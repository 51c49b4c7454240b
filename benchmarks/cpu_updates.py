"""What an update costs on this CPU: each arm, against an older commit, and what the project adds.

    python benchmarks/cpu_updates.py                      # ms per update of every arm
    python benchmarks/cpu_updates.py --against ../older   # and against the code in that checkout
    python benchmarks/cpu_updates.py --overhead           # and Kedro, MLflow, checkpoints, logs

Sizes are those of ``conf/base``, the optimiser is AdamW, which older code has too, and the data are
made up. Times are processor seconds, both codes
alternate block by block, and the fastest block of each counts: what else the machine does makes
blocks slower, never faster. Only ratios mean anything elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml

HERE = Path(__file__).resolve().parents[1]
ARMS = ("arm_1_baseline", "arm_2_clip", "arm_3_n2n", "arm_4_trm", "arm_5_coconut")
BATCH, EPOCH, BLOCK = 24, 20, 4


def main() -> None:
    """Measure what is asked for and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="checkout of an older commit")
    parser.add_argument("--arms", nargs="*", default=ARMS)
    parser.add_argument("--repeats", type=int, default=15, help="blocks of updates of each code")
    parser.add_argument("--updates", type=int, default=BLOCK, help="in a block")
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    print(f"CPU ms per update at batch {BATCH}, of the fastest of {options.repeats} blocks\n")
    print("| arm | now | before | before / now | the same of medians |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        roots = [HERE] + ([options.against.resolve()] if options.against else [])
        codes = [start(root, Path(folder, str(i))) for i, root in enumerate(roots)]
        for arm in options.arms:
            print(row(arm, codes, options.repeats, options.updates), flush=True)
        for code in codes:
            code.stdin.close()
            code.wait()
    if options.overhead:
        print("\n" + overhead(), flush=True)


def row(arm: str, codes: list[Any], repeats: int, updates: int) -> str:
    """One line of the table."""
    for code in codes:
        ask(code, arm, 2)  # not counted
    times: list[list[float]] = [[] for _ in codes]
    for repeat in range(repeats):
        order = list(range(len(codes)))
        for i in order if repeat % 2 else reversed(order):
            times[i].append(ask(codes[i], arm, updates))
    cells = [f"{min(t):.1f}" for t in times]
    if len(codes) == 2:
        cells += [f"{of(times[1]) / of(times[0]):.2f}" for of in (min, median)]
    else:
        cells += ["-"] * 3
    return f"| {arm} | {' | '.join(cells)} |"


def start(root: Path, folder: Path) -> Any:
    """A process that trains with the code of a checkout."""
    env = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "benchmarks/cpu_updates.py"), "--serve", str(folder)]
    return subprocess.Popen(
        command, cwd=root, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(code: Any, arm: str, updates: int) -> float:
    """CPU ms per update of a block in another process."""
    print(json.dumps([arm, updates]), file=code.stdin, flush=True)
    return float(code.stdout.readline())


# --- In the process of one code


def serve(folder: Path) -> None:
    """Time blocks of updates as they are asked for, on data in ``folder``."""
    from hybrid_pipeline.arms import find_arm
    from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
    from hybrid_pipeline.models.hybrid import build_model
    from hybrid_pipeline.training.loop import Trainer

    groups = {name: read(name) for name in ("model", "training", "halting")}
    model = ModelConfig.model_validate(groups["model"])
    depth = model.trm.supervision_steps
    # Older code halts examples in training: here nothing halts before the last step.
    halting = HaltingConfig.model_validate(groups["halting"] | {"min_steps": depth})
    data = made_up_data(folder, rows=EPOCH * BATCH)
    for line in sys.stdin:
        arm, updates = json.loads(line)
        given = groups["training"] | {"global_batch_size": BATCH, "epochs": updates / EPOCH}
        if "optimizer" in given:  # older code knows one, and no such name
            given["optimizer"] = "adamw"
        network = build_model(find_arm(arm), model, data.shape, seed=0)
        for adapter in network.encoder.adapters.values() if hasattr(network, "encoder") else ():
            adapter.requires_grad_(False)  # as after its stage
        trainer = Trainer(network, data, TrainingConfig.model_validate(given), halting, seed=0)
        began = time.process_time()
        trainer.run()
        print(1000 * (time.process_time() - began) / updates, flush=True)


def read(group: str) -> dict[str, Any]:
    """A group of base's parameters, of the checkout that this process runs in."""
    content = Path(f"conf/base/parameters/{group}.yml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(content)[group]
    return found


def made_up_data(folder: Path, *, rows: int) -> Any:
    """A 4 x 4 puzzle of noise with four classes and the bundled tower's tokens, in int8."""
    from hybrid_pipeline.features.extract import FeatureStore
    from hybrid_pipeline.features.quantise import ChannelScale, quantise
    from hybrid_pipeline.features.store import ArrayStore
    from hybrid_pipeline.tasks.table import TaskTable
    from hybrid_pipeline.training.loader import TaskData

    rng, side, size, tokens, width = np.random.default_rng(0), 4, 64, 64, 96
    targets = rng.integers(0, 4, (rows, side**2))
    drawn = next(f.name for f in fields(TaskTable) if f.name in ("posed", "prompt", "prompts"))
    table = TaskTable(
        name="made_up", key="made-up", primary_metric="slots", classes=tuple("1234"),
        grid_shape=(side, side), example=np.arange(rows), split=np.full(rows, "train"),
        canonical=[str(i) for i in range(rows)], targets=targets,
        scored=np.ones(targets.shape, dtype=bool), **{drawn: [""] * rows},
    )  # fmt: skip
    images = ArrayStore.create(folder / "views", "made-up", rows, rows, {})
    images.write_shard(0, {"views": rng.integers(0, 256, (rows, 2, size, size), dtype=np.uint8)})
    exact = rng.normal(size=(rows, 2, tokens, width)).astype(np.float32)
    channels = ChannelScale.of(exact)
    meta = {"storage": "int8", "channels": channels.to_lists()}
    features = FeatureStore.create(folder / "tokens", "made-up", rows, rows, meta)
    rounded, scales = quantise(exact, channels)
    features.write_shard(0, {"tokens": rounded, "token_scales": scales})
    features.note(standardisation=channels.to_lists())
    return TaskData(table, images, features)


# --- What the project adds


def overhead() -> str:
    """A real run of one small cell: what its processor time went to.

    While training: updates with their data, validation, and the rest, which is checkpoints, logs,
    progress and MLflow's thread. What else the cell's node and the run take does not grow with
    training.
    """
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    from hybrid_pipeline.training import cell, loop
    from hybrid_pipeline.training.loader import TaskData

    spent: dict[str, float] = {}
    timed(loop.Trainer, "_update", "updates", spent)
    timed(TaskData, "stored", "data", spent)
    timed(cell, "evaluate", "evaluation", spent)
    trained = loop.Trainer.trained

    def at_the_end(self: Any) -> Any:
        spent["validation"] = spent["evaluation"]  # the test is still to come
        return trained(self)

    loop.Trainer.trained = at_the_end
    timed(loop.Trainer, "run", "training", spent, time.process_time)
    node = whole_node(spent)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        bootstrap_project(HERE)
        small = {"num_train": 480, "num_validation": 48, "num_test": 48}
        parameters = {
            "tasks": {"sudoku_4x4": None, "maze_4x4": small},
            "training": {"arm": "arm_2_clip", "epochs": 8},
            "storage": {"root": folder},
        }
        with node, KedroSession.create(HERE, runtime_params=parameters) as session:
            session.run(pipeline_name="hybrid_training")
    total = time.process_time() - began
    loop_seconds = spent["updates"] + spent["data"]
    rest = spent["training"] - loop_seconds - spent["validation"]
    around = spent["node"] - spent["training"]
    return (
        f"One cell of arm 2, {480 // BATCH * 8} updates, CPU seconds. While training: updates and "
        f"their data {loop_seconds:.2f}, validation {spent['validation']:.2f}, all else "
        f"{rest:.2f} ({100 * rest / loop_seconds:.1f} % of the bare loop). In the cell's node "
        f"before and after: {around:.2f}, with the imports of a process and the test. Outside: "
        f"{total - spent['node']:.1f}, once per run: imports, preparation, opening MLflow."
    )


def timed(
    owner: Any,
    name: str,
    what: str,
    spent: dict[str, float],
    clock: Callable[[], float] = time.thread_time,
) -> None:
    """Add the CPU time of a function's calls to ``spent[what]``; of its thread, or as told."""
    function: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        began = clock()
        try:
            return function(*args, **kwargs)
        finally:
            spent[what] = spent.get(what, 0.0) + clock() - began

    setattr(owner, name, call)


def whole_node(spent: dict[str, float]) -> Any:
    """While the block runs, add the process's CPU time inside nodes that train to ``spent``."""
    from contextlib import contextmanager

    from hybrid_pipeline.kedro_ext.study_hooks import NodeHooks

    @contextmanager
    def watching() -> Iterator[None]:
        before, after, began = NodeHooks.before_node_run, NodeHooks.after_node_run, [0.0]

        def start_node(self: Any, node: Any) -> None:
            began[0] = time.process_time()
            before(self, node)

        def end_node(self: Any, node: Any, outputs: Any) -> None:
            after(self, node, outputs)
            if "cell" in node.tags:
                spent["node"] = spent.get("node", 0.0) + time.process_time() - began[0]

        NodeHooks.before_node_run, NodeHooks.after_node_run = hooked(start_node), hooked(end_node)
        yield

    return watching()


def hooked(function: Any) -> Any:
    """A method that Kedro takes for a hook."""
    from kedro.framework.hooks import hook_impl

    return hook_impl(function)


if __name__ == "__main__":
    main()
