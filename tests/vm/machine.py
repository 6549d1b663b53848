"""A small Debian machine in QEMU, without KVM: for parts of Linux that this machine's kernel does not have.

It boots from memory in seconds: Debian's kernel with an initramfs that is the whole system, init included. What it
prints on its serial console is all that comes out of it.
"""

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SUITE, SUITE_PYTHON = "bookworm", "3.11"
_UNUSED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
_BUILD_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Machine:
    """Kernel and initramfs of one machine."""

    kernel: Path
    initramfs: Path
    memory_mb: int = 1536

    def boot(self, within_s: float) -> str:
        """Run it until it powers itself off; returns what it printed. Raises TimeoutError with the same."""
        command = [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
            *("-m", str(self.memory_mb), "-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"),
            *("-kernel", str(self.kernel), "-initrd", str(self.initramfs), "-serial", "stdio"),
            *("-append", "console=ttyS0 quiet mitigations=off panic=-1"),
        ]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=within_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            raise TimeoutError(f"the machine was not done after {within_s:.0f} s; it said:\n{said[-4000:]}") from error
        return done.stdout.decode(errors="replace")


def build(folder: Path, *, packages: Sequence[str], extra: str, init: Path, files: Sequence[Path]) -> Machine:
    """Make a machine in ``folder``; about half a minute, as root, with Debian's archive in reach.

    ``packages`` of Debian; what the project and its ``extra`` need of Python in /opt/site; the project's
    firmware_bridge and ``files`` in /opt; ``init`` as the first process.
    """
    tree = folder / "tree"
    _run(
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={','.join(packages)}",
        *(f"--dpkgopt=path-exclude={path}" for path in _UNUSED),
        f'--customize-hook={HERE / "take_kernel.sh"} "$1"',
        SUITE,
        str(tree),
    )
    _install_python(folder, tree / "opt" / "site", extra)
    shutil.copytree(
        ROOT / "firmware_bridge", tree / "opt" / "firmware_bridge", ignore=shutil.ignore_patterns("__pycache__")
    )
    for path in files:
        shutil.copy(path, tree / "opt")
    shutil.copy(init, tree / "init")
    (tree / "init").chmod(0o755)
    kernel = folder / "vmlinuz"
    shutil.move(next((tree / "boot").glob("vmlinuz-*")), kernel)
    initramfs = folder / "initramfs"
    with initramfs.open("wb") as out:
        found = subprocess.run(["find", ".", "-print0"], cwd=tree, stdout=subprocess.PIPE, check=True).stdout
        pack = ["cpio", "--quiet", "--null", "--create", "--format=newc"]
        subprocess.run(pack, cwd=tree, input=found, stdout=out, check=True)
    return Machine(kernel, initramfs)


def _install_python(folder: Path, site: Path, extra: str) -> None:
    uv = Path(sys.prefix) / "bin" / "uv"
    wanted = folder / "requirements.txt"
    _run(str(uv), "export", "--quiet", "--frozen", "--no-emit-project", "--extra", extra, "--output-file", str(wanted))
    _run(
        *(str(uv), "pip", "install", "--quiet", "--target", str(site), "--require-hashes"),
        *("--python-version", SUITE_PYTHON, "--python-platform", f"{platform.machine()}-manylinux_2_28"),
        *("-r", str(wanted)),
    )


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_BUILD_WITHIN_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout.decode(errors='replace')[-4000:]}")
