"""MLflow: one run per study, one per cell."""
