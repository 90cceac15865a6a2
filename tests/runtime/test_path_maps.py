"""A map completed from measurements: what was measured stays, what was not is told, and everything is written whole."""

import json
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from raymap import units
from raymap.config import ModelConfig
from raymap.data import path_file
from raymap.data.path_table import PARAMETERS, UNKNOWN_KIND, PathTable
from raymap.evaluation import path_maps as maps_of
from raymap.evaluation.point_channel import Sounding
from raymap.models.path_predictor import PathPredictor
from raymap.runtime import path_maps
from raymap.scene import PathKind

TRANSMITTER_M = np.array([3.0, 4.0, 9.0])
FREQUENCY_HZ = 3.5e9
NUM_PATHS = 3


def paths(receivers_m, offset_db=0.0, kind=UNKNOWN_KIND):
    """A direct path and two from mirror images of the transmitter, everywhere."""
    numbers = []
    for rank, image in enumerate(([1, 1, 1], [-1, 1, 1], [1, -1, 1])):
        ray_m = TRANSMITTER_M * image - receivers_m
        length_m = np.linalg.norm(ray_m, axis=1)
        gain_db = -45.0 - 20 * np.log10(length_m) - 15 * rank + offset_db
        angles = np.arccos(ray_m[:, 2] / length_m), np.arctan2(ray_m[:, 1], ray_m[:, 0])
        numbers.append(np.stack([gain_db, length_m / units.SPEED_OF_LIGHT_M_S, *angles], axis=1))
    values = np.stack(numbers, axis=1)
    named = dict(zip(PARAMETERS, np.moveaxis(values, -1, 0), strict=True))
    shape = values.shape[:2]
    return PathTable(
        receivers_m, TRANSMITTER_M, FREQUENCY_HZ, **named, kind=np.full(shape, kind), valid=np.ones(shape, bool)
    )


class Mirrors(PathPredictor):
    """Tells the paths of the images, all too weak by 3 dB."""

    class Config(ModelConfig):
        kind: Literal["mirrors_of_path_maps"] = "mirrors_of_path_maps"

    def complete(self, measured, receivers_m):
        self.asked = [*getattr(self, "asked", []), len(receivers_m)]
        return paths(receivers_m, -3.0, PathKind.REFLECTION)


MODEL = Mirrors(Mirrors.Config())


def grid(num_x=10, num_y=8):
    x_m, y_m = (part.ravel() for part in np.meshgrid(np.arange(num_x) * 2.0, np.arange(num_y) * 2.0))
    return np.stack([x_m, y_m, np.full(len(x_m), 1.5)], axis=1)


def table_without(table, **unknown):
    """The table with numbers that are not known; name -> (row, path)."""
    numbers = {name: getattr(table, name).copy() for name in unknown}
    for name, place in unknown.items():
        numbers[name][place] = False if name == "valid" else np.nan
    return replace(table, **numbers)


def same(one, other):
    return all(np.array_equal(getattr(one, n), getattr(other, n), equal_nan=True) for n in (*PARAMETERS, "valid"))


def test_where_it_was_measured_the_map_is_what_was_measured_to_the_last_bit():
    receivers_m = grid()
    rows = np.arange(0, len(receivers_m), 7)
    measured = table_without(paths(receivers_m[rows]), valid=(2, slice(1, None)))
    found = path_maps.complete(MODEL, measured, receivers_m)
    assert same(found.take(rows), measured)
    others = np.setdiff1d(np.arange(len(receivers_m)), rows)
    told = paths(receivers_m, -3.0).take(others)
    assert np.array_equal(found.power_db[others, 0], told.power_db[:, 0])
    # A receiver next to a measured one is another one.
    assert not same(path_maps.complete(MODEL, measured, receivers_m[rows] + np.array([0.01, 0, 0])), measured)


def test_unknown_numbers_of_measured_paths_are_filled_and_known_ones_stay():
    places_m = grid()[:6]
    whole = paths(places_m, -1.0)
    measured = table_without(whole, delay_s=(0, 1), azimuth_rad=(1, slice(None)), zenith_rad=(3, 0))
    found, told = path_maps.complete(MODEL, measured, places_m), paths(places_m, -3.0)
    for name in PARAMETERS:
        known = np.isfinite(getattr(measured, name))
        assert np.array_equal(getattr(found, name)[known], getattr(measured, name)[known]), name
        assert np.array_equal(getattr(found, name)[~known], getattr(told, name)[~known]), name
    assert (found.kind == PathKind.REFLECTION).all()  # nothing was said of them
    kind = np.full(whole.kind.shape, PathKind.DIFFRACTION)
    assert (path_maps.complete(MODEL, replace(measured, kind=kind), places_m).kind == PathKind.DIFFRACTION).all()


def test_a_power_that_is_filled_in_takes_its_place_among_the_others():
    places_m = grid()[:4]
    measured = table_without(paths(places_m, -40.0), power_db=(1, 1))  # what is told is stronger than all of them
    found = path_maps.complete(MODEL, measured, places_m)
    assert (np.diff(found.power_db) <= 0).all()
    filled = paths(places_m, -3.0).power_db[1, 1]
    assert found.power_db[1].tolist() == [filled, *measured.power_db[1, [0, 2]]]
    assert found.delay_s[1].tolist() == measured.delay_s[1, [1, 0, 2]].tolist()
    assert same(found.take([0, 2, 3]), measured.take([0, 2, 3]))


def test_what_nobody_knows_stays_unknown():
    places_m = grid()[:3]
    measured = table_without(paths(places_m), delay_s=(1, 0))
    nothing = replace(paths(places_m), valid=np.zeros((3, NUM_PATHS), bool))
    assert same(path_maps.keep_measured(nothing, measured), measured)
    with pytest.raises(ValueError, match="2 paths are predicted, 3 were measured"):
        path_maps.keep_measured(PathTable(**{n: v[:, :2] if n in (*PARAMETERS, "kind", "valid") else v
                                             for n, v in vars(nothing).items()}), measured)  # fmt: skip


def test_there_are_as_many_paths_as_around():
    receivers_m = grid()
    dark, few = receivers_m[:, 0] > 13, receivers_m[:, 1] > 9
    truth = paths(receivers_m)
    truth = table_without(truth, valid=np.nonzero(dark[:, None] | (few[:, None] & (np.arange(NUM_PATHS) > 0))))
    rows = np.arange(0, len(receivers_m), 3)
    found = path_maps.complete(MODEL, truth.take(rows), receivers_m)
    assert (found.valid == truth.valid).mean() > 0.9
    alone = path_maps.complete(MODEL, truth.take(rows[:1]), receivers_m)
    assert alone.valid.all()  # one measured receiver speaks for all


def test_the_model_is_asked_in_parts_which_make_no_difference():
    receivers_m, measured = grid(), paths(grid()[::9])
    model = Mirrors(Mirrors.Config())
    parts, whole = path_maps.complete(model, measured, receivers_m, chunk=33), path_maps.complete(
        MODEL, measured, receivers_m
    )  # fmt: skip
    assert model.asked == [33, 33, 14] and same(parts, whole)
    assert np.array_equal(parts.receivers_m, receivers_m)


@pytest.mark.parametrize("spacing_m", [0.5, 3.0, 18.0, 100.0])
def test_a_grid_covers_what_is_measured_at_its_spacing(spacing_m):
    measured = paths(grid() + np.array([100.25, -7.0, 0.0]))
    receivers_m = path_maps.grid_over(measured, spacing_m)
    low, high = measured.receivers_m.min(0), measured.receivers_m.max(0)
    for axis in range(2):
        lines = np.unique(receivers_m[:, axis])
        assert lines[0] == low[axis] and high[axis] - 1e-6 <= lines[-1] < high[axis] + spacing_m
        assert np.allclose(np.diff(lines), spacing_m)
    assert len(receivers_m) == len(np.unique(receivers_m, axis=0))
    assert (receivers_m[:, 2] == 1.5).all() and (path_maps.grid_over(measured, spacing_m, 4.0)[:, 2] == 4.0).all()


def test_a_map_is_written_whole_and_its_page_tells_the_numbers(tmp_path):
    receivers_m = grid()
    measured = table_without(paths(receivers_m[::5]), delay_s=(0, 0))
    out = tmp_path / "out"
    found = path_maps.predict(
        MODEL, measured, receivers_m, out, method="mirrors <b>", at=[(5.0, 7.0), (2, 2, 1.5)],
        sounding=Sounding(bandwidth_hz=50e6, array=(4, 2)),
    )  # fmt: skip
    table = path_file.read(out / "paths.parquet")
    assert same(table, path_maps.complete(MODEL, measured, receivers_m))
    arrays, wanted = np.load(out / "maps.npz"), maps_of.maps(table)
    assert all(np.array_equal(arrays[name], wanted[name], equal_nan=True) for name in maps_of.QUANTITIES)
    assert np.array_equal(np.flatnonzero(arrays["is_measured"]), np.arange(0, len(receivers_m), 5))
    image = np.full((8, 10), np.nan)
    image[arrays["row"], arrays["column"]] = arrays["power_db"]
    assert np.array_equal(image.ravel(), wanted["power_db"])
    pictures = {"maps", *maps_of.QUANTITIES} | {
        f"point{number}-{what}"
        for number in (1, 2)
        for what in ("impulse_response", "frequency_response", "beam_pattern")
    }
    assert {path.stem for path in out.glob("*.png")} == pictures
    assert {path.stem for path in out.glob("*.csv")} == {name for name in pictures if "point" in name} | {
        "point1-paths", "point2-paths",
    }  # fmt: skip
    assert not [*out.glob(".*")]
    second = path_file.read(out / "point2-paths.csv")
    assert np.allclose(second.power_db, paths(second.receivers_m, -3.0).power_db, atol=1e-4)
    page, html = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert found == json.loads((out / "report.json").read_text())
    assert found["measured"] == {"num_receivers": 16, "num_dark": 0, "num_paths": 48, "num_on_map": 16}
    assert found["map"]["num_receivers"] == 80 and found["map"]["num_filled"] == 1
    assert found["points_m"] == [[5.0, 7.0, 1.5], [2.0, 2.0, 1.5]]
    for words in ("48 paths at 16 receivers", "240 paths at 80 receivers", "At (5, 7, 1.5) m", "band of 50 MHz",
                  "4 x 2 antennas", found["commit"], found["command"]):  # fmt: skip
        assert words in page, words
    assert html.count("data:image/png;base64,") == 7 and "mirrors &lt;b&gt;" in html
    assert f"{np.median(wanted['power_db']):.1f}" in page


def test_receivers_on_no_grid_have_no_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(maps_of, "draw", lambda *_: b"")
    places_m = np.random.default_rng(0).uniform(0, 15, (30, 3))
    path_maps.predict(MODEL, paths(places_m[:9]), places_m, tmp_path, method="mirrors")
    assert "row" not in np.load(tmp_path / "maps.npz")


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ((30, 2), r"point \(30, 2\) m lies outside the map, which spans x 0 to 18 m and y 0 to 14 m"),
        ((2, -0.1, 1.5), "lies outside the map"),
        ((2,), "a point is x, y or x, y, z .*, got 2$"),
        ((2, np.nan), "a point is x, y or x, y, z .*, got 2,nan"),
        ((17, 2), r"no channel at \(17, 2, 1.5\) m: no path arrives there"),
    ],
)
def test_a_point_without_a_channel_is_told_before_anything_is_written(at, words, tmp_path):
    receivers_m = grid()
    measured = table_without(paths(receivers_m), valid=receivers_m[:, 0] > 13)
    with pytest.raises(ValueError, match=words):
        path_maps.predict(MODEL, measured, receivers_m, tmp_path / "out", method="mirrors", at=[at])
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_completed_is_told():
    measured = paths(grid())
    for receivers_m in (np.zeros((0, 3)), np.zeros((4, 2))):
        with pytest.raises(ValueError, match="receivers_m must be"):
            path_maps.complete(MODEL, measured, receivers_m)
    with pytest.raises(ValueError, match="none has a path of known power"):
        path_maps.complete(MODEL, table_without(measured, valid=slice(None)), grid())
    with pytest.raises(ValueError, match="grid_m must be positive, got -1"):
        path_maps.grid_over(measured, -1.0)
    with pytest.raises(ValueError, match="grid_m 0.001 gives 18001 x 14001 receivers, at most 20000000"):
        path_maps.grid_over(measured, 0.001)
