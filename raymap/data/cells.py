"""The cells of a CSV or Parquet file by the names of its columns, and errors that say in which cell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

#: What a file of cells may be called.
ENDINGS = (".csv", ".parquet")
#: Cells of text that hold nothing, in lower case.
_EMPTY = ("", "nan", "-nan", "na", "n/a", "#n/a", "null", "none")


class Cells:
    """A table as it is in a file. Text is text: no cell is computed, dates and thousands are not guessed.

    Errors count rows as a spreadsheet does, with the header of a CSV file as row 1; those of Parquet start at 1.

    Raises FileNotFoundError if there is no such file, ValueError for another ending than .csv and .parquet, a file that
    cannot be read, rows of other lengths than the header, and a table without columns or rows.
    """

    def __init__(self, path: str | Path, separator: str = ",") -> None:
        self.path = Path(path)
        ending = self.path.suffix.lower()
        if ending not in ENDINGS:
            raise ValueError(f"{path}: tables are files that end in {' or '.join(ENDINGS)}, not in {ending!r}")
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            self._table = pq.ParquetFile(self.path).read() if ending == ".parquet" else _csv(self.path, separator)
        except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
            raise ValueError(f"{path} cannot be read as {ending[1:]}: {error}") from error
        self._first_row = 1 if ending == ".parquet" else 2
        self.names: tuple[str, ...] = tuple(self._table.column_names)
        if not (self.names and len(self)):
            raise ValueError(f"{path} holds no row")

    def __len__(self) -> int:
        """Number of rows."""
        return self._table.num_rows

    @property
    def listed(self) -> str:
        """The names of the columns, the first 40 if there are more, for messages."""
        more = f" and {len(self.names) - 40} more" if len(self.names) > 40 else ""
        return ", ".join(self.names[:40]) + more

    def error(self, row: int, column: str, said: str) -> ValueError:
        """What is wrong with a cell; ``row`` counts from 0."""
        return ValueError(f"{self.path}: row {self._first_row + row}, column {column!r}: {said}")

    def numbers(self, column: str) -> np.ndarray:
        """(rows,) float64, NaN where a cell is empty or says NaN, NA, null or none.

        Raises ValueError for a column that is not there, or there twice, or not of numbers, and for the first cell that
        is no number or infinite.
        """
        cells = self._column(column)
        if pa.types.is_string(cells.type):
            values = self._parsed(column, cells)
        elif any(is_kind(cells.type) for is_kind in _NUMBERS):
            values = cells.cast(pa.float64(), safe=False).to_numpy()
        else:
            raise ValueError(f"{self.path}: column {column!r} holds {cells.type}, not numbers")
        infinite = np.isinf(values)
        if infinite.any():
            row = int(infinite.argmax())
            raise self.error(row, column, f"{values[row]} is infinite")
        return values

    def labels(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) integers that tell equal cells, −1 where they are empty, and (values,) what each of them stands for.

        Raises ValueError for a column that is not there, or there twice.
        """
        numbers, values = pd.factorize(self._column(column).to_pandas())
        return numbers.astype(np.int64), np.asarray(values, object)

    def _column(self, name: str) -> pa.ChunkedArray:
        """A column; one of text without the blanks around it, null where nothing is left."""
        count = self.names.count(name)
        if count != 1:
            what = "no column" if not count else f"{count} columns"
            raise ValueError(f"{self.path}: {what} {name!r}; there are {self.listed}")
        cells = self._table.column(name)
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
            return cells
        cells = pc.utf8_trim_whitespace(cells.cast(pa.string()))
        empty = pc.is_in(pc.utf8_lower(cells), value_set=pa.array(_EMPTY))
        return pc.if_else(empty, pa.scalar(None, pa.string()), cells)

    def _parsed(self, column: str, cells: pa.ChunkedArray) -> np.ndarray:
        """(rows,) float64 of text."""
        try:
            return cells.cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:  # says which text, but not where
            pass
        values = pd.to_numeric(cells.to_pandas(), errors="coerce").to_numpy(np.float64)
        wrong = np.isnan(values) & ~cells.is_null().to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            raise self.error(row, column, f"{cells[row].as_py()[:40]!r} is no number")
        return values


_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)


def _csv(path: Path, separator: str) -> pa.Table:
    """Every cell as text: types that are guessed from the first rows would not fit the last."""
    with path.open("rb") as file:
        header = file.readline().decode("utf-8-sig")
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    # Arrow keys types by name; columns of one name are told apart by Cells.
    return pa.csv.read_csv(
        path,
        pa.csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),  # one thread: errors name the row
        pa.csv.ParseOptions(delimiter=separator),
        pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )  # fmt: skip
