"""Traced paths on disk: a folder of parts, each whole or absent, so that tracing can stop and go on anywhere.

    trace.json        settings, transmitter, frequency, number of receivers and of parts
    surroundings.ply  the surfaces that were traced among
    part-00007.npz    receivers_m (R, 3) and the fields of Paths for one run of receivers

`trace.json` of a finished or unfinished folder says what belongs in it; a folder with other settings is refused.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from raymap.data.channel import Channel
from raymap.propagation.sionna_paths import joined
from raymap.scene import Paths, Transmitter
from raymap.storage import whole, write_text

#: The file that makes a folder a trace.
ABOUT_FILE = "trace.json"
#: Traces of before it was written have none.
SURROUNDINGS_FILE = "surroundings.ply"
_FIELDS = tuple(Paths.__dataclass_fields__)


class Traced(NamedTuple):
    """What a folder holds: paths from one transmitter to receivers (R, 3) [m], and all that was written about them."""

    transmitter: Transmitter
    receivers_m: np.ndarray
    paths: Paths
    about: dict[str, Any]

    @property
    def channel(self) -> Channel:
        """The same as the noun that `deepmimo.write` and `points.write` take."""
        return Channel(self.paths, self.receivers_m, self.transmitter.xyz_m, self.about["frequency_hz"])


def start(folder: Path, about: dict[str, Any]) -> None:
    """Makes the folder, or checks that it is of the same trace. Raises ValueError naming the settings that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ABOUT_FILE
    about = json.loads(json.dumps(about))
    if path.exists():
        found = json.loads(path.read_text())
        differ = sorted(key for key in {*found, *about} if found.get(key) != about.get(key))
        if differ:
            told = ", ".join(f"{key} is {found.get(key)!r} and not {about.get(key)!r}" for key in differ)
            raise ValueError(f"{folder} holds another trace: {told}")
        return
    write_text(path, json.dumps(about, indent=2) + "\n")


def missing(folder: Path, num_parts: int) -> list[int]:
    """Numbers of the parts that are not there yet."""
    return [part for part in range(num_parts) if not _part(folder, part).exists()]


def write_part(folder: Path, part: int, receivers_m: np.ndarray, paths: Paths) -> None:
    """Writes one part, visible only when whole."""
    columns = {name: getattr(paths, name) for name in _FIELDS}
    with whole(_part(folder, part)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, receivers_m=receivers_m, **columns)


def read_part(folder: Path, part: int) -> tuple[np.ndarray, Paths]:
    """Receivers (R, 3) [m] and paths of one part. Raises ValueError, naming the file, if it is damaged or no part."""
    path = _part(folder, part)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as columns:
            return columns["receivers_m"], Paths(**{name: columns[name] for name in _FIELDS})
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no readable part of a trace ({error}); delete it and trace again") from error


def read(folder: str | Path, partial: bool = False) -> Traced:
    """All parts of a folder in order.

    Raises FileNotFoundError if the folder holds no trace, ValueError if parts are missing (unless ``partial``) or
    damaged.
    """
    folder = Path(folder)
    about = json.loads((folder / ABOUT_FILE).read_text())
    gaps = missing(folder, about["num_parts"])
    if gaps and not partial:
        raise ValueError(f"{folder}: {len(gaps)} of {about['num_parts']} parts are missing; run the same job again")
    parts = [read_part(folder, part) for part in range(about["num_parts"]) if part not in set(gaps)]
    receivers_m = np.concatenate([np.zeros((0, 3)), *(places for places, _ in parts)])
    paths = joined([found for _, found in parts], about["num_paths"])
    return Traced(Transmitter(tuple(about["transmitter_m"])), receivers_m, paths, about)


def _part(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.npz"
