"""Meshes of raster scenes, rooms and cities: closed, outward, and of the volume that was drawn. No tracer needed."""

import itertools
from collections import Counter
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
from scipy.ndimage import label

from raymap.propagation import meshes, outlines
from raymap.scene import Grid, Scene, Vehicle


def _scene(building_m, cell_m=1.0, **rest) -> Scene:
    building_m = np.asarray(building_m, np.float32)
    return Scene("town", Grid(building_m.shape, cell_m), building_m, **rest)


def _named(scene, name) -> meshes.Mesh:
    return next(mesh for mesh in scene.meshes if mesh.name == name)


def _corners(mesh) -> np.ndarray:
    return (mesh.vertices_m * (1, -1, 1))[mesh.faces]  # as on the map: y of the world is up the page


def _volume_m3(mesh) -> float:
    """By the divergence theorem for the field (x, 0, 0), to which open bottoms add nothing."""
    a, b, c = np.moveaxis(_corners(mesh), 1, 0)
    return float((np.cross(b - a, c - a)[:, 0] / 2 * (a + b + c)[:, 0] / 3).sum())


def _area_m2(mesh) -> float:
    a, b, c = np.moveaxis(_corners(mesh), 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _open_edges(mesh) -> list[tuple[int, int]]:
    """Edges without a partner; fails where an edge runs twice in one sense."""
    directed = Counter((int(f[i]), int(f[(i + 1) % 3])) for f in mesh.faces for i in range(3))
    assert max(directed.values()) == 1
    return [edge for edge in directed if edge[::-1] not in directed]


def test_a_block_is_a_box():
    height_m = np.zeros((20, 30))
    height_m[5:9, 10:22] = 12.0
    scene = meshes.extrude(_scene(height_m, 2.0))
    walls = _named(scene, "buildings")
    assert len(walls.vertices_m) == 8 and len(walls.faces) == 10
    assert np.array_equal(walls.vertices_m.min(0), [20, 10, 0]) and np.array_equal(
        walls.vertices_m.max(0), [44, 18, 12]
    )
    assert _volume_m3(walls) == pytest.approx(24 * 8 * 12)
    assert all(walls.vertices_m[list(edge), 2].max() == 0 for edge in _open_edges(walls))
    assert _area_m2(_named(scene, "ground")) == pytest.approx(40 * 60)
    assert (np.cross(*np.diff(_corners(_named(scene, "ground")), axis=1).swapaxes(0, 1))[:, 2] > 0).all()


def test_yards_stay_open():
    height_m = np.zeros((24, 24))
    height_m[3:21, 4:20] = 10.0
    height_m[6:11, 7:12] = height_m[13:18, 9:17] = 0.0
    walls = _named(meshes.extrude(_scene(height_m)), "buildings")
    assert _volume_m3(walls) == pytest.approx(10.0 * (height_m > 0).sum())
    assert all(walls.vertices_m[list(edge), 2].max() == 0 for edge in _open_edges(walls))


def test_a_tower_stands_on_its_base():
    height_m = np.zeros((16, 16))
    height_m[4:12, 4:12] = 9.0
    height_m[6:9, 6:9] = 30.0
    walls = _named(meshes.extrude(_scene(height_m)), "buildings")
    assert _volume_m3(walls) == pytest.approx(9 * 64 + 21 * 9)
    assert set(np.round(walls.vertices_m[:, 2], 6)) == {0.0, 9.0, 30.0}


def test_heights_of_one_storey_become_their_mean():
    height_m = np.zeros((8, 8))
    height_m[2:6, 2:4], height_m[2:6, 4:6] = 10.0, 12.0
    walls = _named(meshes.extrude(_scene(height_m)), "buildings")
    assert set(walls.vertices_m[:, 2]) == {0.0, 11.0}


def test_oblique_walls_are_flat():
    rows, columns = np.mgrid[:128, :128] + 0.5
    angle = np.deg2rad(27.0)
    along = (columns - 64) * np.cos(angle) + (rows - 64) * np.sin(angle)
    across = (rows - 64) * np.cos(angle) - (columns - 64) * np.sin(angle)
    built = (np.abs(along) < 40) & (np.abs(across) < 15)
    walls = _named(meshes.extrude(_scene(10.0 * built)), "buildings")
    assert len(walls.vertices_m) <= 16
    assert _volume_m3(walls) == pytest.approx(10 * 80 * 30, rel=0.02)


@pytest.mark.parametrize("seed", range(40))
def test_any_mask_is_filled_exactly(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 20))
    mask = rng.random((size, size)) < rng.uniform(0.2, 0.9)
    found = outlines.polygons(mask)
    assert len(found) == label(mask, np.ones((3, 3)))[1]
    for polygon in found:
        faces = outlines.triangles(polygon)
        assert faces is not None
        points = np.concatenate(polygon)
        areas = [outlines.area(points[face]) for face in faces]
        assert min(areas) > 0
        assert sum(areas) == sum(outlines.area(ring) for ring in polygon)
        assert len(faces) <= len(points) + 2 * (len(polygon) - 1) - 2
    assert bool(found) == mask.any()


def test_triangles_do_not_overlap():
    mask = np.ones((9, 9), bool)
    mask[2:4, 2:4] = mask[2:4, 6:8] = mask[5:8, 3:6] = False
    mask = np.kron(mask, np.ones((4, 4), bool))
    (polygon,) = outlines.polygons(mask)
    assert len(polygon) == 4
    points = np.concatenate(polygon) / outlines.STEPS
    places = np.stack(np.meshgrid(*[np.linspace(0.1, 35.9, 61)] * 2), -1).reshape(-1, 2)
    covered = np.zeros(len(places), int)
    for a, b, c in points[outlines.triangles(polygon)]:
        inside = [outlines._cross(p, q, places) > 0 for p, q in ((a, b), (b, c), (c, a))]
        covered += np.logical_and.reduce(inside)
    inside = mask[places[:, 1].astype(int), places[:, 0].astype(int)]
    assert covered.max() == 1 and not covered[~inside].any()
    assert covered[inside].mean() > 0.9  # the rest lies on edges of triangles


def test_vehicles_are_boxes_or_their_raster():
    boxes = [Vehicle((4.0, 5.0), 0.4, (4.0, 2.0, 1.5)), Vehicle((8.0, 2.0), 2.0, (12.0, 2.5, 3.0))]
    cars = _named(meshes.extrude(_scene(np.zeros((12, 12))), boxes), "vehicles")
    assert cars.material == "metal"
    assert _volume_m3(cars) == pytest.approx(4 * 2 * 1.5 + 12 * 2.5 * 3)
    raster_m = np.zeros((12, 12), np.float32)
    raster_m[3:5, 2:6] = 1.5
    drawn = _scene(np.zeros((12, 12)), vehicle_m=raster_m)
    assert _volume_m3(_named(meshes.extrude(drawn), "vehicles")) == pytest.approx(12.0)
    assert [mesh.name for mesh in meshes.extrude(drawn, []).meshes] == ["ground"]


def test_a_room_is_closed_and_has_no_wedges():
    (walls,) = meshes.room((10.0, 8.0, 5.0)).meshes
    assert _area_m2(walls) == pytest.approx(2 * (80 + 50 + 40))
    places = walls.vertices_m[walls.faces].reshape(12, 3, 3)
    sides = Counter(tuple(sorted((tuple(face[i]), tuple(face[(i + 1) % 3])))) for face in places for i in range(3))
    assert set(sides.values()) == {2}  # in space every edge has two faces,
    shared = Counter(tuple(sorted((f[i], f[(i + 1) % 3]))) for f in walls.faces.tolist() for i in range(3))
    assert sum(count == 2 for count in shared.values()) == 6  # in the mesh only the diagonals have


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: meshes.room((10.0, 0.0, 5.0)), "three positive lengths.*0.0"),
        (lambda: meshes.city("atlantis"), "unknown city 'atlantis'; the cities are munich"),
        (lambda: meshes.Mesh("m", np.zeros((2, 3)), [(0, 1, 2)]), "vertices 0 to 1"),
        (lambda: meshes.Mesh("m", np.full((3, 3), np.nan), [(0, 1, 2)]), "not finite"),
        (lambda: meshes.MeshScene("s", (), 0.0), "frequency_hz must be positive"),
        (lambda: meshes.MeshScene("s", meshes.room().meshes * 2, 1e9), "names must differ"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_city_lies_on_its_raster():
    try:
        version("sionna-rt")
    except PackageNotFoundError:
        pytest.skip("the cities are in sionna-rt, which is not installed")
    from raymap.propagation import city

    grid, height_m = city.heights("etoile", 4.0)
    scene = meshes.city("etoile", grid)
    assert {mesh.material for mesh in scene.meshes} == {"marble", "metal", "wood", "concrete"}
    tops = np.concatenate([mesh.vertices_m[mesh.faces].mean(1) for mesh in scene.meshes])
    column, row = (tops[:, :2] / grid.cell_m).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < grid.shape[1]) & (row < grid.shape[0]) & (tops[:, 2] > 3.0)
    around = [
        height_m[np.clip(row[inside] + i, 0, grid.shape[0] - 1), np.clip(column[inside] + j, 0, grid.shape[1] - 1)]
        for i, j in itertools.product((-1, 0, 1), repeat=2)
    ]
    # faces above the street stand where the raster is built, as in no mirrored or shifted city
    assert (np.max(around, axis=0) > 0).mean() > 0.99
    assert (np.max(around, axis=0)[:, None] > 0).shape[0] > 5000


def test_a_city_on_hills_is_refused():
    try:
        version("sionna-rt")
    except PackageNotFoundError:
        pytest.skip("the cities are in sionna-rt, which is not installed")
    with pytest.raises(ValueError, match="ground of san_francisco is not flat"):
        meshes.city("san_francisco")
