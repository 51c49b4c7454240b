"""Effects, intervals and verdicts of an ablation study; needs no torch."""
