"""Where files lie: a folder of this machine or one that all machines share, or a bucket, by URI.

::

    place("/shared/runs")      a pathlib.Path, absolute
    place("s3://bucket/runs")  a BucketPath, of which code here asks what it asks of a Path

Buckets are reached through pyarrow's file systems (``s3://``, ``gs://``), with the credentials those find: environment,
configuration files, or the role of the machine. ``AWS_ENDPOINT_URL`` names a server other than Amazon's. Every call is
tried again for about a minute, since a bucket that fails once is not a file that is missing.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Union

#: Schemes of buckets.
SCHEMES = ("s3", "gs")
#: How often a call of a bucket is tried. The pauses between grow, to a bit more than a minute in all.
ATTEMPTS = 10
_URI = re.compile(r"^([a-z][a-z0-9+.-]*):/+(.*)$")


class BucketPath:
    """A file or folder in a bucket, with the part of :class:`pathlib.Path` that is used here.

    An object appears whole or not at all, so what is written is never seen in parts. Raises FileNotFoundError for what
    is not there, and OSError where the bucket does not answer. Is no path of this machine: ``open`` and the like refuse
    it.
    """

    def __init__(self, uri: str) -> None:
        found = _URI.match(uri)
        if not found or found[1] not in SCHEMES or not found[2].strip("/"):
            raise ValueError(f"{uri!r} is no bucket; allowed: {' or '.join(f'{s}://BUCKET/FOLDER' for s in SCHEMES)}")
        self.scheme, self.inside = found[1], str(PurePosixPath(found[2].strip("/")))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.inside}"

    def __repr__(self) -> str:
        return f"BucketPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: BucketPath) -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: str | Path) -> BucketPath:
        return BucketPath(f"{self}/{name}")

    @property
    def filesystem(self) -> Any:
        """pyarrow's."""
        return filesystem(self.scheme)

    @property
    def name(self) -> str:
        return PurePosixPath(self.inside).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.inside).suffix

    @property
    def parent(self) -> BucketPath:
        return BucketPath(f"{self.scheme}://{PurePosixPath(self.inside).parent}")

    def with_name(self, name: str) -> BucketPath:
        return self.parent / name

    def resolve(self) -> BucketPath:
        return self

    def is_file(self) -> bool:
        return self._info().is_file

    def is_dir(self) -> bool:
        return not self._info().is_file and self.exists()

    def exists(self) -> bool:
        from pyarrow.fs import FileType

        return self._info().type != FileType.NotFound

    def _info(self) -> Any:
        return self.filesystem.get_file_info(self.inside)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a bucket has folders where it has files."""

    def read_bytes(self) -> bytes:
        with self.filesystem.open_input_file(self.inside) as file:
            return file.read()

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> int:
        with self.filesystem.open_output_stream(self.inside) as file:
            file.write(content)
        return len(content)

    def write_text(self, text: str) -> int:
        return self.write_bytes(text.encode())

    def unlink(self, missing_ok: bool = False) -> None:
        with contextlib.suppress(FileNotFoundError) if missing_ok else contextlib.nullcontext():
            self.filesystem.delete_file(self.inside)

    def iterdir(self) -> Iterator[BucketPath]:
        """What lies directly in it, files and folders; nothing if there is no such folder."""
        from pyarrow.fs import FileSelector

        for found in self.filesystem.get_file_info(FileSelector(self.inside, allow_not_found=True)):
            yield BucketPath(f"{self.scheme}://{found.path}")

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """What lies directly in it and has a name of that pattern."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))


#: What :func:`place` returns. (Not ``|``: a name that is not evaluated would not do for isinstance.)
Place = Union[Path, BucketPath]  # noqa: UP007


def place(where: str | Place) -> Place:
    """The absolute path, or the place in a bucket, that a setting names. Raises ValueError for other URIs."""
    if isinstance(where, BucketPath):
        return where
    if _URI.match(str(where)) and "://" in str(where):
        return BucketPath(str(where))
    return Path(where).resolve()


@cache
def filesystem(scheme: str) -> Any:
    """pyarrow's file system of a scheme, one for each process: what it was told by the environment then stays."""
    import pyarrow.fs

    if scheme == "gs":
        from datetime import timedelta

        return pyarrow.fs.GcsFileSystem(retry_time_limit=timedelta(seconds=90))
    # An endpoint that is set and empty is none.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        # Nothing is written behind the back of a process that thinks it is done.
        background_writes=False,
    )


def opened(path: str | Place) -> Any:
    """What Parquet readers take: the path, or the content of an object.

    Raises FileNotFoundError if nothing is there, and OSError if the bucket does not answer.
    """
    import pyarrow

    if isinstance(path, BucketPath):
        return pyarrow.BufferReader(path.read_bytes())
    if not Path(path).is_file():
        raise FileNotFoundError(path)
    return path


@contextlib.contextmanager
def whole(path: Place) -> Iterator[Path]:
    """A temporary name to write to; the file appears under its own name when the block ends well."""
    if isinstance(path, BucketPath):
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / path.name
            yield written
            path.write_bytes(written.read_bytes())
        return
    # A random name: two machines may share the folder and a process number.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Place, text: str) -> None:
    """Write a file :func:`whole` or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text)


@contextlib.contextmanager
def here(folder: str | Place) -> Iterator[Path]:
    """The folder's files on this machine, while the block lasts: itself, or a copy of what is in a bucket."""
    folder = place(folder)
    if isinstance(folder, Path):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        copy_folder(folder, Path(name))
        yield Path(name)


@contextlib.contextmanager
def written(folder: str | Place, last: str = "") -> Iterator[Path]:
    """A folder of this machine to write into; in a bucket its files appear when the block ends well.

    ``last``: the file that appears after all others, and so says that they are there.
    """
    folder = place(folder)
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        for path in sorted(Path(name).rglob("*"), key=lambda path: (path.name == last, path)):
            if path.is_file():
                (folder / path.relative_to(name).as_posix()).write_bytes(path.read_bytes())


def copy_folder(folder: BucketPath, to: Path) -> None:
    """Fetch all files of a folder of a bucket."""
    to.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
        else:
            copy_folder(path, to / path.name)


def require_folder(where: str | Place, what: str) -> Path:
    """The absolute path of a folder. Raises ValueError for a bucket, naming ``what`` cannot be in one."""
    found = place(where)
    if not isinstance(found, Path):
        raise ValueError(f"{what} must be in a folder that every machine reaches by the same path, not in {found}")
    return found
