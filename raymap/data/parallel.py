"""Work shared over a Ray cluster, and the plan kept beside what it made: the one module of this room that knows Ray.

::

    keep       settings beside the data they made, or a refusal that names the field
    each       items ──► a function, on any node ──► what it returned, as it is finished, with a progress bar
    in_actors  the same by a class that is constructed once per actor, such as a model
    stream     rows ──► a function, on any node ──► a Ray Dataset in the order of the rows

Functions and classes must be importable on every node, or be defined where they travel by value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from raymap.config import Settings
from raymap.storage import Place, write_text

if TYPE_CHECKING:
    from ray.data import Dataset

PLAN_FILE = "plan.json"


def keep_plan(folder: Place, card_file: str, plan: Settings) -> None:
    """Keep the plan of a dataset in its folder as ``plan.json``, before anything is made.

    Raises ValueError if the folder was made with another plan, naming the field, or holds a dataset without one.
    """
    if (folder / card_file).exists() and not (folder / PLAN_FILE).exists():
        raise ValueError(f"{folder} holds a dataset that was not made from a plan; take another folder")
    keep(folder / PLAN_FILE, plan, "plan")


def keep(path: Place, settings: Settings, what: str) -> None:
    """Write settings beside the data they made, or compare with those already there: ValueError if they differ.

    Fields that are younger than the file count as their defaults.
    """
    new = settings.model_dump(mode="json")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(new, indent=2) + "\n")
        return
    old = json.loads(path.read_text())
    with suppress(ValueError):  # an older file lacks younger fields: what was made then is what their defaults make
        old = type(settings).model_validate(old).model_dump(mode="json")
    for field in {**old, **new}:
        if old.get(field) != new.get(field):
            raise ValueError(
                f"{path.parent} was made with another {what}: {field} was {old.get(field)!r}, now {new.get(field)!r}; "
                f"take another folder"
            )


def each(
    function: Callable[..., Mapping[str, Any]], items: Sequence[Settings], what: str, **kwargs: Any
) -> Iterable[dict[str, Any]]:
    """``function(item, **kwargs)`` of every item (of one class), a task each, as they are finished.

    ``what``: the items in a word, for the progress bar. What a function returns, column by column, must be of one
    type. What it raises ends the whole run as a ``RayTaskError`` that quotes it.
    """
    import ray.data

    if not items:
        return []
    rows = [{"item": item.model_dump_json()} for item in items]
    passed = {"function": function, "kind": type(items[0]), "kwargs": kwargs}
    return _progress(
        ray.data.from_items(rows, override_num_blocks=len(rows)).map(_call, fn_kwargs=passed), what, len(rows)
    )


def _call(row: dict[str, Any], function: Callable, kind: type[Settings], kwargs: dict[str, Any]) -> dict[str, Any]:
    return dict(function(kind.model_validate_json(row["item"]), **kwargs))


def in_actors(
    actor: type,
    rows: Sequence[dict[str, Any]],
    what: str,
    *,
    num_actors: int,
    num_gpus: float = 0,
    **constructor: Any,
) -> Iterable[dict[str, Any]]:
    """``actor(**constructor)(columns)`` of every row, as columns of one row, as they are finished.

    There are ``num_actors`` actors with ``num_gpus`` GPUs each. ``what``: as in :func:`each`.
    """
    import ray.data

    if not rows:
        return []
    made = ray.data.from_items(list(rows), override_num_blocks=len(rows)).map_batches(
        actor,
        fn_constructor_kwargs=constructor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=num_actors),
        num_gpus=num_gpus,
    )
    return _progress(made, what, len(rows))


def stream(
    function: Callable[..., Iterator[dict[str, np.ndarray]]],
    rows: Sequence[dict[str, Any]],
    *,
    materialize: bool,
    resource: str | None = None,
    **kwargs: Any,
) -> Dataset:
    """A Ray Dataset of what ``function(columns, **kwargs)`` yields for the columns of each row, in the order of rows.

    A task and a block for every row, so that blocks are the same on a cluster of any size. ``materialize``: keep it in
    the object store; otherwise every pass over it calls the function again. ``resource``: a custom resource of which
    every task takes one.
    """
    import ray.data

    dataset = ray.data.from_items(list(rows), override_num_blocks=len(rows))
    dataset.context.execution_options.preserve_order = True
    dataset = dataset.map_batches(
        function, batch_size=None, fn_kwargs=kwargs, **({"resources": {resource: 1}} if resource else {})
    )
    return dataset.materialize() if materialize else dataset


def _progress(dataset: Dataset, what: str, total: int) -> Iterable[dict[str, Any]]:
    """The rows of a dataset as they are finished, with one progress bar in a terminal and none in a log."""
    from rich.console import Console
    from rich.progress import track

    dataset.context.enable_progress_bars = False
    console = Console(stderr=True)
    return track(dataset.iter_rows(), what, total, console=console, disable=not console.is_terminal)
