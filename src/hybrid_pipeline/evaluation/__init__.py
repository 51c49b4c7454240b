"""Per-example scores, and what a model costs."""
