"""`make deb`: builds the package for each release asked for, with its bill of materials, and tells what came out."""

import argparse
import sys
import time
from pathlib import Path

from deb_recipe import source
from deb_recipe.build import build, write_sums
from deb_recipe.target import MACHINE, PYTHON, BuildError, Target


def main() -> int:
    """Build and return an exit status: 0 built, 1 not."""
    parser = argparse.ArgumentParser(prog="make deb", description="Build the Debian package.")
    parser.add_argument("--release", type=int, action="append", choices=sorted(PYTHON), help="default: all")
    parser.add_argument("--arch", default="amd64", choices=sorted(MACHINE))
    parser.add_argument("--version", help="default: that of edge_agent/version.py")
    parser.add_argument("--out", type=Path, default=source.ROOT / "dist")
    parser.add_argument("--quick", action="store_true", help="uncompressed, for a test")
    args = parser.parse_args()
    try:
        for release in args.release or sorted(PYTHON):
            started = time.monotonic()
            built = build(Target(release, args.arch), args.out, version=args.version, quick=args.quick)
            size = built.package.stat().st_size / 1e6
            print(f"{built.package}  {size:.1f} MB, {time.monotonic() - started:.1f} s")
            print(f"{built.bill}")
        print(write_sums(args.out))
    except BuildError as error:
        print(f"make deb: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
