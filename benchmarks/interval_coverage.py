"""Coverage of 95 % intervals and error rates of the procedures, simulated.

    python benchmarks/interval_coverage.py [--studies 2000]

Prints the tables of docs/explanation/statistics.md as Markdown; no training, seconds on one core.
"""

from __future__ import annotations

import argparse

import numpy as np
from simulated_studies import METHODS, Design, coverage, family_wise_error, ladder_error

from hybrid_pipeline.stats.budget import LADDER, LADDER_ALPHA

NOISE = {"little (0.2 points)": 0.002, "much (6 points)": 0.06}
SEEDS = (3, 5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    print(f"| sd over seeds | seeds | {' | '.join(METHODS)} |")
    print(f"|---|---|{'---|' * len(METHODS)}")
    for label, seed_sd in NOISE.items():
        for num_seeds in SEEDS:
            rng = np.random.default_rng([num_seeds, int(1000 * seed_sd)])
            found = coverage(Design(num_seeds, seed_sd=seed_sd), studies, rng)
            cells = " | ".join(f"{found[name]:.3f}" for name in METHODS)
            print(f"| {label} | {num_seeds} | {cells} |")
    print()
    print("| sd over seeds | seeds | family-wise error of four stages, Holm |")
    print("|---|---|---|")
    for label, seed_sd in NOISE.items():
        for num_seeds in SEEDS:
            rng = np.random.default_rng([1, num_seeds, int(1000 * seed_sd)])
            error = sum(
                family_wise_error(Design(num_seeds, seed_sd=seed_sd), 250, rng)
                for _ in range(studies // 250)
            ) / (studies // 250)
            print(f"| {label} | {num_seeds} | {error:.3f} |")
    print()
    for name, nominal in (("uncorrected, .05", 0.05), (f"nominal {LADDER_ALPHA}", LADDER_ALPHA)):
        error = ladder_error(LADDER, nominal, 100_000, np.random.default_rng(2))
        print(f"Type I error of looks at {LADDER}, {name}: {error:.3f}")


if __name__ == "__main__":
    main()
