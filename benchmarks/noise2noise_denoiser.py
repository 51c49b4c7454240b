"""Does training on noisy targets denoise as well as training on clean ones?

The check of Lehtinen et al., "Noise2Noise", ICML 2018, section 3.1, in small: the same denoiser
from the same weights on the same noisy inputs, once with the clean image and once with a second
noisy view as its target. Run: ``python benchmarks/noise2noise_denoiser.py`` (one thread).
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering.levels import to_float
from hybrid_pipeline.rendering.text import render_text, text_grid
from hybrid_pipeline.seeding import rng_for, seed_for

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))
NUM_TRAIN, NUM_TEST = 2_048, 256
PEAK_LR, EMA_DECAY = 1e-2, 0.98
CONFIG = RenderingConfig(image_size=32)


@dataclass(frozen=True)
class Outcome:
    """PSNR on held-out clean images, in dB at a peak of one ink."""

    noisy_input: float
    clean_targets: float
    noisy_targets: float

    @property
    def gap(self) -> float:
        """What noisy targets cost, in dB."""
        return self.clean_targets - self.noisy_targets


class Denoiser(nn.Module):
    """Three 3 x 3 convolutions that predict the noise; the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [1, width, width, 1]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, images: Tensor) -> Tensor:
        """Denoised images, [batch, 1, height, width] in ink units."""
        hidden = images
        for layer in self.layers[:-1]:
            hidden = F.relu(layer(hidden))
        return images - self.layers[-1](hidden)


def draw_pages(name: str, num: int, seed: int) -> Tensor:
    """Clean pages of random letters and digits, [num, 1, 32, 32] in ink units."""
    grid = text_grid(CONFIG)
    letters = rng_for(name, seed).choice(LETTERS, size=(num, grid.rows, grid.columns))
    texts = ["\n".join("".join(line) for line in page) for page in letters]
    return torch.from_numpy(to_float(render_text(texts, CONFIG)))[:, None]


def noise(name: str, seed: int, step: int, like: Tensor, std: float) -> Tensor:
    """Gaussian noise of its own stream, zero-mean given the image."""
    drawn = rng_for(name, seed, step).standard_normal(tuple(like.shape), dtype=np.float32)
    return torch.from_numpy(drawn) * std


def psnr(images: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1."""
    return -10 * math.log10(F.mse_loss(images, clean).item())


def train(
    pages: Tensor, seed: int, *, clean_targets: bool, num_steps: int, std: float, width: int = 16
) -> Denoiser:
    """Adam, warm-up and cosine to zero; returns the averaged weights (EMA).

    The inputs are the same for both kinds of target. Noisy targets give the same expected gradient
    with more variance, so rate and averaging decide how soon the two meet.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("denoiser", seed))
        model = Denoiser(width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=PEAK_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LR, num_steps, pct_start=0.1, cycle_momentum=False
    )
    averaged = copy.deepcopy(model)
    for step in range(num_steps):
        clean = pages[rng_for("pages", seed, step).integers(0, len(pages), size=16)]
        view_a = clean + noise("view_a", seed, step, clean, std)
        target = clean if clean_targets else clean + noise("view_b", seed, step, clean, std)
        loss = F.mse_loss(model(view_a), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weight in zip(averaged.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
    return averaged


def run(seed: int, *, num_steps: int = 400, std: float = 0.25) -> Outcome:
    """Train with both kinds of target and score both on the same held-out noisy pages."""
    pages = draw_pages("train_pages", NUM_TRAIN, seed)
    clean = draw_pages("test_pages", NUM_TEST, seed)
    noisy = clean + noise("test_noise", seed, 0, clean, std)
    scores = []
    for clean_targets in (True, False):
        model = train(pages, seed, clean_targets=clean_targets, num_steps=num_steps, std=std)
        with torch.no_grad():
            scores.append(psnr(model(noisy), clean))
    return Outcome(psnr(noisy, clean), *scores)


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % t interval over seeds."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
    return mean, float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--std", type=float, nargs="+", default=[0.25])
    args = parser.parse_args()
    torch.set_num_threads(1)
    for std in args.std:
        start, gaps = time.process_time(), []
        print(f"\nnoise std {std}, {args.steps} updates\n")
        print("| seed | noisy input | clean targets | noisy targets | gap |\n|---|---|---|---|---|")
        for seed in args.seeds:
            o = run(seed, num_steps=args.steps, std=std)
            gaps.append(o.gap)
            row = (o.noisy_input, o.clean_targets, o.noisy_targets, o.gap)
            print(f"| {seed} | " + " | ".join(f"{v:.3f}" for v in row) + " |", flush=True)
        mean, low, high = interval(gaps)
        print(f"\ngap {mean:+.3f} dB [{low:+.3f}, {high:+.3f}], {len(gaps)} seeds, ", end="")
        print(f"{time.process_time() - start:.0f} CPU-s")


if __name__ == "__main__":
    main()
