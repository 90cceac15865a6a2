"""Train any method that maps are compared by, and score it.

    python jobs/train_baseline.py --method radiodiff --size demo
    ray job submit --working-dir . -- python jobs/train_baseline.py --method regression --storage /shared/runs

Any field of the config is an option by its dotted name (``--help`` lists them), as in ``jobs/train_k2.py``. Running the
same command again continues where it stopped.
"""

import sys

from raymap import recipes
from raymap.config import from_command_line, sized
from raymap.runtime.method import train_and_score


def method(name: str):
    """(title, recipe) of a method. Raises ValueError for an unknown one."""
    if name not in recipes.METHODS:
        raise ValueError(f"unknown method {name!r}; allowed: {', '.join(recipes.METHODS)}")
    return recipes.METHODS[name]


if __name__ == "__main__":
    (title, recipe), rest = sized(method, sys.argv[1:], default="radiodiff", flag="method")
    train_and_score(from_command_line(*sized(recipe, rest, default="demo")), title)
