"""Frozen towers and the store that keeps what they compute."""
