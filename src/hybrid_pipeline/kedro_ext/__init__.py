"""What the project adds to Kedro: runner, datasets, hooks, tracking, live display."""
