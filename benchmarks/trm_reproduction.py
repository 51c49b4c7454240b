"""Does TRM's ablation keep its direction in small? Tokenised 4 x 4 Sudoku on one CPU core.

    OMP_NUM_THREADS=1 python benchmarks/trm_reproduction.py

Writes one JSON line a run to the standard output and the table at the end. The page beside this
script holds the result and what it means.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
import torch
from torch import Tensor, nn

from hybrid_pipeline.config import CoreConfig, TrmConfig
from hybrid_pipeline.models.layers import Core, Linear, truncated_normal_
from hybrid_pipeline.models.trm import Recursion
from hybrid_pipeline.seeding import rng_for, seed_for
from hybrid_pipeline.stats.intervals import two_component
from hybrid_pipeline.stats.multiplicity import holm
from hybrid_pipeline.training.losses import example_losses


@dataclass(frozen=True)
class Setting:
    """One row of the ablation; the defaults are the base setting."""

    name: str = "base"
    H_cycles: int = 2
    L_cycles: int = 3
    supervision_steps: int = 4
    gradient: str = "one_step"
    separate_networks: bool = False
    mlp_t: bool = True
    pos_encodings: str = "rope"
    dim: int = 32
    updates: int = 1200
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.1
    ema_rate: float = 0.999


BASE = Setting()
SETTINGS = [
    BASE,
    replace(BASE, name="supervision steps 4 -> 1", supervision_steps=1),
    replace(BASE, name="cycles H 2 -> 1", H_cycles=1),
    replace(BASE, name="cycles L 3 -> 1", L_cycles=1),
    replace(BASE, name="gradient of the last two updates", gradient="last_updates"),
    replace(BASE, name="gradient of all cycles", gradient="full"),
    replace(BASE, name="separate networks", separate_networks=True),
    replace(BASE, name="self-attention", mlp_t=False),
]


# --- data -----------------------------------------------------------------------------------------


def all_grids() -> np.ndarray:
    """The 288 solved 4 x 4 Sudokus [288, 16], digits 1 to 4."""
    rows = list(permutations((1, 2, 3, 4)))
    grids = []
    for grid in product(rows, repeat=4):
        g = np.array(grid)
        boxes = g.reshape(2, 2, 2, 2).swapaxes(1, 2).reshape(4, 4)
        if all(len(set(part)) == 4 for part in (*g.T, *boxes)):
            grids.append(g.ravel())
    return np.array(grids)


def symmetries() -> np.ndarray:
    """Cell orders [128, 16]: swaps of rows, columns, bands and stacks, and transposition."""
    swaps = [(a, b, c) for a, b, c in product((0, 1), repeat=3)]

    def order(a: int, b: int, c: int) -> list[int]:
        bands = [[0, 1][:: 1 - 2 * a], [2, 3][:: 1 - 2 * b]][:: 1 - 2 * c]
        return [*bands[0], *bands[1]]

    cells = np.arange(16).reshape(4, 4)
    orders = [cells[order(*r)][:, order(*c)] for r, c in product(swaps, swaps)]
    return np.array([o.ravel() for o in orders] + [o.T.ravel() for o in orders])


def canonical(puzzle: np.ndarray, orders: np.ndarray) -> bytes:
    """The least form of a puzzle under the symmetries and relabelling of digits."""
    moved = puzzle[orders]
    labels = np.zeros((len(orders), 5), dtype=np.int64)
    used = np.zeros(len(orders), dtype=np.int64)
    out = np.zeros_like(moved)
    rows = np.arange(len(orders))
    for cell in range(16):
        digit = moved[:, cell]
        fresh = (digit > 0) & (labels[rows, digit] == 0)
        used += fresh
        labels[rows[fresh], digit[fresh]] = used[fresh]
        out[:, cell] = labels[rows, digit]
    return min(map(bytes, out.astype(np.uint8)))


def make_puzzles(
    num_clues: tuple[int, ...], count: int, data_seed: int
) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
    """Random puzzles with one solution: clues [N, 16] (0 blank), solutions, canonical forms."""
    rng, grids, orders = rng_for("trm_reproduction/puzzles", data_seed), all_grids(), symmetries()
    seen: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    while len(seen) < count:
        solution = grids[rng.integers(len(grids))]
        shown = rng.permutation(16) < rng.choice(num_clues)
        if ((grids == solution) | ~shown).all(axis=1).sum() == 1:
            puzzle = solution * shown
            seen.setdefault(puzzle.tobytes(), (puzzle, solution))
    puzzles = np.array([p for p, _ in seen.values()])
    solutions = np.array([s for _, s in seen.values()])
    return puzzles, solutions, [canonical(p, orders) for p in puzzles]


@dataclass(frozen=True)
class Data:
    """Tokens and answers of one split."""

    clues: Tensor
    answers: Tensor

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Data]:
        """Full batches, epoch after epoch, in a fresh order each."""
        while True:
            order = torch.from_numpy(rng.permutation(len(self.clues)))
            for rows in order.split(size):
                if len(rows) == size:
                    yield Data(self.clues[rows], self.answers[rows])


def make_splits(
    num_clues: tuple[int, ...], sizes: dict[str, int], data_seed: int
) -> dict[str, Data]:
    """Splits that share no puzzle up to symmetry; whole orbits go to one split."""
    clues, answers, forms = make_puzzles(num_clues, sum(sizes.values()) * 3 // 2, data_seed)
    names = sorted(set(forms))
    order = rng_for("trm_reproduction/split", data_seed).permutation(len(names))
    shares = np.cumsum([size / sum(sizes.values()) for size in sizes.values()])
    part = dict(zip((names[i] for i in order), np.linspace(0, 1, len(names), False), strict=True))
    where = np.array([np.searchsorted(shares, part[form], side="right") for form in forms])
    splits = {}
    for index, (name, size) in enumerate(sizes.items()):
        rows = np.flatnonzero(where == index)[:size]
        splits[name] = Data(torch.from_numpy(clues[rows]), torch.from_numpy(answers[rows]) - 1)
    return splits


# --- model and training ---------------------------------------------------------------------------


class Solver(nn.Module):
    """Embedding, recursion, answer head."""

    def __init__(self, s: Setting) -> None:
        super().__init__()
        core = CoreConfig(
            dim=s.dim,
            num_layers=2,
            num_heads=2,
            hidden_multiple=32,
            mlp_t=s.mlp_t,
            pos_encodings=s.pos_encodings,
        )
        trm = TrmConfig(
            H_cycles=s.H_cycles,
            L_cycles=s.L_cycles,
            supervision_steps=s.supervision_steps,
            gradient=s.gradient,
            separate_networks=s.separate_networks,
        )
        self.embedding = nn.Parameter(truncated_normal_(torch.empty(5, s.dim), std=1.0))
        self.recursion = Recursion(
            trm, Core(core, 16), Core(core, 16) if s.separate_networks else None
        )
        self.head = Linear(s.dim, 4)

    def embed(self, clues: Tensor) -> Tensor:
        """Clues [B, 16] -> x [B, 16, D] at unit scale."""
        return self.recursion.core.add_positions(self.embedding[clues])


def train(s: Setting, data: Data, seed: int) -> tuple[Solver, list[Tensor]]:
    """One update a supervision step, the carry detached in between (TRM, figure 3).

    Returns:
        The model with its last weights, and their moving average.
    """
    torch.manual_seed(seed_for("trm_reproduction/init", seed))
    model = Solver(s)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": s.weight_decay}
    ]
    optimizer = torch.optim.AdamW(groups, lr=s.lr, betas=(0.9, 0.98))
    average = [p.detach().clone() for p in model.parameters()]
    batches = data.batches(s.batch, rng_for("trm_reproduction/order", seed))
    update = 0
    while update < s.updates:
        batch = next(batches)
        carry = model.recursion.initial_carry(len(batch.clues), 16)
        for _ in range(s.supervision_steps):
            for group in optimizer.param_groups:
                group["lr"] = s.lr * min(1.0, (update + 1) / (0.1 * s.updates))
            carry = model.recursion(carry.detach(), model.embed(batch.clues))
            loss = example_losses(
                model.head(carry.z_H), batch.answers, batch.clues == 0, "stablemax_cross_entropy"
            ).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            update += 1
            decay = min(s.ema_rate, (1 + update) / (10 + update))
            torch._foreach_lerp_(average, [p.detach() for p in model.parameters()], 1 - decay)
    return model, average


@torch.no_grad()
def evaluate(model: Solver, data: Data) -> Run:
    """Score every puzzle at the depth that was trained."""
    carry = model.recursion.initial_carry(len(data.clues), 16)
    for _ in range(model.recursion.config.supervision_steps):
        carry = model.recursion(carry, model.embed(data.clues))
    right = model.head(carry.z_H).argmax(-1) == data.answers
    blank = data.clues == 0
    exact = (right | ~blank).all(dim=1).double().numpy()
    return Run(exact, float(((right & blank).sum(1) / blank.sum(1)).mean()))


@dataclass(frozen=True)
class Run:
    """Scores of one model: exact per puzzle, and the mean share of blanks right."""

    exact: np.ndarray
    blanks: float


def run_cell(s: Setting, splits: dict[str, Data], split: str, seed: int) -> dict[str, Run]:
    """Train once; score the averaged weights and, for the base setting, the last ones as well."""
    started = time.process_time()
    model, average = train(s, splits["train"], seed)
    spent = time.process_time() - started
    runs = {}
    if s.name == BASE.name:
        runs["no EMA"] = evaluate(model, splits[split])
    with torch.no_grad():
        for parameter, kept in zip(model.parameters(), average, strict=True):
            parameter.copy_(kept)
    runs[s.name] = evaluate(model, splits[split])
    seen = evaluate(model, splits["train"]).exact.mean()
    for name, run in runs.items():
        scores = {"exact": run.exact.mean(), "blanks": run.blanks}
        if name == s.name:
            scores |= {"train_exact": seen, "cpu_s": spent}
        rounded = {key: round(float(value), 4) for key, value in scores.items()}
        print(json.dumps({"setting": name, "seed": seed, **rounded}), flush=True)
    return runs


def write_table(runs: dict[str, list[Run]]) -> None:
    """Markdown: exact accuracy, then the difference to base with its 95 % interval."""
    print("| setting | exact, by seed | mean | blanks | minus base, points [95 %] | p, Holm |")
    print("|---|---|---|---|---|---|")
    exact = {name: np.array([run.exact for run in found]) for name, found in runs.items()}
    others = [name for name in runs if name != BASE.name]
    gaps = {name: two_component([exact[name] - exact[BASE.name]]) for name in others}
    adjusted = dict(zip(others, holm([gaps[n].p_two_sided() for n in others]), strict=True))
    for name in (BASE.name, *others):
        cells = [name, " ".join(f"{mean:.3f}" for mean in exact[name].mean(axis=1))]
        blanks = np.mean([run.blanks for run in runs[name]])
        cells += [f"{exact[name].mean():.3f}", f"{blanks:.3f}"]
        if name == BASE.name:
            cells += ["", ""]
        else:
            gap = gaps[name].interval(0.95)
            points = [100 * value for value in (gap.estimate, gap.low, gap.high)]
            cells += ["{:+.1f} [{:+.1f}, {:+.1f}]".format(*points), f"{adjusted[name]:.3f}"]
        print("| " + " | ".join(cells) + " |")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--train", type=int, default=400, help="training puzzles")
    parser.add_argument("--data-seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="settings whose name contains one; and base")
    parser.add_argument("--set", nargs="*", default=[], help="name=value for every setting")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(1)
    changes = {key: json.loads(value) for key, value in (item.split("=") for item in arguments.set)}
    sizes = {"train": arguments.train, "validation": 500, "test": 500}
    splits = make_splits((5, 6, 7), sizes, arguments.data_seed)
    found: dict[str, list[Run]] = {}
    for setting in SETTINGS:
        wanted = arguments.only or [""]
        if setting is not BASE and not any(part in setting.name for part in wanted):
            continue
        for seed in arguments.seeds:
            changed = replace(setting, **changes)
            for name, run in run_cell(changed, splits, arguments.split, seed).items():
                found.setdefault(name, []).append(run)
    if len(arguments.seeds) > 1:
        write_table(found)


if __name__ == "__main__":
    main()
