"""Train any method that maps are compared by, and score it.

    python jobs/train_baseline.py --method radiodiff --size demo
    python jobs/train_baseline.py --method regression --seeing measurements --data.measurements.rates '[0.01, 0.1]'
    ray job submit --working-dir . -- python jobs/train_baseline.py --method regression --storage /shared/runs
    RAYMAP_METHODS=my_method.py python jobs/train_baseline.py --method my_method --size demo   # see CONTRIBUTING.md

``--from best.json`` sets what a sweep has found. Any field of the config is an option by its dotted name (``--help``
lists them), as in ``jobs/train_k2.py``. Running the same command again continues where it stopped.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from raymap import outside, recipes
from raymap.config import from_command_line, sized
from raymap.runtime.method import train_and_score
from raymap.space import found_by_sweep


def chosen(known: Mapping[str, Any], what: str) -> Callable[[str], Any]:
    """A look-up that raises ValueError for an unknown name and lists the known."""

    def look_up(name: str) -> Any:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(known)}")
        return known[name]

    return look_up


if __name__ == "__main__":
    outside.register()
    (title, recipe), rest = sized(chosen(recipes.METHODS, "method"), sys.argv[1:], default="radiodiff", flag="method")
    variant, rest = sized(chosen(recipes.VARIANTS, "input"), rest, default="no more", flag="seeing")
    plain, rest = sized(recipe, rest, default="demo")
    job, rest = found_by_sweep(variant(plain), rest)
    train_and_score(from_command_line(job, rest), title + job.name.removeprefix(plain.name))
