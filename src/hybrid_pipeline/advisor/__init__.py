"""What the curves of a study suggest."""
