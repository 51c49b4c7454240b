"""Effects, intervals, verdicts and the claims audit of an ablation study; needs no torch."""
