"""What is learned of some scenes holds in another, with nothing measured there; what is measured there corrects it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raymap import units
from raymap.data.path_table import PER_UNIT, PathTable
from raymap.data.point_batch import PointBatch
from raymap.models.scene_paths import ScenePaths
from raymap.propagation import meshes
from raymap.scene import PathKind

FREQUENCY_HZ = 2.4e9


def room(size_m, seed, num=80):
    """The direct path in a room and that over its nearest wall, which the image method tells."""
    rng, size_m = np.random.default_rng(seed), np.asarray(size_m, float)
    transmitter_m = np.array([*rng.uniform(0.3, 0.7, 2) * size_m[:2], 2.0])
    receivers_m = np.column_stack([rng.uniform(0.05, 0.95, (num, 2)) * size_m[:2], np.full(num, 1.0)])
    images = np.repeat(transmitter_m[None], 4, axis=0)
    for number, (axis, wall_m) in enumerate([(0, 0.0), (0, size_m[0]), (1, 0.0), (1, size_m[1])]):
        images[number, axis] = 2 * wall_m - images[number, axis]
    away_m = np.linalg.norm(images - receivers_m[:, None], axis=2)
    sources_m = np.stack([np.broadcast_to(transmitter_m, (num, 3)), images[away_m.argmin(1)]], axis=1)
    ray_m = sources_m - receivers_m[:, None]
    length_m = np.linalg.norm(ray_m, axis=2)
    gain_db = np.array([[-units.free_space_loss_db(x, FREQUENCY_HZ) for x in row] for row in length_m]) - [0.0, 6.0]
    numbers = gain_db, length_m / units.SPEED_OF_LIGHT_M_S, np.arccos(ray_m[..., 2] / length_m)
    azimuth_rad = np.arctan2(ray_m[..., 1], ray_m[..., 0])
    kind = np.tile([PathKind.LINE_OF_SIGHT, PathKind.REFLECTION], (num, 1))
    return PathTable(
        receivers_m, transmitter_m, FREQUENCY_HZ, *numbers, azimuth_rad, kind, np.ones((num, 2), bool),
        surroundings=meshes.room((*size_m[:2], 3.0), FREQUENCY_HZ),
    )  # fmt: skip


def mean_square(model, table, measured=None):
    """Of all numbers, in dB, ns and degrees."""
    told = model.complete(table.take(np.arange(0)) if measured is None else measured, table.receivers_m)
    missed = (told.values - table.values) * PER_UNIT
    missed[..., 3] = (missed[..., 3] + 180) % 360 - 180
    return float(np.mean(missed**2))


def batch(table):
    rows = np.arange(len(table))
    return PointBatch(table.take(rows % 2 == 0), table.take(rows % 2 == 1))


@pytest.fixture(scope="module")
def trained():
    rooms = [room(size_m, seed) for seed, size_m in enumerate([(8, 6), (12, 7), (6, 11), (9, 9), (14, 8), (7, 7)])]
    torch.manual_seed(0)
    model = ScenePaths(ScenePaths.Config(num_paths=2, width=16, num_layers=1, dropout=0.0))
    model.prepare(map(batch, rooms))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(240):
        loss = model(batch(rooms[step % len(rooms)]))["loss"]
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    return model.eval()


def test_what_is_learned_of_rooms_holds_in_one_that_was_never_measured(trained):
    other = room((10, 8), 9)
    torch.manual_seed(0)
    fresh = ScenePaths(trained.config).eval()
    # It knows the scales, as they are not learned by steps.
    fresh.load_state_dict(
        {name: value for name, value in trained.state_dict().items() if "net" not in name}, strict=False
    )
    assert mean_square(trained, other) < 0.3 * mean_square(fresh, other)


def test_the_validation_loss_is_the_mean_square_with_nothing_measured(trained):
    other = room((10, 8), 9)
    loss = trained.validation_loss(PointBatch(other.take(np.arange(0)), other))
    assert float(loss) == pytest.approx(mean_square(trained, other), rel=1e-3)


def test_what_is_measured_corrects_what_was_learned(trained):
    whole = room((10, 8), 9, num=240)
    rows = np.arange(240)
    others, few, many = whole.take(rows % 3 == 0), whole.take(rows % 12 == 1), whole.take(rows % 3 > 0)
    errors = [mean_square(trained, others, measured) for measured in (None, few, many)]
    assert errors[0] > errors[1]
    # Where much is measured virtual sources know better, and that is found out.
    assert errors[2] < 0.01 * errors[0]


def test_it_says_which_ranks_there_are_where_nothing_is_measured(trained):
    model, table = ScenePaths(trained.config), room((10, 8), 3)
    one = replace(table, valid=np.tile([True, False], (len(table), 1)))
    model.prepare([batch(one)])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss = model(batch(one))["loss"]
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    nothing = one.take(np.arange(0))
    assert np.array_equal(model.eval().ranks(nothing, one.receivers_m), one.valid)
    # Numbers are told of all of them, since they are asked for where paths truly are.
    assert np.isfinite(model.complete(nothing, one.receivers_m).values).all()


def test_bad_input_is_named(trained):
    table = room((10, 8), 9)
    with pytest.raises(ValueError, match="no map of what stands around"):
        trained.complete(table.within(None).take(np.arange(0)), table.receivers_m)
    narrow = PathTable.from_values(table, table.receivers_m, table.values[:, :1])
    with pytest.raises(ValueError, match="1 paths of a receiver are measured; this model was made for 2"):
        trained.complete(narrow, table.receivers_m)
