"""`python -m edge_agent`, the same as the installed command."""

from edge_agent.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
