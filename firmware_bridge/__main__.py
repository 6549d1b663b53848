"""`python -m firmware_bridge`, the same as the installed command."""

from firmware_bridge.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
