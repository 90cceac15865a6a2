"""Traffic: on streets, in lanes, on the right, as dense as asked, and as much of it in the raster as in the boxes."""

from dataclasses import replace

import numpy as np
import pytest

from raymap.data import generated, streets, vehicles
from raymap.data.polygons import area, cut, edges, oriented
from raymap.propagation import dominant_path
from raymap.propagation.street import length_inside
from raymap.scene import Grid, Scene, Transmitter, Vehicle


def street_scene(width_m=20.0, length_m=400.0, cell_m=1.0, turned=False):
    """A straight street between two rows of buildings, from left to right or, turned, from top to bottom."""
    building_m = np.full((round(60 / cell_m), round(length_m / cell_m)), 15.0)
    first = round((60 - width_m) / 2 / cell_m)
    building_m[first : first + round(width_m / cell_m)] = 0.0
    building_m = building_m.T if turned else building_m
    return Scene("street", Grid(building_m.shape, cell_m), building_m)


def town(seed, cell_m=2.0, size_m=256.0):
    num = round(size_m / cell_m)
    return generated.city(seed, Grid((num, num), cell_m))


def polygon(vehicle):
    return oriented([(float(x), float(y)) for x, y in vehicle.corners_m])


def common_area(first, second):
    for a, b in edges(second):
        first = cut(first, a, b, 0.0)
    return area(first) if len(first) >= 3 else 0.0


def square(row, column, cell_m):
    x, y = column * cell_m, row * cell_m
    return [(x, y), (x + cell_m, y), (x + cell_m, y + cell_m), (x, y + cell_m)]


def touched(vehicle, grid):
    """Cells that a vehicle covers some of, and how much [m²]; an independent, slow computation."""
    x, y = vehicle.corners_m.T / grid.cell_m
    return {
        (row, column): shared
        for row in range(max(0, int(y.min())), min(grid.shape[0], int(y.max()) + 1))
        for column in range(max(0, int(x.min())), min(grid.shape[1], int(x.max()) + 1))
        if (shared := common_area(polygon(vehicle), square(row, column, grid.cell_m))) > 1e-9
    }


@pytest.fixture(scope="module")
def busy():
    """Towns with traffic: scene and vehicles."""
    return [vehicles.place(town(seed), seed=1) for seed in range(8)]


def test_a_street_is_found_along_its_middle():
    for turned in (False, True):
        (street,) = streets.find(street_scene(width_m=18.0, turned=turned))
        along, across = (street.points_m[:, i] for i in ((1, 0) if turned else (0, 1)))
        assert street.width_m == pytest.approx(18.0)
        assert np.abs(across - 30.0).max() <= 1.0
        assert np.ptp(along) > 390 and street.length_m == pytest.approx(np.ptp(along), rel=0.01)


def test_a_slanting_street_is_found_with_its_direction():
    rows, columns = np.indices((300, 300))
    slope = np.radians(25.0)
    from_middle = (rows - 150) * np.cos(slope) - (columns - 150) * np.sin(slope)
    scene = Scene("slant", Grid((300, 300), 1.0), np.where(np.abs(from_middle) < 8, 0.0, 10.0))
    (street,) = streets.find(scene)
    d_x, d_y = street.points_m[-1] - street.points_m[0]
    assert np.degrees(np.arctan(d_y / d_x)) == pytest.approx(25.0, abs=1.0)
    assert street.width_m == pytest.approx(16.0, abs=1.5)
    assert street.length_m > 280


def test_streets_lead_straight_over_a_crossing_and_not_round_courtyards():
    building_m = np.full((200, 200), 12.0)
    building_m[92:108] = 0.0
    building_m[:, 46:58] = 0.0
    building_m[20:60, 120:140] = 0.0  # a closed courtyard
    building_m[150:153, 108:] = 0.0  # a passage too narrow for a car
    broad, narrow = streets.find(Scene("crossing", Grid((200, 200), 1.0), building_m))
    assert broad.length_m > 195 and np.ptp(broad.points_m[:, 1]) < 2 and broad.width_m == 16
    assert narrow.length_m > 195 and np.ptp(narrow.points_m[:, 0]) < 2 and narrow.width_m == 12


@pytest.mark.parametrize("value_m", [0.0, 20.0])
def test_without_streets_there_is_no_traffic(value_m):
    scene = Scene("bare", Grid((50, 50), 2.0), np.full((50, 50), value_m))
    with_traffic, placed = vehicles.place(scene, 0)
    assert placed == () and not with_traffic.vehicle_m.any()


@pytest.mark.parametrize("turned", [False, True])
def test_vehicles_keep_to_the_right_in_their_lanes(turned):
    _, placed = vehicles.place(street_scene(20.0, turned=turned), 3)
    assert len(placed) > 20
    for vehicle in placed:
        forward = np.array([np.cos(vehicle.heading_rad), np.sin(vehicle.heading_rad)])
        right = np.array([-forward[1], forward[0]])  # y grows downwards
        across = 0 if turned else 1
        to_the_right_m = (vehicle.xy_m[across] - 30.0) * right[across]
        lane = (to_the_right_m - vehicles.LANE_M / 2) / vehicles.LANE_M
        assert round(lane) in (0, 1) and abs(lane - round(lane)) < 0.3
        assert abs(forward[1] if not turned else forward[0]) < 0.1


def test_lanes_grow_with_the_street():
    widths_m = (5.5, 9.9, 10.0, 16.5, 23.0, 60.0)
    assert [vehicles.num_lanes_each_way(width_m) for width_m in widths_m] == [0, 0, 1, 2, 3, 3]
    _, placed = vehicles.place(street_scene(8.0), 0)
    assert len({np.sign(np.cos(vehicle.heading_rad)) for vehicle in placed}) == 1, "one-way"
    assert max(abs(vehicle.xy_m[1] - 30) for vehicle in placed) < 1.5


@pytest.mark.parametrize("vehicles_per_km", [10.0, 25.0, 80.0])
def test_mean_spacing_is_the_density_asked_and_never_below_the_queue(vehicles_per_km):
    scene = street_scene(width_m=20.0, length_m=4000.0, cell_m=2.0)
    spacings_m, gaps_m = [], []
    for seed in range(3):
        _, placed = vehicles.place(scene, seed, vehicles_per_km=vehicles_per_km)
        lanes = {}
        for vehicle in placed:
            lanes.setdefault(round((vehicle.xy_m[1] - 30 + vehicles.LANE_M / 2) / vehicles.LANE_M), []).append(vehicle)
        assert len(lanes) == 4
        for lane in lanes.values():
            lane.sort(key=lambda vehicle: vehicle.xy_m)
            x_m, length_m = np.array([(vehicle.xy_m[0], vehicle.size_m[0]) for vehicle in lane]).T
            spacings_m.extend(np.diff(x_m))
            gaps_m.extend(np.diff(x_m) - (length_m[1:] + length_m[:-1]) / 2)
    assert np.mean(spacings_m) == pytest.approx(1000 / vehicles_per_km, rel=0.08)
    # Shifted exponential: beyond the least gap, standard deviation equals mean.
    beyond_m = np.array(gaps_m) - vehicles.QUEUE_GAP_M
    assert beyond_m.min() > -0.1
    assert np.std(beyond_m) == pytest.approx(np.mean(beyond_m), rel=0.15)


def test_shares_of_the_mix():
    assert sum(kind.share for kind in vehicles.MIX) == pytest.approx(1.0)
    _, placed = vehicles.place(street_scene(width_m=23.0, length_m=4000.0, cell_m=2.0), 5, vehicles_per_km=60)
    assert len(placed) > 1000
    for kind in vehicles.MIX:
        share = np.mean([vehicle.size_m == kind.size_m for vehicle in placed])
        assert share == pytest.approx(kind.share, abs=4 * np.sqrt(kind.share / len(placed)))


def test_vehicles_touch_neither_buildings_nor_each_other_nor_the_rim(busy):
    assert sum(len(placed) for _, placed in busy) > 200
    for scene, placed in busy:
        assert not (scene.vehicle_m[~scene.outdoor] > 0).any()
        middles_m = np.array([vehicle.xy_m for vehicle in placed])
        for index, vehicle in enumerate(placed):
            assert vehicle.corners_m.min() >= 0 and (vehicle.corners_m <= scene.grid.size_m[::-1]).all()
            assert all(scene.outdoor[cell] for cell in touched(vehicle, scene.grid))
            near = np.flatnonzero(np.hypot(*(middles_m - middles_m[index]).T) < 13)
            for other in near[near != index]:
                assert common_area(polygon(vehicle), polygon(placed[other])) == 0, scene.name


def test_cells_are_kept_clear_and_the_rest_stays(busy):
    for scene, placed in busy[:3]:
        keep_clear = np.zeros(scene.grid.shape, bool)
        victim = placed[len(placed) // 2]
        keep_clear[next(iter(touched(victim, scene.grid)))] = True
        cleared, left = vehicles.place(scene, 1, keep_clear=keep_clear)
        assert victim not in left and not cleared.vehicle_m[keep_clear].any()
        assert len(set(placed) - set(left)) <= 2, "only what stood there goes"


def test_a_seed_and_a_name_make_the_traffic(busy):
    scene, placed = busy[0]
    assert vehicles.place(replace(scene, vehicle_m=None), 1)[1] == placed
    assert set(vehicles.place(scene, 2)[1]).isdisjoint(placed)
    assert set(vehicles.place(replace(scene, name="other"), 1)[1]).isdisjoint(placed)


def test_most_vehicles_are_the_same_at_another_cell_size(busy):
    same = total = 0
    for seed, (_, placed) in enumerate(busy):
        _, finer = vehicles.place(town(seed, 1.0), 1)
        finer_m = np.array([vehicle.xy_m for vehicle in finer])
        apart_m = [np.hypot(*(finer_m - vehicle.xy_m).T).min() for vehicle in placed]
        same, total = same + np.sum(np.array(apart_m) < 4), total + len(placed)
    assert same > 0.6 * total


@pytest.mark.parametrize("cell_m", [1.0, 2.0, 4.0, 8.0])
def test_the_raster_holds_the_area_of_the_boxes(busy, cell_m):
    for scene, placed in busy:
        grid = Grid((round(256 / cell_m),) * 2, cell_m)
        vehicle_m = vehicles.rasterize(placed, grid)
        true_m2 = sum(vehicle.size_m[0] * vehicle.size_m[1] for vehicle in placed)
        assert abs((vehicle_m > 0).sum() * cell_m**2 - true_m2) <= 1.001 * cell_m**2, scene.name


def test_lines_meet_as_much_vehicle_on_average_at_every_cell_size(busy):
    """What attenuates is the length inside vehicles, 4 dB per metre and at most 12 dB."""
    ends_m = np.random.default_rng(0).uniform(0, 256, (2000, 4))
    length_m, taken_db = {}, {}
    for cell_m in (0.5, 1.0, 2.0, 4.0):
        rasters = [vehicles.rasterize(placed, Grid((round(256 / cell_m),) * 2, cell_m)) > 0 for _, placed in busy]
        inside_m = cell_m * np.array([[length_inside(mask, *ends) for ends in ends_m / cell_m] for mask in rasters])
        length_m[cell_m], taken_db[cell_m] = inside_m.mean(), np.minimum(4 * inside_m, 12).mean()
    for cell_m, rel in ((1.0, 0.02), (2.0, 0.03), (4.0, 0.2)):
        assert length_m[cell_m] == pytest.approx(length_m[0.5], rel=0.02)
        assert taken_db[cell_m] == pytest.approx(taken_db[0.5], rel=rel)


def test_marked_cells_are_those_covered_most():
    grid = Grid((12, 14), 1.0)
    bus = Vehicle((6.0, 6.1), 0.0, (8.0, 2.0, 3.0))
    vehicle_m = vehicles.rasterize([bus], grid)
    assert np.array_equal(np.argwhere(vehicle_m), [(row, column) for row in (5, 6) for column in range(2, 10)])
    assert set(vehicle_m[vehicle_m > 0]) == {3.0}
    turned = vehicles.rasterize([replace(bus, xy_m=(6.1, 6.0), heading_rad=np.pi / 2)], grid)
    assert np.array_equal(turned[:12, :12], vehicle_m[:12, :12].T)
    slanting = Vehicle((6.3, 6.2), 0.7)
    shares = touched(slanting, grid)
    marked = {tuple(cell) for cell in np.argwhere(vehicles.rasterize([slanting], grid)).tolist()}
    assert len(marked) == 8 and marked <= set(shares)
    assert min(shares[cell] for cell in marked) >= max(shares[cell] for cell in set(shares) - marked)


def test_what_lies_outside_the_map_is_cut_off():
    grid = Grid((10, 10), 1.0)
    assert vehicles.rasterize([Vehicle((0.0, 5.0), 0.0, (8.0, 2.0, 1.5))], grid).sum() == 8 * 1.5
    assert not vehicles.rasterize([Vehicle((-20.0, 5.0), 0.0), Vehicle((5.0, 40.0), 0.0)], grid).any()


def test_vehicles_only_take_and_only_behind_them(busy):
    """Gain with traffic never exceeds that without, and is the same wherever no vehicle lies near any way."""
    took = 0
    for scene, placed in busy[:3]:
        row, column = np.argwhere(scene.outdoor & (scene.vehicle_m == 0))[1234]
        transmitter = Transmitter(((column + 0.5) * 2.0, (row + 0.5) * 2.0, 1.5))
        without_db = dominant_path.solve(replace(scene, vehicle_m=None), transmitter).gain_db
        with_db = dominant_path.solve(scene, transmitter).gain_db
        assert (with_db <= without_db).all()
        took += (with_db < without_db - 1).sum()
        one = replace(scene, vehicle_m=vehicles.rasterize(placed[:1], scene.grid))
        behind = dominant_path.solve(one, transmitter).gain_db < without_db - 1e-3
        assert behind.sum() < (with_db < without_db - 1e-3).sum()
    assert took > 100
    open_road = street_scene(17.0, 200.0)
    transmitter = Transmitter((20.5, 30.5, 1.5))
    queue = replace(open_road, vehicle_m=vehicles.rasterize([Vehicle((120.0, 32.0), 0.0)], open_road.grid))
    lost_db = dominant_path.solve(open_road, transmitter).gain_db - dominant_path.solve(queue, transmitter).gain_db
    assert (lost_db[:, :117] == 0).all() and lost_db[:, 123:].max() > 6
    assert (lost_db[:30] == 0).all(), "the car stands below the transmitter's row"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"vehicles_per_km": -1.0}, "vehicles_per_km must lie from 0 to .* got -1"),
        ({"vehicles_per_km": 500.0}, "bumper to bumper.*got 500"),
        ({"vehicles_per_km": float("nan")}, "got nan"),
        ({"keep_clear": np.zeros((3, 3), bool)}, r"keep_clear has shape \(3, 3\), the grid has"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        vehicles.place(street_scene(), **{"seed": 0, **changes})
