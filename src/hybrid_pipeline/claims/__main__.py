"""``python -m hybrid_pipeline.claims SCORES CLAIMS``: the statistics, and claims judged by them."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_pipeline.claims.claims import read_claims
from hybrid_pipeline.claims.study import analyse_with_claims
from hybrid_pipeline.stats.command import path_at_home, report, score_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 with one sentence on standard error."""
    parser = score_parser("hybrid_pipeline.claims")
    parser.add_argument("claims", type=path_at_home, help="a file of claims to be judged")
    options = parser.parse_args(arguments)
    return report(options, lambda study: analyse_with_claims(study, read_claims(options.claims)))


if __name__ == "__main__":
    raise SystemExit(main())
