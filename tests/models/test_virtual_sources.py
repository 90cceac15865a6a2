"""Virtual sources: exact where images and scatterers are, kinds told by neighbours, and what is left to means."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from raymap import units
from raymap.data.path_table import PathTable
from raymap.models.followed_paths import follow
from raymap.models.path_interpolation import NearestPaths, inverse_distance, numbers
from raymap.models.virtual_sources import VirtualSources, _shares
from raymap.physics import agreement, consensus
from raymap.physics.virtual_sources import directions
from raymap.propagation import meshes
from raymap.propagation.surroundings import Surroundings
from raymap.scene import PathKind

TRANSMITTER_M = np.array([2.0, 3.0, 2.5])
#: Anchors (x, y, z) of a room 8 x 6 x 3 m, loss on the way before and at them [dB]: the line of sight, the images
#: behind x = 0 and y = 6 and below the floor, and two points that scatter.
IMAGES = [((2.0, 3.0, 2.5), 0.0), ((-2.0, 3.0, 2.5), 12.0), ((2.0, 9.0, 2.5), 15.0), ((2.0, 3.0, -2.5), 20.0)]
POINTS = [((7.9, 1.0, 2.0), 40.0), ((6.0, 5.9, 1.5), 46.0)]


def room(receivers_m, num_paths=6, known_kinds=True):
    """Every anchor is seen from everywhere; power falls with the last leg."""
    found, kinds = [], []
    for (place_m, loss_db), bends in [(image, False) for image in IMAGES] + [(point, True) for point in POINTS]:
        ray_m = np.array(place_m) - receivers_m
        leg_m = np.linalg.norm(ray_m, axis=1)
        length_m = leg_m + (np.linalg.norm(place_m - TRANSMITTER_M) if bends else 0.0)
        zenith, azimuth = np.arccos(ray_m[:, 2] / leg_m), np.arctan2(ray_m[:, 1], ray_m[:, 0])
        delay_s = length_m / units.SPEED_OF_LIGHT_M_S
        found.append(np.stack([-40.0 - loss_db - 20 * np.log10(leg_m), delay_s, zenith, azimuth], -1))
        kinds.append(PathKind.SCATTERING if bends else PathKind.REFLECTION)
    values = np.stack(found, 1)
    order = np.argsort(-values[..., 0], axis=1)[:, :num_paths]
    values = np.take_along_axis(values, order[..., None], axis=1)
    kind = np.array(kinds)[order] if known_kinds else np.full(order.shape, -1)
    angle = np.moveaxis(values, -1, 0)
    return PathTable(receivers_m, TRANSMITTER_M, 2.4e9, *angle, kind=kind, valid=np.ones(order.shape, bool))


def places(num, seed):
    return np.random.default_rng(seed).uniform([0.5, 0.5, 1.0], [7.5, 5.5, 1.0], (num, 3))


def errors(found, true):
    """(N, P, 4): dB, ns, degrees, degrees."""
    missed = found.values.astype(float) - true.values
    missed[..., 3] = np.arctan2(np.sin(missed[..., 3]), np.cos(missed[..., 3]))
    return missed * [1.0, 1e9, *np.degrees([1.0, 1.0])]


@pytest.mark.parametrize("mode", ["mean", "likeliest"])
@pytest.mark.parametrize("known_kinds", [True, False], ids=["kinds known", "kinds told by neighbours"])
def test_where_all_paths_are_seen_everywhere_they_are_told_exactly(mode, known_kinds):
    model = VirtualSources(VirtualSources.Config(mode=mode))
    wanted_m = places(40, 1)
    found, true = model.complete(room(places(200, 0), known_kinds=known_kinds), wanted_m), room(wanted_m)
    # Where two powers are all but equal the mean is between the two.
    apart = np.abs(np.diff(true.power_db, axis=1)).min(1) > 0.5
    assert apart.sum() > 10
    assert np.abs(errors(found, true)[apart]).max() < 0.05


def test_lists_that_are_cut_off_deny_nothing():
    wanted_m = places(40, 1)
    found = VirtualSources(VirtualSources.Config(mode="likeliest")).complete(room(places(200, 0), 3), wanted_m)
    wrong = np.abs(errors(found, room(wanted_m, 3))) > 0.5
    assert wrong.any(-1).mean() < 0.05


def test_what_hides_a_path_from_all_neighbours_hides_it_here():
    measured = room(places(200, 0))
    # East of x = 5 nothing comes from the west wall: its places in the lists are gone.
    west = np.abs(np.linalg.norm(np.array(IMAGES[1][0]) - measured.receivers_m, axis=1)[:, None]
                  - units.SPEED_OF_LIGHT_M_S * measured.delay_s) < 0.01  # fmt: skip
    hidden = west & (measured.receivers_m[:, :1] > 5.0)
    order = np.argsort(hidden, axis=1, kind="stable")
    values = np.take_along_axis(measured.values, order[..., None], axis=1)
    kind, valid = (np.take_along_axis(array, order, axis=1) for array in (measured.kind, ~hidden))
    measured = PathTable.from_values(measured, measured.receivers_m, values, kind=kind, valid=valid)
    wanted_m = np.array([[7.0, 3.0, 1.0], [3.0, 2.0, 1.0]])
    found = VirtualSources(VirtualSources.Config(mode="likeliest")).complete(measured, wanted_m)
    length_m = units.SPEED_OF_LIGHT_M_S * found.delay_s
    apart_m = np.abs(length_m - np.linalg.norm(np.array(IMAGES[1][0]) - wanted_m, axis=1)[:, None]).min(1)
    assert apart_m[0] > 0.1 and apart_m[1] < 0.01


def test_without_delays_numbers_are_means_by_inverse_distance():
    measured = room(places(100, 0))
    hidden = replace(measured, delay_s=np.full(measured.valid.shape, np.nan))
    wanted_m = places(10, 1)
    found = VirtualSources(VirtualSources.Config()).complete(hidden, wanted_m)
    around = inverse_distance(hidden, wanted_m, 16)
    assert np.allclose(numbers(found)[..., 2], around[..., 2], atol=1e-5)
    assert (found.delay_s > 0).all()


def test_it_is_better_than_the_nearest_receiver_where_paths_change_from_place_to_place():
    """Powers that wander and lists of four of six: no method is exact, the mean has the least squared error."""
    rng = np.random.default_rng(3)
    measured, wanted_m = room(places(300, 0), 4), places(200, 1)
    noisy = measured.power_db + rng.normal(0, 1.5, measured.valid.shape)
    order = np.argsort(-noisy, axis=1)
    values = measured.values.copy()
    values[..., 0] = noisy
    measured = PathTable.from_values(
        measured, measured.receivers_m, np.take_along_axis(values, order[..., None], 1),
        kind=np.take_along_axis(measured.kind, order, 1),
    )  # fmt: skip
    models = [VirtualSources(VirtualSources.Config(mode=mode)) for mode in ("mean", "likeliest")]
    models.append(NearestPaths(NearestPaths.Config()))
    squares = [np.square(errors(model.complete(measured, wanted_m), room(wanted_m, 4))).mean() for model in models]
    assert squares[0] < squares[1] < squares[2]


def street(receivers_m, house):
    """Two paths, of sight and from a wall along y = 0 (images), wherever the house does not hide them."""
    surroundings = Surroundings(meshes.MeshScene("street", (house,), 3.5e9))
    tx_m, found = np.array([60.0, 40, 10]), []
    for image_m, loss_db in ((tx_m, 0.0), (tx_m * (1, -1, 1), 8.0)):
        ray_m = image_m - receivers_m
        length_m = np.linalg.norm(ray_m, axis=1)
        ends_m = surroundings.ends(receivers_m, ray_m / length_m[:, None], length_m, 1)
        there = np.linalg.norm(ends_m - tx_m, axis=1) < 0.1
        zenith, azimuth = np.arccos(ray_m[:, 2] / length_m), np.arctan2(ray_m[:, 1], ray_m[:, 0])
        told = [-43.0 - loss_db - 20 * np.log10(length_m), length_m / units.SPEED_OF_LIGHT_M_S, zenith, azimuth]
        found.append(np.where(there[:, None], np.stack(told, -1), np.nan))
    values, kind = np.stack(found, 1), np.array([[0, 1]] * len(receivers_m))
    order = np.argsort(np.isnan(values[..., 0]), axis=1, kind="stable")
    values, kind = np.take_along_axis(values, order[..., None], 1), np.take_along_axis(kind, order, 1)
    told = dict(zip(("power_db", "delay_s", "zenith_rad", "azimuth_rad"), np.moveaxis(values, -1, 0), strict=True))
    return PathTable(receivers_m, tx_m, 3.5e9, **told, kind=kind, valid=np.isfinite(values[..., 0]))


def house_and_wall():
    wall = ([0.0, 0, 0], [120.0, 0, 0], [120.0, 0, 30], [0.0, 0, 30])
    x, y, z = np.meshgrid([44.0, 48.0], [24.0, 28.0], [0.0, 15.0], indexing="ij")
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(8, 9, 10), (8, 10, 11), *(face for a, b, c, d in sides for face in ((a, b, c), (a, c, d)))]
    return meshes.Mesh("house", [*np.stack([x, y, z], -1).reshape(-1, 3), *wall], faces)


def in_the_street(num, seed, house):
    """Receivers drawn on 38 m square, and what they see of the street."""
    places_m = np.random.default_rng(seed).uniform(1, 39, (num, 2))
    table = street(np.pad(places_m, [(0, 0), (0, 1)], constant_values=1.5), house)
    return table.within(meshes.MeshScene("street", (house,), 3.5e9))


def test_a_map_tells_what_a_house_hides_between_those_who_were_asked():
    house = house_and_wall()
    measured, wanted = in_the_street(120, 0, house), in_the_street(600, 1, house)
    assert 0.05 < 1 - wanted.valid[:, 1].mean() < 0.7

    def missed(uses_map):
        found = VirtualSources(VirtualSources.Config(uses_map=uses_map)).complete(measured, wanted.receivers_m)
        return np.nanmean(errors(found, wanted) ** 2)

    assert missed(True) < 0.1 * missed(False)


def test_a_method_that_uses_a_map_needs_one():
    with pytest.raises(ValueError, match="no map of what stands around"):
        VirtualSources(VirtualSources.Config(uses_map=True)).complete(room(places(20, 0)), places(2, 1))


def test_what_sight_and_neighbours_are_worth_is_learned_from_those_who_were_asked():
    house = house_and_wall()
    few, many = (follow(in_the_street(num, 0, house), 16, uses_map=True) for num in (20, 1500))
    assert few.weights is None and follow(in_the_street(1500, 0, house), 16).weights is None
    wanted = in_the_street(400, 1, house)
    wanted = wanted.take(wanted.valid.any(1))  # of who hears nothing, nobody says anything
    groups, _marks = many._believed(wanted.receivers_m, *many._neighbours(wanted.receivers_m, None))
    direction = np.nan_to_num(directions(wanted.zenith_rad, wanted.azimuth_rad))
    length_m = np.nan_to_num(units.SPEED_OF_LIGHT_M_S * wanted.delay_s.astype(float))
    told = np.isfinite(wanted.power_db)
    listed = agreement.listed(groups, direction, length_m, np.nan_to_num(wanted.power_db), told, told.all(1))
    believed = groups.belief[..., 2]
    assert believed[listed == 1].min() > 0.5 > believed[listed == 0].max() and (listed == 0).sum() > 20
    assert (listed == 1).sum() == told.sum()


def test_a_group_is_listed_once_and_where_a_list_is_full_it_is_not_known():
    groups = consensus.Groups.empty(2)
    groups.count[:] = 3
    for place in range(2):
        groups.moved[place, :3, :4] = [[1, 0, 0, 50], [1, 0, 0, 50.2], [0, 1, 0, 70]]
        groups.belief[place, :3, 0] = [-80, -80, -99]
    direction, length_m = np.array([[[1.0, 0, 0], [0, 0, 1]]] * 2), np.array([[50.1, 30]] * 2)
    power_db, told = np.array([[-80.0, -85]] * 2), np.array([[True, True], [True, False]])
    listed = agreement.listed(groups, direction, length_m, power_db, told, told.all(1))
    assert listed[:, :3].tolist() == [[1, 0, -1], [1, 0, 0]] and (listed[:, 3:] == -1).all()


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_shares_are_those_of_least_squares_among_all_that_sum_to_one_at_most(num):
    rng = np.random.default_rng(num)
    x = rng.normal(size=(num, 500)) * 10.0 ** rng.uniform(-2, 2)
    steps = [share for share in itertools.product(np.linspace(0, 1, 21), repeat=num) if sum(share) <= 1 + 1e-9]
    for whole in (0.4, 1.0, 1.7):
        y = whole * rng.dirichlet(np.ones(num)) @ x + rng.normal(size=500) * x.std()
        shares = _shares(x, y)
        assert (shares >= 0).all() and shares.sum() <= 1 + 1e-6
        square = np.square(shares @ x - y).sum()
        assert all(square <= np.square(share @ x - y).sum() * (1 + 1e-9) for share in np.array(steps))
    assert np.allclose(_shares(x, x[0]), np.eye(num)[0], atol=1e-6)
