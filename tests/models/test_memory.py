"""What tensors have freed is not fetched again from the kernel, page by page, once there is a model."""

import os
import subprocess
import sys

import pytest

from raymap.models import memory

COUNT = """
import resource, sys, threading
import torch
from raymap import recipes
from raymap.models import base

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(12 * 2**20)  # 48 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fetched = faults()
base.build(recipes.k2("debug").run("autoencoder").model)
torch.ones(12 * 2**20)
kept, of_thread = faults(), []
thread = threading.Thread(target=lambda: of_thread.append((faults(), faults())[1]))
thread.start()
thread.join()
print(fetched, kept, of_thread[0])
"""


def counted(**environ):
    """Pages fetched for ten tensors of 48 MiB: before there is a model, after, and after in another thread."""
    known = {name: value for name, value in os.environ.items() if name not in memory._VARIABLES}
    told = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, env={**known, **environ})
    assert not told.returncode, told.stderr
    return [int(word) for word in told.stdout.split()]


@pytest.mark.skipif(not memory.keep(), reason="not glibc, or the environment says how malloc shall work")
def test_large_tensors_are_fetched_once():
    fetched, kept, of_thread = counted()
    assert fetched > 10_000, "else this C library needs no telling"
    assert max(kept, of_thread) <= fetched / 5, "the heap may grow once"


@pytest.mark.skipif(not memory.keep(), reason="not glibc, or the environment says how malloc shall work")
def test_who_has_set_malloc_keeps_his_settings():
    fetched, kept, _ = counted(MALLOC_MMAP_THRESHOLD_="131072")
    assert kept > fetched / 2
