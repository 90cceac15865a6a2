"""Tables of measured paths: what is written reads back, units and layouts tell the same, errors say where."""

import dataclasses
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from raymap import units
from raymap.config import from_command_line
from raymap.data import path_file
from raymap.data.path_columns import Columns
from raymap.data.path_table import UNKNOWN_KIND, PathTable
from raymap.scene import PathKind

PI = np.float32(np.pi)
#: What every file below leaves to be told.
SITE = {"transmitter_m": (1.0, -2.0, 30.0), "frequency_hz": 3.5e9}


def table_of(seed, num_receivers=6, num_paths=4, known=0.7):
    """Strongest first, without gaps; ends of ranges, unknown numbers, receivers in the dark and two at one place."""
    rng = np.random.default_rng(seed)
    shape = (num_receivers, num_paths)
    valid = np.arange(num_paths) < rng.integers(0, num_paths + 1, (num_receivers, 1))

    def draw(low, high):
        values = rng.uniform(low, high, shape).astype(np.float32)
        values = np.where(rng.random(shape) < 0.2, rng.choice(np.float32([low, high]), shape), values)
        return np.where(rng.random(shape) < known, values, np.float32(np.nan))

    power_db = np.sort(rng.uniform(-200, 0, shape).astype(np.float32), axis=1)[:, ::-1]
    power_db = np.where(rng.random(shape) < known, power_db, np.float32(np.nan))
    receivers_m = rng.uniform(-1e4, 1e4, (num_receivers, 3))
    receivers_m[1:2] = receivers_m[0]
    numbers = (power_db, draw(0, 1e-5), draw(0, PI), draw(-PI, PI))
    kind = np.where(np.isnan(numbers).all(0), 2, rng.integers(-1, 5, shape))
    return PathTable(receivers_m, rng.uniform(-100, 100, 3), rng.uniform(1e8, 1e11), *numbers, kind, valid)


def assert_same(first, second, **tolerance):
    for field in dataclasses.fields(PathTable)[:-1]:  # what stands around is no part of the file
        mine, other = getattr(first, field.name), getattr(second, field.name)
        np.testing.assert_allclose(mine, other, **{"rtol": 0, "atol": 0, **tolerance}, err_msg=field.name)


def frame(**changes):
    """Three receivers in the layout that is written: two paths, one path, none."""
    columns = {
        "x_m": [0.0, 0.0, 5.0, 9.0], "y_m": [1.0, 1.0, 2.0, 3.0], "z_m": [1.5] * 4,
        "power_db": [-80.0, -70.0, -90.5, None], "delay_s": [2e-7, 1e-7, None, None],
        "zenith_rad": [1.5, 0.5, 3.0, None], "azimuth_rad": [-3.0, 0.25, 2.0, None],
    }  # fmt: skip
    return pd.DataFrame({**columns, **changes}).drop(columns=[name for name, value in changes.items() if value is None])


def save(data, path):
    data.to_csv(path, index=False) if path.suffix == ".csv" else data.to_parquet(path)
    return path


@pytest.fixture(params=[".csv", ".parquet"])
def file(request, tmp_path):
    return tmp_path / f"table{request.param}"


# What is written reads back.


@given(
    st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 6), st.sampled_from([0, 0.5, 1]),
    st.sampled_from([".csv", ".parquet", ".CSV"]),
)  # fmt: skip
@settings(deadline=None, max_examples=30)
def test_what_is_written_reads_back_to_the_last_bit(tmp_path_factory, seed, num_receivers, num_paths, known, ending):
    file = tmp_path_factory.mktemp("written") / f"town{ending}"
    given = table_of(seed, num_receivers, num_paths, known)
    path_file.write(file, given)
    assert_same(path_file.read(file, num_paths=num_paths), given)
    as_needed = path_file.read(file)
    assert as_needed.num_paths == max(1, given.valid.sum(1).max())
    assert np.array_equal(as_needed.valid, given.valid[:, : as_needed.num_paths])
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_written_file_says_its_units_in_its_names(tmp_path):
    path_file.write(tmp_path / "a.csv", table_of(3))
    assert (tmp_path / "a.csv").read_text().splitlines()[0].replace('"', "").split(",") == [
        "receiver", "x_m", "y_m", "z_m", "path", "power_db", "delay_s", "zenith_rad", "azimuth_rad", "kind",
        "transmitter_x_m", "transmitter_y_m", "transmitter_z_m", "frequency_hz",
    ]  # fmt: skip


def test_a_million_rows_are_read(tmp_path):
    rng = np.random.default_rng(0)
    places = np.repeat(rng.uniform(0, 1e4, (250_000, 3)), 4, axis=0)
    data = pd.DataFrame(places, columns=["x_m", "y_m", "z_m"])
    data["power_db"] = -rng.uniform(50, 150, len(data))
    read = path_file.read(save(data, tmp_path / "many.parquet"), Columns(**SITE))
    assert read.valid.all() and read.valid.shape == (250_000, 4)
    assert np.array_equal(read.receivers_m, places[::4]) and (np.diff(read.power_db) <= 0).all()


# What is there, and what is not.


def test_rows_of_one_place_are_a_receiver_with_its_strongest_path_first(file):
    read = path_file.read(save(frame(), file), Columns(**SITE))
    assert read.receivers_m.tolist() == [[0, 1, 1.5], [5, 2, 1.5], [9, 3, 1.5]]
    assert read.valid.tolist() == [[True, True], [True, False], [False, False]]
    assert read.power_db[0].tolist() == [-70, -80] and read.azimuth_rad[0].tolist() == [0.25, -3]
    assert read.transmitter_m.tolist() == [1, -2, 30] and read.frequency_hz == 3.5e9
    assert (read.kind == UNKNOWN_KIND).all()
    assert path_file.positions(file).tolist() == read.receivers_m.tolist()


def test_an_empty_cell_is_not_known_and_a_row_of_them_is_a_receiver_in_the_dark(file):
    read = path_file.read(save(frame(), file), Columns(**SITE))
    assert np.isnan(read.delay_s[1, 0]) and read.valid[1, 0] and read.power_db[1, 0] == -90.5
    assert len(read) == 3 and not read.valid[2].any() and np.isnan(read.values[2]).all()


def test_a_path_of_which_nothing_is_known_is_none(file):
    numbered = frame(x_m=[0.0] * 4, y_m=[0.0] * 4, power_db=[None, -70.0, -90.5, None], path=[1, 2, 3, 4])
    read = path_file.read(save(numbered.drop(columns=["delay_s", "zenith_rad", "azimuth_rad"]), file), Columns(**SITE))
    assert read.power_db.tolist() == [[-70, -90.5]]
    nothing = PathTable.from_values(read, read.receivers_m, np.full((1, 2, 4), np.nan), valid=np.ones((1, 2), bool))
    path_file.write(file, nothing)
    assert len(path_file.read(file)) == 1 and not path_file.read(file).valid.any()


@pytest.mark.parametrize("word", ["", "NaN", "nan", "NA", "N/A", " ", "null", "None"])
def test_words_for_nothing_are_nothing(word, tmp_path):
    (tmp_path / "a.csv").write_text(f"x_m, y_m ,z_m,power_db,delay_s\n1,2,3,-80,{word}\n\n1,2,3, -70 ,1e-7\n")
    read = path_file.read(tmp_path / "a.csv", Columns(**SITE))
    assert read.power_db.tolist() == [[-70, -80]] and np.isnan(read.delay_s[0, 1]) and read.valid.all()


def test_a_path_of_unknown_power_stays_behind_the_one_before_it(file):
    data = frame(x_m=[0.0] * 4, y_m=[0.0] * 4, power_db=[-90.0, None, -80.0, -85.0], delay_s=[1e-7, 2e-7, 3e-7, 4e-7])
    read = path_file.read(save(data, file), Columns(**SITE))
    np.testing.assert_array_equal(read.delay_s[0], np.float32([3e-7, 4e-7, 1e-7, 2e-7]))
    kept = path_file.read(file, Columns(**SITE), num_paths=2)
    assert kept.power_db.tolist() == [[-80, -85]]
    assert path_file.read(file, Columns(**SITE), num_paths=6).valid.tolist() == [[True] * 4 + [False] * 2]


def test_a_column_tells_receivers_apart_that_share_a_place(file):
    data = frame(x_m=[0.0] * 4, y_m=[0.0] * 4, phone=["b", "a", "b", "c"])
    assert len(path_file.read(save(data, file), Columns(**SITE))) == 1
    read = path_file.read(file, Columns(receiver="phone", **SITE))
    assert read.valid.sum(1).tolist() == [2, 1, 0] and read.power_db[0].tolist() == [-80, -90.5]


def test_kinds_are_names_or_numbers(tmp_path):
    power = [-70.0, -75.0, -80.0, None]
    for name, kind in (("names", ["Line_of_Sight", " diffraction", None, "reflection"]), ("numbers", [0, 3, None, 1])):
        read = path_file.read(save(frame(kind=kind, power_db=power), tmp_path / f"{name}.csv"), Columns(**SITE))
        assert read.kind.tolist() == [[PathKind.LINE_OF_SIGHT, PathKind.DIFFRACTION], [-1, -1], [1, -1]]
        assert read.valid[2, 0] and np.isnan(read.values[2, 0]).all()


def test_every_transmitter_is_a_table(file):
    where = {"transmitter_x_m": [0.0, 0, 7, 7], "transmitter_y_m": [0.0] * 4, "transmitter_z_m": [25.0] * 4}
    save(frame(**where, frequency_hz=[2e9] * 4), file)
    tables = path_file.tables(file)
    assert list(tables) == ["table/0", "table/1"] and [len(table) for table in tables.values()] == [1, 2]
    assert [table.transmitter_m[0] for table in tables.values()] == [0, 7] and tables["table/1"].frequency_hz == 2e9
    with pytest.raises(ValueError, match="table.* holds 2 transmitters or frequencies"):
        path_file.read(file)
    # What is told goes before what is written.
    assert list(path_file.tables(file, Columns(transmitter_m=(0, 0, 1)))) == ["table"]


def test_wide_and_long_tell_the_same(file):
    wide = pd.DataFrame({
        "x_m": [0.0, 5, 9], "y_m": [1.0, 2, 3], "z_m": [1.5] * 3, "p2 (dB)": [-70.0, None, None],
        "p10 (dB)": [-80.0, -90.5, None], "t10": [2e-7, None, None], "t2": [1e-7, None, None],
        "ze10": [1.5, 3, None], "ze2": [0.5, None, None], "az2": [0.25, None, None], "az10": [-3.0, 2, None],
        "power_db": "not read", "delay_s": "not read",
    })  # fmt: skip
    named = {"power": "p{path} (dB)", "delay": "t{path}", "zenith": "ze{path}", "azimuth": "az{path}"}
    mine = path_file.read(save(wide, file), Columns(**named, **SITE))
    assert_same(mine, path_file.read(save(frame(), file.with_stem("long")), Columns(**SITE)))


# Units.


def read_as(folder, data, **columns):
    return path_file.read(save(data, folder / "units.csv"), Columns(**{**SITE, **columns}))


@pytest.mark.parametrize(
    ("renamed", "factor", "columns"),
    [
        ({"x_m": "x", "y_m": "y", "z_m": "z"}, 1e-3, {"x": "x", "y": "y", "z": "z", "position_unit": "km"}),
        ({"delay_s": "t"}, 1e9, {"delay": "t", "delay_unit": "ns"}),
        ({"delay_s": "t"}, 1e6, {"delay": "t", "delay_unit": "us"}),
        (
            {"zenith_rad": "ze", "azimuth_rad": "az"}, 180 / math.pi,
            {"zenith": "ze", "azimuth": "az", "angle_unit": "deg"},
        ),
        ({"power_db": "loss"}, -1.0, {"power": "loss", "power_unit": "dB_loss"}),
    ],
)  # fmt: skip
def test_a_unit_is_a_factor(tmp_path, renamed, factor, columns):
    given = path_file.read(save(frame(), tmp_path / "ours.csv"), Columns(**SITE))
    theirs = frame()
    theirs[list(renamed)] *= factor
    assert_same(read_as(tmp_path, theirs.rename(columns=renamed), **columns), given, rtol=3e-7, atol=1e-15)


@given(st.lists(st.floats(-200, 0), min_size=1, max_size=5, unique=True), st.floats(-10, 60))
@settings(deadline=None, max_examples=8)
def test_every_unit_of_power_tells_the_same_gain(tmp_path_factory, power_db, sent_dbm):
    folder = tmp_path_factory.mktemp("power")
    power_db = np.array(power_db)
    data = pd.DataFrame({"x_m": 0.0, "y_m": 0.0, "z_m": 0.0, "p": power_db})
    wanted = np.sort(power_db)[None, ::-1]
    for values, columns in (
        (power_db, {}),
        (-power_db, {"power_unit": "dB_loss"}),
        (units.linear_from_db(power_db), {"power_unit": "linear"}),
        (power_db + sent_dbm, {"power_unit": "dBm", "transmit_power_dbm": sent_dbm}),
    ):  # fmt: skip
        read = read_as(folder, data.assign(p=values), power="p", **columns)
        np.testing.assert_allclose(read.power_db, wanted, atol=2e-5)


@given(st.floats(-90, 90), st.floats(-360, 360))
@settings(deadline=None, max_examples=20)
def test_angles_of_every_convention_are_one_direction(tmp_path_factory, elevation_deg, bearing_deg):
    folder = tmp_path_factory.mktemp("angles")
    data = pd.DataFrame(
        {"x_m": [0.0], "y_m": 0.0, "z_m": 0.0, "power_db": -80.0, "up": elevation_deg, "az": bearing_deg}
    )
    named = {"elevation": "up", "azimuth": "az", "angle_unit": "deg"}
    read = read_as(folder, data, **named, azimuth_from="north_clockwise")
    # Elevation and zenith make 90°.
    assert math.degrees(read.zenith_rad[0, 0]) + elevation_deg == pytest.approx(90, abs=2e-5)
    # A compass: north is +y, east is +x.
    east, north = np.cos(read.azimuth_rad[0, 0]), np.sin(read.azimuth_rad[0, 0])
    assert (east, north) == pytest.approx(
        (math.sin(math.radians(bearing_deg)), math.cos(math.radians(bearing_deg))), abs=1e-6
    )
    assert -PI <= read.azimuth_rad[0, 0] <= PI
    plain = read_as(folder, data, **named)
    assert np.cos(plain.azimuth_rad[0, 0] - math.radians(bearing_deg)) == pytest.approx(1, abs=1e-6)


def test_frequency_and_transmitter_come_from_columns_too(tmp_path):
    data = frame(f=[3.5] * 4, bx=[0.1] * 4, by=[0.2] * 4, bz=[0.03] * 4, hundred=[1.0] * 4)
    columns = {
        "x": "hundred", "y": "hundred", "height_m": 1.25, "frequency": "f", "frequency_unit": "GHz",
        "transmitter_x": "bx", "transmitter_y": "by", "transmitter_z": "bz", "position_unit": "km",
    }  # fmt: skip
    read = path_file.read(save(data, tmp_path / "a.csv"), Columns(**columns))
    assert read.frequency_hz == 3.5e9 and read.transmitter_m.tolist() == [100, 200, 30]
    assert read.receivers_m.tolist() == [[1000, 1000, 1.25]]


def test_columns_are_options_of_a_command():
    columns = from_command_line(Columns(), ["--power", "rsrp", "--power_unit", "dBm", "--transmit_power_dbm", "43"])
    assert columns == Columns(power="rsrp", power_unit="dBm", transmit_power_dbm=43.0)


# Errors.


@pytest.mark.parametrize(
    ("changes", "columns", "said"),
    [
        ({"z_m": None}, {}, "no column 'z_m'; there are x_m, y_m, power_db"),
        ({}, {"delay": "tau"}, "no column 'tau'; there are x_m, y_m, z_m"),
        ({"power_db": ["-80", "=1+2", "-9", ""]}, {}, "row {1}, column 'power_db': '=1.2' is no number"),
        ({"delay_s": ["1e-7", "1e-7", "1,5", ""]}, {}, "row {2}, column 'delay_s': '1,5' is no number"),
        ({"y_m": ["1", "1", "1_0", "9"]}, {}, "row {2}, column 'y_m': '1_0' is no number"),
        ({"x_m": [0.0, 0.0, None, 9.0]}, {}, "row {2}, column 'x_m': is empty; x must be known"),
        ({"x_m": [0.0, 0.0, 1e10, 9.0]}, {}, "row {2}, column 'x_m': 1e.10 is outside .-1e.09, 1e.09. .x, m."),
        ({"power_db": [-80.0, -70.0, -np.inf, None]}, {}, "row {2}, column 'power_db': -inf is infinite"),
        ({"power_db": [-80.0, 3.0, -70.0, None]}, {}, "row {1}, column 'power_db': 3 is outside .-1000, 0. .power"),
        ({"delay_s": [1e-7, -1e-9, None, None]}, {}, "row {1}, column 'delay_s': -1e-09 is outside .0, 1. .delay, s."),
        ({"delay_s": [1e-7, 120.0, None, None]}, {}, "row {1}, column 'delay_s': 120 is outside .0, 1."),
        ({"zenith_rad": [1.0, 90.0, 1.0, None]}, {}, "row {1}, column 'zenith_rad': 90 is outside .0, 3.14159."),
        ({"azimuth_rad": [1.0, 1.0, -90.0, None]}, {}, "row {2}, column 'azimuth_rad': -90 is outside .-6.28319, 6.28"),
        (
            {"up": [91.0, 0, 0, 0]}, {"elevation": "up", "angle_unit": "deg"},
            "row {0}, column 'up': 91 is outside .-90, 90. .elevation, deg.",
        ),
        (
            {"p": [-80.0, 50.0, 0, 0]}, {"power": "p", "power_unit": "dBm", "transmit_power_dbm": 43.0},
            "row {1}, column 'p': 50 is outside .-957, 43. .power, dBm.",
        ),
        ({"p": [1e-9, 0.0, 1, 1]}, {"power": "p", "power_unit": "linear"}, "row {1}, column 'p': 0 is outside .1e-100"),
        ({"kind": ["reflection", "bounce", None, None]}, {}, "row {1}, column 'kind': 'bounce' is no kind"),
        ({"kind": ["0", "1.5", None, None]}, {}, "row {1}, column 'kind': '1.5' is no kind"),
        ({"receiver": [1, 1, 1, 2]}, {}, "row {2}, column 'receiver': receiver '?1'? is at .5.0, 2.0, 1.5. m, and was"),
        ({"receiver": ["a", "a", None, "b"]}, {}, "row {2}, column 'receiver': is empty"),
        ({"path": [0, 0, 0, None]}, {}, "row {1}, column 'path': path 0 of this receiver comes twice"),
        ({"path": [0, None, 0, None]}, {}, "row {1}, column 'path': is empty, but the row tells"),
        ({}, {"frequency_hz": None}, "frequency is not known: give frequency_hz, or name its column; there are x_m"),
        ({}, {"transmitter_m": None}, "transmitter_x is not known: give transmitter_m, or name"),
        ({"f": [0.0] * 4}, {"frequency_hz": None, "frequency": "f"}, "row {0}, column 'f': 0 is outside .1, 1e.15."),
        ({}, {"power": "p_{path}"}, "no column 'p_.path.' with a number for .path.; there are x_m"),
        (
            {"p1": [0.0] * 4, "p2": [0.0] * 4, "t1": [0.0] * 4}, {"power": "p{path}", "delay": "t{path}"},
            "no column 't2'",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(file, changes, columns, said):
    save(frame(**changes), file)
    first = 2 if file.suffix == ".csv" else 1
    said = re.sub(r"row \{(\d)\}", lambda row: f"row {int(row[1]) + first}", said)
    with pytest.raises(ValueError, match=f"{re.escape(str(file))}: .*{said}"):
        path_file.read(file, Columns(**{**SITE, **columns}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Empty CSV"),
        ("x_m,y_m,z_m,power_db\n", "holds no row"),
        ("x_m,y_m,z_m,power_db\n1,2,3,-80\n1,2\n", "cannot be read as csv: .*Row #3: Expected 4 columns, got 2"),
        ("x_m,y_m,z_m,power_db\n1,2,3,-80,7\n", "Row #2: Expected 4 columns, got 5"),
        ("x_m,y_m,z_m,x_m,power_db\n1,2,3,4,-80\n", "2 columns 'x_m'; there are x_m, y_m, z_m, x_m"),
        ("x_m;y_m;z_m;power_db\n1;2;3;-80\n", "no column 'x_m'; there are x_m;y_m;z_m;power_db"),
        (b"x_m,y_m,z_m,power_db\n1,2,3,\xff\n", "cannot be read as csv: .*UTF8"),
    ],
)
def test_a_csv_file_that_is_no_table_is_named(tmp_path, text, said):
    (tmp_path / "a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"a.csv:? .*{said}"):
        path_file.read(tmp_path / "a.csv", Columns(**SITE))


def test_other_separators_and_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfx_m;y_m;z_m;power_db\r\n1;2;3;-80\r\n")
    assert path_file.read(tmp_path / "a.csv", Columns(separator=";", **SITE)).power_db == -80


def test_files_that_are_no_tables_are_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" * 5)
    with pytest.raises(ValueError, match="a.parquet cannot be read as parquet"):
        path_file.read(tmp_path / "a.parquet")
    save(frame(power_db=[True, False, True, True]), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="b.parquet: column 'power_db' holds bool, not numbers"):
        path_file.read(tmp_path / "b.parquet", Columns(**SITE))
    with pytest.raises(FileNotFoundError, match="c.csv: no such file"):
        path_file.read(tmp_path / "c.csv")
    for call in (path_file.read, lambda path: path_file.write(path, table_of(0))):
        with pytest.raises(ValueError, match=r"a.xlsx: tables are .* not .*'.xlsx'"):
            call(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="without receivers"):
        path_file.write(tmp_path / "d.csv", table_of(0).take(np.zeros(6, bool)))
    with pytest.raises(ValueError, match="num_paths must be 1 or more, got 0"):
        path_file.read(tmp_path / "b.parquet", num_paths=0)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"zenith": "ze", "elevation": "el"}, "zenith 'ze' or elevation 'el', not both"),
        ({"power": "p", "power_unit": "dBm"}, "it is None for power_unit 'dBm'"),
        ({"transmit_power_dbm": 43}, "it is 43.0 for power_unit 'dB'"),
        ({"power_unit": "linear"}, "power_unit is 'linear', which column 'power_db' contradicts"),
        ({"x": "a", "y": "b", "position_unit": "km"}, "position_unit is 'km', which column 'z_m' contradicts"),
        ({"delay_unit": "ns"}, "delay_unit is 'ns', but no column of it is named: delay"),
        ({"azimuth_from": "north_clockwise"}, "azimuth_from is 'north_clockwise', but no column"),
        ({"delay_unit": "ms"}, "delay_unit"),
        ({"z": "h", "height_m": 1.5}, "z, 'h', or give height_m, 1.5, not both"),
        ({"transmitter_m": (0, 0, 0), "transmitter_x": "bx"}, "transmitter_m or name columns"),
        ({"frequency_hz": 1e9, "frequency": "f"}, "frequency_hz or name a column"),
        ({"frequency_hz": 0}, "frequency_hz"),
        ({"power": "p{path}", "delay": "tau"}, "or none; see 'tau'"),
        ({"delay": "tau{path}"}, "or none; see 'tau.path.'"),
        ({"power": "p{path}", "receiver": "id"}, "name no column receiver or path"),
        ({"speed": "v"}, "speed"),
    ],
)
def test_columns_that_contradict_themselves_are_refused(columns, said):
    with pytest.raises(ValidationError, match=said):
        Columns(**columns)


def test_angles_that_were_rounded_are_taken_for_the_end_of_their_range(tmp_path):
    data = frame(zenith_rad=[3.142, 3.1416, 0.0, None], azimuth_rad=[3.1416, -3.1416, 6.2832, None])
    read = path_file.read(save(data, tmp_path / "a.csv"), Columns(**SITE))
    assert read.zenith_rad[0].tolist() == [PI, PI]
    np.testing.assert_allclose(np.cos(read.azimuth_rad[0]), -1, atol=1e-6)
    assert read.azimuth_rad[1, 0] == pytest.approx(0, abs=2e-5)
