"""Finds a compiler that Sionna RT can trace with: CUDA, else an LLVM that works, proven by one ray in a subprocess.

Dr.Jit compiles kernels with a shared LLVM library. Versions before 19 load without complaint and then abort the whole
process at the first kernel, which no exception handler catches; so nothing is traced here before a child process has
traced one ray with the same library.
"""

from __future__ import annotations

import ctypes.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from glob import glob
from importlib.util import find_spec
from pathlib import Path

#: Older ones cannot compile the kernels of Dr.Jit 1.5 (mitsuba 3.9, sionna-rt 2.2).
MIN_LLVM = 19

ENVIRONMENT = "DRJIT_LIBLLVM_PATH"

INSTALL = (
    f"Sionna RT traces on the CPU with LLVM {MIN_LLVM} or newer: `apt-get install --no-install-recommends libllvm19` "
    f"(Debian, Ubuntu), `dnf install llvm-libs` (Fedora) or `brew install llvm` (macOS), or set {ENVIRONMENT} to its "
    "shared library"
)

_PLACES = (
    "/usr/lib/llvm-*/lib/libLLVM*",
    "/usr/lib/*-linux-gnu/libLLVM*",
    "/usr/lib64/libLLVM*",
    "/usr/lib64/llvm*/lib*/libLLVM*",
    "/usr/lib/libLLVM*",
    "/usr/local/lib/libLLVM*",
    "/opt/homebrew/opt/llvm*/lib/libLLVM*",
    "/usr/local/opt/llvm*/lib/libLLVM*",
)

_ONE_RAY = """
import sys
import mitsuba as mi
mi.set_variant(sys.argv[1])
scene = mi.load_dict({"type": "scene", "body": {"type": "cube"}})
hit = scene.ray_intersect(mi.Ray3f(mi.Point3f([0, 0.5], 0, 5), mi.Vector3f(0, 0, -1)))
assert abs(float(hit.t[1]) - 4) < 1e-3, hit.t
"""


@dataclass(frozen=True)
class Backend:
    """``variant``: of mitsuba; ``llvm``: path of the library it compiles with, None for CUDA or Dr.Jit's own choice."""

    variant: str
    llvm: str | None = None


@lru_cache(maxsize=1)
def doctor() -> Backend:
    """The backend that works here: CUDA where there is a device, else the newest usable LLVM.

    ``DRJIT_LIBLLVM_PATH`` is taken at its word: if it is set, no other library is tried. Takes about two seconds the
    first time, in a child process. Raises ImportError if sionna-rt is not installed, and RuntimeError, saying what was
    tried and what to install, if no backend traces a ray.
    """
    if find_spec("sionna") is None or find_spec("mitsuba") is None:
        raise ImportError("ray tracing needs sionna-rt: pip install 'raymap[sionna]'")
    tried = []
    for backend in _candidates():
        reason = _fails(backend)
        if reason is None:
            return backend
        tried.append(f"{backend.llvm or backend.variant}: {reason}")
    raise RuntimeError(f"{INSTALL}. Tried: {'; '.join(tried) or 'nothing, no such library was found'}.")


def prepare():
    """Imports sionna.rt on the backend that works and returns it. Raises what :func:`doctor` raises."""
    backend = doctor()
    if backend.llvm:
        os.environ.setdefault(ENVIRONMENT, backend.llvm)
    import mitsuba as mi

    if mi.variant() is None:
        mi.set_variant(backend.variant)
    if "polarized" not in mi.variant():
        raise RuntimeError(
            f"mitsuba is in use as {mi.variant()!r} in this process, but sionna-rt needs {backend.variant!r}: call "
            "mitsuba.set_variant with it, or trace in a process of its own"
        )
    import sionna.rt as rt

    return rt


def libraries() -> list[str]:
    """LLVM libraries in the usual places that are not known to be too old, newest first."""
    found = {}
    for path in (path for place in _PLACES for path in sorted(glob(place))):
        if re.search(r"\.(so|dylib)(\.\d+)*$", path):
            found.setdefault(os.path.realpath(path), path)
    known = [(version(path), path) for path in found]
    newest_first = sorted(known, key=lambda pair: (-1 if pair[0] is None else pair[0], pair[1]), reverse=True)
    return [path for number, path in newest_first if number is None or number >= MIN_LLVM]


def version(path: str) -> int | None:
    """Major version that the name of a library or of its folders tells, None if it tells none."""
    match = re.search(r"/llvm[-@]?(\d+)/", path) or re.search(r"libLLVM[-.](?:so\.)?(\d+)", Path(path).name)
    return int(match[1]) if match else None


def _candidates() -> list[Backend]:
    cuda = [Backend("cuda_ad_mono_polarized")] if ctypes.util.find_library("cuda") else []
    pinned = os.environ.get(ENVIRONMENT)
    if pinned:
        return [*cuda, Backend("llvm_ad_mono_polarized", pinned)]
    mitsuba = sys.modules.get("mitsuba")
    if mitsuba and mitsuba.variant():  # Dr.Jit has chosen its library already
        return [*cuda, Backend("llvm_ad_mono_polarized")]
    return [*cuda, *(Backend("llvm_ad_mono_polarized", path) for path in libraries())]


def _fails(backend: Backend) -> str | None:
    """Why a child process cannot trace one ray with a backend; None if it can."""
    environment = dict(os.environ)
    if backend.llvm:
        if not os.path.exists(backend.llvm):
            return "no such file"
        environment[ENVIRONMENT] = backend.llvm
    command = [sys.executable, "-c", _ONE_RAY, backend.variant]
    try:
        child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "no answer within 120 s"
    if child.returncode == 0:
        return None
    lines = [line.strip() for line in child.stderr.splitlines() if line.strip()] or ["no message"]
    said = next((line for line in lines if "LLVM ERROR" in line), lines[-1])
    return f"exit code {child.returncode}, {said[:200]}"
