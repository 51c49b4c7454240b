"""The hallway: Kedro pipelines that chain the rooms of the library."""
