"""hybrid_pipeline measures whether each component of a hybrid vision-reasoning model helps."""

__version__ = "0.1.0"
