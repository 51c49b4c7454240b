"""``python -m hybrid_pipeline`` runs pipelines like ``kedro run``."""

from __future__ import annotations

from typing import Any


def main(*args: Any, **kwargs: Any) -> Any:
    """Run the project's ``run`` command."""
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    configure_project("hybrid_pipeline")
    return find_run_command("hybrid_pipeline")(*args, **kwargs)


if __name__ == "__main__":
    main()
