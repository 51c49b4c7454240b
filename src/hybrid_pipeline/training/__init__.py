"""One training loop for all arms."""
