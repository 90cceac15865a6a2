"""Memory that tensors have freed stays with the process.

glibc gives every freed block of 32 MiB or more back to the kernel, and the next tensor of that size is fetched again,
page by page, which takes a third of a training step on a CPU (docs/k2.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

#: Parameters of mallopt(3), and what they are set to [bytes]: blocks below the first come from the heap, which is kept
#: unless that much lies free at its end.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = (-3, 1 << 30), (-1, (1 << 31) - 1)
#: Who sets these has other plans.
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep() -> bool:
    """Keep freed memory from now on, for the whole process (in threads but the first, blocks of up to 64 MiB); whether
    this could be done.

    Not without glibc, and not where the environment already says how malloc shall work.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*pair) for pair in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
