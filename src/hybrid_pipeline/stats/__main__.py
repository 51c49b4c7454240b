"""The door of ``python -m hybrid_pipeline.stats``; the command stands above, with the claims."""

from hybrid_pipeline.claims.command import main

if __name__ == "__main__":
    raise SystemExit(main())
