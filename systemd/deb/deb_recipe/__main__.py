"""`make deb`: builds the package for each release asked for, with its bill of materials, and tells what came out."""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
    parser.add_argument("--quick", action="store_true", help="hardly compressed, for a test")
    args = parser.parse_args()
    try:
        targets = [Target(release, args.arch) for release in args.release or sorted(PYTHON)]
        started = time.monotonic()
        one = partial(build, out=args.out, version=args.version, quick=args.quick)
        with ThreadPoolExecutor() as pool:  # the time goes to one thread of xz each
            for built in pool.map(one, targets):
                print(f"{built.package}  {built.package.stat().st_size / 1e6:.1f} MB")
                print(built.bill)
        print(f"{write_sums(args.out)}  in {time.monotonic() - started:.0f} s")
    except BuildError as error:
        print(f"make deb: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
