"""``python -m hybrid_pipeline.stats``."""

from hybrid_pipeline.stats.command import main

if __name__ == "__main__":
    raise SystemExit(main())
