"""City tiles: the rasteriser on bodies whose raster is known, and the real cities where sionna-rt is installed."""

import importlib.util
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
import trimesh

from raymap.propagation import city
from raymap.scene import Grid


def _installed() -> bool:
    try:
        return bool(version("sionna-rt"))
    except PackageNotFoundError:
        return False


needs_cities = pytest.mark.skipif(not _installed(), reason="the cities are in sionna-rt, which is not installed")


def _box(tmp_path, low, high) -> np.ndarray:
    body = trimesh.creation.box(bounds=[low, high])
    path = tmp_path / "box.ply"
    body.export(path)
    return city.triangles(path)


def test_a_box_is_its_footprint_and_height(tmp_path):
    box = _box(tmp_path, (3, 5, 0), (9, 8, 12.5))  # y to the north
    grid = Grid((20, 20), 1.0, (0.0, -20.0))  # the top left corner lies at 0 m east, 20 m north
    expected = np.full((20, 20), -np.inf, np.float32)
    expected[20 - 8 : 20 - 5, 3:9] = 12.5
    assert np.array_equal(city.rasterise(box, grid), expected)


def test_cells_count_by_their_centres(tmp_path):
    box = _box(tmp_path, (0.6, 0.4, 0), (2.6, 1.6, 4))
    top_m = city.rasterise(box, Grid((2, 3), 1.0, (0.0, -2.0)))
    assert np.array_equal(np.isfinite(top_m), [[False, True, True], [False, True, True]])


def test_the_highest_surface_wins_in_any_order(tmp_path):
    low, high = _box(tmp_path, (0, 0, 0), (8, 8, 5)), _box(tmp_path, (2, 2, 3), (5, 4, 9))
    grid = Grid((8, 8), 1.0, (0.0, -8.0))
    one, other = (city.rasterise(np.concatenate(both), grid) for both in ((low, high), (high, low)))
    assert np.array_equal(one, other)
    assert np.count_nonzero(one == 9) == 6 and np.count_nonzero(one == 5) == 58


def test_slopes_are_interpolated():
    ramp = np.array([[[0, 0, 0], [10, 0, 10], [10, 10, 10]], [[0, 0, 0], [10, 10, 10], [0, 10, 0]]], float)
    top_m = city.rasterise(ramp, Grid((10, 10), 1.0, (0.0, -10.0)))
    assert top_m == pytest.approx(np.broadcast_to(np.arange(10) + 0.5, (10, 10)), abs=1e-5)


def test_polygons_of_any_size_are_read(tmp_path):
    path = tmp_path / "hexagon.ply"
    angles = np.arange(6) * np.pi / 3
    corners = "".join(f"{10 * np.cos(a):.6f} {10 * np.sin(a):.6f} 7\n" for a in angles)
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 6\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face 1\nproperty list uchar int vertex_indices\nend_header\n{corners}6 0 1 2 3 4 5\n"
    )
    top_m = city.rasterise(city.triangles(path), Grid((200, 200), 0.1, (-10.0, -10.0)))
    assert np.isfinite(top_m).sum() * 0.01 == pytest.approx(1.5 * 3**0.5 * 100, rel=1e-2)


def test_the_ground_is_subtracted_and_kerbs_are_ground():
    top_m = np.array([[50.0, 31.5, -np.inf, 20.0]], np.float32)
    ground_m = np.array([[30.0, 30.0, 30.0, -np.inf]], np.float32)
    assert np.array_equal(city.above_ground(top_m, ground_m), [[20, 0, 0, 0]])


def test_cracks_are_closed_and_yards_stay_open():
    height_m = np.full((12, 12), 8.0, np.float32)
    height_m[:, 6:] = 14
    height_m[3:5, 2] = 0  # a crack of 2 m²
    height_m[6:9, 7:10] = 0  # a yard of 9 m²
    expected = height_m.copy()
    expected[3:5, 2] = 8
    assert np.array_equal(city.close_cracks(height_m, 1.0), expected)
    assert np.array_equal(city.close_cracks(height_m, 2.0), height_m)  # the same cells are 8 m² now


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="unknown city 'atlantis'"):
        city.heights("atlantis")
    with pytest.raises(ValueError, match="cell_m"):
        city.heights("munich", 0.0)


def test_a_missing_package_names_the_extra(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: name != "sionna" and find_spec(name, *rest))
    city._heights.cache_clear()
    with pytest.raises(ImportError, match=r"raymap\[sionna\]"):
        city.heights("etoile")


@needs_cities
def test_cities_are_read_without_the_ray_tracer():
    code = (
        "import sys; from raymap.propagation import city; city.heights('etoile', 4.0);"
        "print([name for name in ('sionna', 'mitsuba', 'drjit') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@needs_cities
@pytest.mark.parametrize(
    ("name", "built", "num_tiles", "landmark_m"),
    [
        ("munich", 0.31, 76, 98.5),  # towers of the Frauenkirche
        ("florence", 0.43, 34, 114.4),  # lantern of the cathedral's dome
        ("etoile", 0.21, 20, 50.0),  # Arc de Triomphe
        ("san_francisco", 0.41, 48, 102.6),  # a tower on the terrain, not above the sea
    ],
)
def test_real_cities(name, built, num_tiles, landmark_m):
    grid, height_m = city.heights(name)
    assert height_m.shape == grid.shape and height_m.dtype == np.float32 and not height_m.flags.writeable
    assert (height_m > 0).mean() == pytest.approx(built, abs=0.02)
    assert height_m[height_m > 0].min() >= city.MIN_BUILDING_M
    assert height_m.max() == pytest.approx(landmark_m, abs=1.0)
    assert 6 < np.median(height_m[height_m > 0]) < 25
    assert len(city.tiles(name)) == pytest.approx(num_tiles, abs=2)


@needs_cities
def test_north_is_up():
    """From the Frauenkirche, St. Peter lies about 230 m south and 160 m east (from their published coordinates)."""
    _, height_m = city.heights("munich")
    frauenkirche = np.unravel_index(height_m.argmax(), height_m.shape)
    peter = np.unravel_index(height_m[600:].argmax(), height_m[600:].shape)
    assert height_m[600:].max() == pytest.approx(91, abs=3)  # a spire, met by cell centres only near its tip
    assert peter[0] + 600 - frauenkirche[0] == pytest.approx(230, abs=50)
    assert peter[1] - frauenkirche[1] == pytest.approx(160, abs=60)


@needs_cities
def test_tiles_are_crops_of_their_city():
    grid, height_m = city.heights("etoile")
    for tile in city.tiles("etoile"):
        row = round((tile.grid.origin_m[1] - grid.origin_m[1]) / grid.cell_m)
        column = round((tile.grid.origin_m[0] - grid.origin_m[0]) / grid.cell_m)
        assert tile.name == f"etoile/r{row // 128:02d}c{column // 128:02d}"
        assert np.array_equal(tile.building_m, height_m[row : row + 256, column : column + 256])
        assert 0.08 <= 1 - tile.outdoor.mean() <= 0.70


@needs_cities
def test_tiles_at_other_cells():
    fine, coarse = city.tiles("etoile"), city.tiles("etoile", cell_m=4.0)
    assert coarse[0].building_m.shape == (64, 64)
    names = {tile.name for tile in fine} & {tile.name for tile in coarse}
    assert len(names) >= len(fine) - 1
    with pytest.raises(ValueError, match="stride_m"):
        city.tiles("etoile", cell_m=3.0, size_m=255.0, stride_m=100.0)


def test_tiles_may_be_wider_than_high():
    squares = {tile.name: tile for tile in city.tiles("munich", 4.0, 256.0, 128.0, built=(0.0, 1.0))}
    wide = city.tiles("munich", 4.0, (256.0, 512.0), 128.0, built=(0.0, 1.0))
    assert wide and {tile.grid.shape for tile in wide} == {(64, 128)}
    for tile in wide:
        np.testing.assert_array_equal(tile.building_m[:, :64], squares[tile.name].building_m)
