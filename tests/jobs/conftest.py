"""Jobs are files and not a package: the tests load them by name."""

import importlib.util
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(scope="session")
def load_job():
    """``load_job("evaluate")``: the module ``jobs/evaluate.py``, the same one every time."""
    names = set()

    def load(name):
        # Not under its bare name, which may be that of an installed package.
        names.add(full_name := f"jobs.{name}")
        if full_name not in sys.modules:
            spec = importlib.util.spec_from_file_location(full_name, JOBS / f"{name}.py")
            module = sys.modules[full_name] = importlib.util.module_from_spec(spec)  # dataclasses look it up there
            spec.loader.exec_module(module)
        return sys.modules[full_name]

    yield load
    for name in names:
        sys.modules.pop(name, None)
