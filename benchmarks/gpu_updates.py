"""What this GPU does with the project's updates: one page, in under eight minutes.

    python benchmarks/gpu_updates.py

It measures, on made-up data of the right shapes: updates of every arm, eager and captured, at the
sizes of ``conf/base`` and ``conf/t4``, under the memory of a T4; whether both give the same
weights; the frozen tower alone and the whole extraction; the thirty cells of the default study, one
and several at once; and what the last says of ``conf/gpu``. It writes
``benchmarks/gpu_<card>_<date>.md``. Without a GPU it says so and ends with status 1.

Needs Python 3.11 or newer, torch 2.11 or newer, and the packages that training imports: numpy,
pandas, pyarrow, pydantic, PyYAML, Pillow, jaxtyping, timm, opencv and regex;
open_clip_torch for the tower, whose table is left out without it. Kedro and MLflow are not needed:
``PYTHONPATH=src python benchmarks/gpu_updates.py``.

``--tiny`` shrinks every size and ``--device cpu`` replays eagerly: for the test of this script.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from arm_time import study_minutes

from hybrid_pipeline.arms import Arm, chain
from hybrid_pipeline.config import (
    AblationConfig,
    ClipConfig,
    HaltingConfig,
    ModelConfig,
    TrainingConfig,
)
from hybrid_pipeline.features.extract import FeatureStore, extract_features
from hybrid_pipeline.features.quantise import ChannelScale, quantise
from hybrid_pipeline.features.store import ArrayStore
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.storage import write_text_atomically
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.capture import own_stream
from hybrid_pipeline.training.cards import describe
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.loop import Trainer
from hybrid_pipeline.training.turns import TURNS

ROOT = Path(__file__).parents[1]
T4_GIB = 14.5
SECONDS = 450
CELLS_S = 150  # of the cells, one after the other
TINY = {
    "core": {"dim": 16, "num_heads": 2, "num_layers": 1, "hidden_multiple": 8},
    "vit": {"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2, "stem": "patch"},
    "n2n": {"num_heads": 2, "mlp_ratio": 1.0, "depth": 1},
    "trm": {"H_cycles": 1, "L_cycles": 1, "supervision_steps": 2},
    "coconut": {"num_paths": 2, "num_thoughts": 1},
}


@dataclass(frozen=True)
class Task:
    """The shapes of a made-up task."""

    rows: int
    image_size: int
    side: int
    classes: int
    tokens: int
    width: int
    storage: str


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    base: Task
    t4: Task
    base_updates: int
    t4_updates: int
    equal_updates: int
    images: int
    clip: ClipConfig
    cells_at_once: tuple[int, ...]
    cells_per_arm: int
    cell_updates: int
    t4_batches: tuple[tuple[int, bool], ...]  # micro-batch, gradient checkpointing


WHOLE = Sizes(
    base=Task(2520, 64, 4, 5, 64, 96, "float16"),
    t4=Task(512, 224, 8, 2, 196, 768, "int8"),
    base_updates=60,
    t4_updates=4,
    equal_updates=20,
    images=4096,
    clip=ClipConfig(source="random", model="ViT-B-16-quickgelu", storage="int8", batch_size=256),
    cells_at_once=(6, 10),
    cells_per_arm=6,  # two tasks, three seeds
    cell_updates=1000,
    t4_batches=((48, True), (96, True), (192, True), (192, False)),
)
SMALL = Sizes(
    base=Task(24, 32, 2, 3, 4, 8, "float16"),
    t4=Task(24, 32, 2, 3, 4, 8, "int8"),
    base_updates=2,
    t4_updates=1,
    equal_updates=2,
    images=8,
    clip=ClipConfig(source="random", storage="int8", batch_size=4),
    cells_at_once=(1, 2),
    cells_per_arm=1,
    cell_updates=2,
    t4_batches=((4, True), (8, False)),
)


@dataclass
class Bench:
    """One run: where, how much, until when, and the page so far."""

    device: torch.device
    sizes: Sizes
    tiny: bool
    folder: Path
    deadline: float
    page: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    chain_ms: dict[str, float] = field(default_factory=dict)
    at_once: float = 1.0

    def section(self, title: str, run: Callable[[], Iterator[str]]) -> None:
        """Run one section; what there is no time or no package for is said in its place."""
        self.page += ["", f"## {title}", ""]
        if time.monotonic() > self.deadline:
            self.page.append("Left out: the eight minutes were over.")
            return
        try:
            for line in run():
                self.page.append(line)
                print(line, flush=True)
        except ImportError as error:
            self.page.append(f"Left out: {error}.")
        except (RuntimeError, ValueError) as error:  # the other sections are worth having
            traceback.print_exc()
            self.failed.append(title)
            self.page.append(f"Failed: {(str(error) or repr(error)).splitlines()[0]}.")
        self.free()

    def free(self) -> None:
        """Give back what is not used, and forget the peak."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def wait(self) -> None:
        """Until the device has done what was queued."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def peak_gib(self) -> float:
        """Memory that torch held at most since the last ``free``."""
        if self.device.type != "cuda":
            return 0.0
        return torch.cuda.max_memory_reserved() / 2**30

    @contextmanager
    def memory_of_a_t4(self) -> Iterator[None]:
        """Limit this process to what a T4 has."""
        if self.device.type != "cuda":
            yield
            return
        total = torch.cuda.get_device_properties(self.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, T4_GIB * 2**30 / total))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)


# --- What is trained


@dataclass(frozen=True)
class Profile:
    """The parameters of an environment that training reads."""

    model: ModelConfig
    training: TrainingConfig
    halting: HaltingConfig
    ablation: AblationConfig
    tasks: Mapping[str, Any]


def profile(env: str, bench: Bench) -> Profile:
    """An environment on top of base, read without Kedro; tiny if that is asked for."""
    found: dict[str, Any] = {}
    for folder in dict.fromkeys(("base", env)):
        for path in sorted((ROOT / "conf" / folder / "parameters").glob("*.yml")):
            found = merged(found, yaml.safe_load(path.read_text("utf-8")) or {})
    if bench.tiny:
        small = {"global_batch_size": 8, "micro_batch_size": None}
        found = merged(found, {"model": TINY, "training": small})
    found["training"] = found["training"] | {"device": bench.device.type}
    if bench.device.type == "cpu":
        found["training"] = found["training"] | {"precision": "fp32"}
    return Profile(
        model=ModelConfig.model_validate(found["model"]),
        training=TrainingConfig.model_validate(found["training"]),
        halting=HaltingConfig.model_validate(found["halting"]),
        ablation=AblationConfig.model_validate(found["ablation"]),
        tasks=found["tasks"],
    )


def merged(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merged key by key, as the project's environments are."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merged(old, value) if both else value
    return result


def made_up(task: Task, root: Path) -> TaskData:
    """Random images, tokens and answers in real stores on disk."""
    rng, slots = np.random.default_rng(0), task.side**2
    held_out = max(2, task.rows // 8)
    splits = ["train"] * (task.rows - 2 * held_out) + ["validation"] * held_out
    table = TaskTable(
        name="made_up", key=f"made-up-{task.rows}", primary_metric="correct",
        classes=tuple(str(c) for c in range(task.classes)), grid_shape=(task.side, task.side),
        example=np.arange(task.rows), split=np.array(splits + ["test"] * held_out),
        prompt=[""] * task.rows, canonical=[str(i) for i in range(task.rows)],
        targets=rng.integers(0, task.classes, (task.rows, slots)),
        scored=np.ones((task.rows, slots), dtype=bool),
    )  # fmt: skip
    images = ArrayStore.create(root / "views", f"views-{root.name}", task.rows, 256, {})
    meta = {"storage": task.storage}
    store = FeatureStore.create(root / "tokens", f"tokens-{root.name}", task.rows, 256, meta)
    scale = ChannelScale(np.zeros(task.width, np.float32), np.ones(task.width, np.float32))
    for shard in range(images.num_shards):
        rows = len(images.shard_rows(shard))
        views = rng.integers(0, 256, (rows, 2, task.image_size, task.image_size), dtype=np.uint8)
        images.write_shard(shard, {"views": views})
        tokens = rng.normal(size=(rows, 2, task.tokens, task.width)).astype(np.float32)
        if task.storage == "int8":
            rounded, scales = quantise(tokens, scale)
            store.write_shard(shard, {"tokens": rounded, "token_scales": scales})
        else:
            store.write_shard(shard, {"tokens": tokens.astype(np.float16)})
    store.note(channels=scale.to_lists(), standardisation=scale.to_lists())
    return TaskData(table, images, store)


def trainer(arm: Arm, data: TaskData, found: Profile, updates: int, **changes: Any) -> Trainer:
    """A trainer of an arm for a number of updates."""
    training = found.training.model_copy(update=changes)
    per_epoch = max(1, len(data.table.rows("train")) // training.global_batch_size)
    training = training.model_copy(update={"epochs": updates / per_epoch, "eval_interval": 1e6})
    seed = int(changes.get("seed", 0))
    model = build_model(arm, found.model, data.shape, seed=seed)
    return Trainer(model, data, training, found.halting, seed=seed)


@dataclass(frozen=True)
class Timed:
    """What some updates took."""

    milliseconds: float
    peak_gib: float


def timed(bench: Bench, arm: Arm, data: TaskData, found: Profile, updates: int, **changes: Any):
    """Time updates after the first two, which capture; None if memory does not suffice."""
    bench.free()
    try:
        with TURNS.taken(), own_stream(bench.device):
            steps = trainer(arm, data, found, updates + 2, **changes).steps()
            for _ in range(2):
                next(steps)
            bench.wait()
            started = time.perf_counter()
            for _ in range(updates):
                next(steps)
            bench.wait()
            seconds = time.perf_counter() - started
            steps.close()
            return Timed(1000 * seconds / updates, bench.peak_gib())
    except RuntimeError as error:  # in a capture, "out of memory" ends as another error
        if "out of memory" not in f"{error} {error.__context__}":
            raise
        return None
    finally:
        bench.free()


# --- The sections


def small_updates(bench: Bench, data: TaskData) -> Iterator[str]:
    """Base: eager against captured."""
    found = profile("base", bench)
    yield "| arm | eager, ms | captured, ms | factor |"
    yield "|---|---|---|---|"
    for arm in chain():
        eager, captured = (
            timed(bench, arm, data, found, bench.sizes.base_updates, capture=capture)
            for capture in (False, True)
        )
        bench.chain_ms[arm.name] = captured.milliseconds
        factor = eager.milliseconds / captured.milliseconds
        yield (
            f"| {arm.name} | {eager.milliseconds:.2f} | {captured.milliseconds:.2f} |"
            f" {factor:.1f} |"
        )


def equal_weights(bench: Bench, data: TaskData) -> Iterator[str]:
    """Whether a graph computes what the functions do, in fp32."""
    found, updates = profile("base", bench), bench.sizes.equal_updates
    yield f"Largest relative difference of a weight tensor after {updates} updates in fp32:"
    yield ""
    for arm in (chain()[0], chain()[-1]):
        weights = []
        for capture in (False, True):
            with TURNS.taken(), own_stream(bench.device):
                trained = trainer(arm, data, found, updates, capture=capture, precision="fp32")
                list(trained.steps())
                bench.wait()
                weights.append([p.detach().double().cpu() for p in trained.model.parameters()])
        difference = max(
            float((a - b).norm() / a.norm().clamp(min=1e-12)) for a, b in zip(*weights, strict=True)
        )
        yield f"- {arm.name}: {difference:.1e}"


def large_updates(bench: Bench, data: TaskData) -> Iterator[str]:
    """The t4 profile: eager against captured, under a T4's memory."""
    found, sizes = profile("t4", bench), bench.sizes
    batch = found.training.global_batch_size
    yield f"Batch {batch}, {found.training.precision}, at most {T4_GIB} GiB."
    yield ""
    yield (
        "| arm | micro-batch | checkpointing | eager, samples/s | captured, samples/s | factor |"
        " peak eager, GiB | peak captured, GiB |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for arm in chain():
        for micro, checkpointing in sizes.t4_batches:
            if time.monotonic() > bench.deadline:
                return
            changes = {"micro_batch_size": micro, "gradient_checkpointing": checkpointing}
            with bench.memory_of_a_t4():
                captured = timed(bench, arm, data, found, sizes.t4_updates, capture=True, **changes)
                eager = None
                if (micro, checkpointing) == sizes.t4_batches[0]:
                    eager = timed(
                        bench, arm, data, found, sizes.t4_updates, capture=False, **changes
                    )
            yield large_row(arm, micro, checkpointing, batch, eager, captured)


def large_row(arm, micro, checkpointing, batch, eager, captured) -> str:
    """One line of the table; a dash for what was not run or did not fit."""

    def rate(found: Timed | None) -> str:
        return "-" if found is None else f"{1000 * batch / found.milliseconds:,.0f}"

    def peak(found: Timed | None) -> str:
        return "-" if found is None else f"{found.peak_gib:.1f}"

    both = eager is not None and captured is not None
    factor = f"{eager.milliseconds / captured.milliseconds:.1f}" if both else "-"
    fits = rate(captured) if captured is not None else "out of memory"
    return (
        f"| {arm.name} | {micro} | {'yes' if checkpointing else 'no'} | {rate(eager)} | {fits} |"
        f" {factor} | {peak(eager)} | {peak(captured)} |"
    )


def extraction(bench: Bench) -> Iterator[str]:
    """Images per second of the tower alone and of the whole node."""
    from hybrid_pipeline.features.clip import load_tower

    clip, num = bench.sizes.clip, bench.sizes.images
    tower = load_tower(clip, device=bench.device.type)
    size = tower.source.preprocessing.size
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (clip.batch_size, size, size), dtype=np.uint8)
    yield f"{tower.name}, {size} px, {tower.num_tokens} tokens, batch {clip.batch_size}."
    yield ""
    yield "| | images/s |"
    yield "|---|---|"
    for precision in dict.fromkeys((tower.precision, "fp32")):
        one = load_tower(clip.model_copy(update={"precision": precision}), device=tower.device)
        one.encode_on_device(batch)
        bench.wait()
        started, rounds = time.perf_counter(), max(1, num // clip.batch_size)
        for _ in range(rounds):
            one.encode_on_device(batch)
        bench.wait()
        seconds = time.perf_counter() - started
        yield f"| tower, {precision} | {rounds * clip.batch_size / seconds:,.0f} |"
    rows = num // 2
    images = ArrayStore.create(bench.folder / "images", "images", rows, 512, {"num_train": rows})
    for shard in range(images.num_shards):
        shape = (len(images.shard_rows(shard)), 2, size, size)
        images.write_shard(shard, {"views": rng.integers(0, 256, shape, dtype=np.uint8)})
    started = time.perf_counter()
    extract_features(images, tower, clip, bench.folder / "features")
    seconds = time.perf_counter() - started
    yield f"| whole node, {clip.storage} to disk | {2 * rows / seconds:,.0f} |"


def cells(bench: Bench, data: TaskData) -> Iterator[str]:
    """Thirty cells of the default study, one and several at once."""
    found = profile("base", bench)
    jobs = [(arm, seed) for seed in range(bench.sizes.cells_per_arm) for arm in chain()]
    each = len(jobs) / len(chain()) * sum(bench.chain_ms.values()) / 1000
    updates = max(2, min(bench.sizes.cell_updates, int(CELLS_S / each)))
    alone = updates * each

    def train(job: tuple[Arm, int]) -> None:
        arm, seed = job
        with TURNS.taken(), own_stream(bench.device):
            trainer(arm, data, found, updates, capture=True, seed=seed).run()

    yield (
        f"{len(jobs)} cells of {updates} updates; one after the other, by the first table,"
        f" {alone:.0f} s."
    )
    yield ""
    yield "| cells at once | s | times faster |"
    yield "|---|---|---|"
    for at_once in bench.sizes.cells_at_once:
        if time.monotonic() > bench.deadline:
            return
        bench.free()
        started = time.perf_counter()
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            list(pool.map(train, jobs))
        bench.wait()
        seconds = time.perf_counter() - started
        bench.at_once = max(bench.at_once, alone / seconds)
        yield f"| {at_once} | {seconds:.0f} | {alone / seconds:.1f} |"


def study(bench: Bench) -> Iterator[str]:
    """What the measured updates say of ``conf/gpu``."""
    found = profile("gpu", bench)
    sizes = [task["num_train"] for task in found.tasks.values()]
    minutes = study_minutes(found.ablation, found.training, sizes, bench.chain_ms, bench.at_once)
    yield (
        f"By these figures the updates of `conf/gpu` take {minutes:.1f} minutes. Validations,"
        " tests and the report come on top; the study itself was not run here."
    )


def measure(bench: Bench) -> str:
    """Run all sections; the page."""
    small = made_up(bench.sizes.base, bench.folder / "base")
    large = made_up(bench.sizes.t4, bench.folder / "t4")
    bench.section("Updates at base's sizes", lambda: small_updates(bench, small))
    bench.section("Captured against eager", lambda: equal_weights(bench, small))
    bench.section("Extraction", lambda: extraction(bench))
    bench.section("Cells at once", lambda: cells(bench, small))
    bench.section("The study of conf/gpu", lambda: study(bench))
    bench.section("Updates at the sizes of conf/t4", lambda: large_updates(bench, large))
    return "\n".join(bench.page) + "\n"


def head(bench: Bench) -> list[str]:
    """What the page is about, and of which machine it speaks."""
    name, details = card_name(bench), f"torch {torch.__version__}"
    if bench.device.type == "cuda":
        found = describe()
        total = torch.cuda.get_device_properties(bench.device).total_memory / 2**30
        details += f", CUDA {found.cuda}, driver {found.driver}, {total:.1f} GiB"
    lines = [f"# Updates on {name}", "", f"{details}; {date.today().isoformat()}."]
    if bench.tiny:
        lines.append("**Made with --tiny: the figures say nothing.**")
    return [*lines, "", "Made by `python benchmarks/gpu_updates.py`; random data, one run."]


def card_name(bench: Bench) -> str:
    """The card, or the processor."""
    cuda = bench.device.type == "cuda"
    return torch.cuda.get_device_name(bench.device) if cuda else "a CPU"


def page_path(folder: Path, card: str) -> Path:
    """``gpu_<card>_<date>.md`` with nothing but letters, digits and hyphens in the card."""
    name = "-".join("".join(c if c.isalnum() else " " for c in card).lower().split())
    return folder / f"gpu_{name}_{date.today().isoformat()}.md"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes for the test of this script")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks", help="folder of the page")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not describe().cards:
        sys.stderr.write("There is no CUDA card that torch can use here: nothing was measured.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            device=torch.device(given.device),
            sizes=SMALL if given.tiny else WHOLE,
            tiny=given.tiny,
            folder=Path(folder),
            deadline=time.monotonic() + SECONDS,
        )
        bench.page += head(bench)
        text = measure(bench)
        path = page_path(given.out, card_name(bench))
    write_text_atomically(path, text)
    print(f"Written to {path}.")
    return 2 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
