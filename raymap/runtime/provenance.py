"""Where numbers come from: commit, machine and versions of the software."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: Packages on which a result depends.
PACKAGES = ("raymap", "ray", "torch", "numpy")


def git_commit(folder: Path | None = None) -> str:
    """Commit of the checkout that holds ``folder`` (default: this package), "+" if files differ, or "unknown"."""
    where = str(folder or Path(__file__).parent)
    try:
        head = subprocess.run(["git", "-C", where, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        dirty = subprocess.run(["git", "-C", where, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    except OSError:
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else "unknown"


def command(script: str | None = None, argv: Sequence[str] | None = None) -> str:
    """What was typed, as a shell takes it again: of this process, or a ``script`` with ``argv``."""
    return shlex.join(["python", script or sys.argv[0], *(sys.argv[1:] if argv is None else argv)])


def hardware() -> str:
    """One line: processor, logical cores and GPU of this machine."""
    import torch

    name = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}"


def versions() -> dict[str, str]:
    """Python and :data:`PACKAGES` -> version."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def tags() -> dict[str, str]:
    """All of the above, as tags of an MLflow run."""
    return {**versions(), "hardware": hardware(), "git_commit": git_commit()}
