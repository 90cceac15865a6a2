"""Methods in files outside of the package: those that the environment variable RAYMAP_METHODS names are imported.

A saved model says its kind and no more, so every process that meets a kind it does not know looks here for it. A file
registers what it defines: a Predictor by its ``kind``, a recipe by its line in ``recipes.METHODS``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

VARIABLE = "RAYMAP_METHODS"


def files() -> list[Path]:
    """Absolute paths of the files that the variable names, separated as in PATH.

    Raises ValueError for one that is no Python file.
    """
    named = [Path(text).resolve() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    for path in named:
        if path.suffix != ".py" or not path.is_file():
            raise ValueError(
                f"{VARIABLE} names {path}, which is no Python file; allowed: files, {os.pathsep!r} between"
            )
    return named


def environment() -> dict[str, str]:
    """What processes elsewhere need to find the same files from any working directory."""
    named = files()
    return {VARIABLE: os.pathsep.join(map(str, named))} if named else {}


def register() -> None:
    """Import the files that were not yet. Raises ValueError as :func:`files`, and whatever a file raises."""
    for path in files():
        # Under its path, as two of them may have one name; annotations are looked up in sys.modules.
        name = str(path)
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
