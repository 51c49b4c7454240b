"""Hyperparameter rules with evidence, stability measured before and after, advice from curves."""
