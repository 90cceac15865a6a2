"""What every method of paths must do. A new file in ``raymap/models`` is covered as it is, by its default config."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import raymap.models  # noqa: F401  (registers every kind)
from raymap import units
from raymap.data.path_table import PARAMETERS, PathTable
from raymap.models import base
from raymap.models.base import Predictor
from raymap.models.path_predictor import PathPredictor
from raymap.propagation import meshes
from raymap.scene import PathKind

ROOM_M = np.array([8.0, 6.0, 3.0])
TRANSMITTER_M = np.array([2.5, 3.5, 2.5])
FREQUENCY_HZ = 2.4e9
#: What a wall leaves of the power [dB].
WALL_DB = 6.0


def images():
    """(7, 3) places of the transmitter and its mirror images behind the six walls of the room [m], and their loss."""
    found = [(TRANSMITTER_M, 0.0)]
    for axis in range(3):
        for wall_m in (0.0, ROOM_M[axis]):
            mirrored = TRANSMITTER_M.copy()
            mirrored[axis] = 2 * wall_m - mirrored[axis]
            found.append((mirrored, WALL_DB + 0.7 * len(found)))
    return found


def mirror_room(receivers_m, num_paths=4):
    """The strongest paths in an empty room with smooth walls, by the image method."""
    numbers = []
    for place_m, loss_db in images():
        ray_m = place_m - receivers_m
        length_m = np.linalg.norm(ray_m, axis=1)
        gain_db = [-units.free_space_loss_db(length, FREQUENCY_HZ) - loss_db for length in length_m]
        zenith, azimuth = np.arccos(ray_m[:, 2] / length_m), np.arctan2(ray_m[:, 1], ray_m[:, 0])
        numbers.append(np.stack([gain_db, length_m / units.SPEED_OF_LIGHT_M_S, zenith, azimuth], axis=-1))
    values = np.stack(numbers, axis=1)
    order = np.argsort(-values[..., 0], axis=1)[:, :num_paths]
    values = np.take_along_axis(values, order[..., None], axis=1)
    kind = np.where(order == 0, PathKind.LINE_OF_SIGHT, PathKind.REFLECTION)
    blank = np.full(order.shape, np.nan)
    empty = PathTable(
        receivers_m, TRANSMITTER_M, FREQUENCY_HZ, blank, blank, blank, blank, np.full(order.shape, -1), order < 0
    )
    return PathTable.from_values(empty, receivers_m, values, kind=kind)


def places(num, seed):
    """(num, 3) receivers in the room, 1 m high."""
    drawn = np.random.default_rng(seed).uniform(0.5, ROOM_M - 0.5, (num, 3))
    drawn[:, 2] = 1.0
    return drawn


WALLS = meshes.room(tuple(ROOM_M), FREQUENCY_HZ)
MEASURED, WANTED_M = mirror_room(places(60, 0)).within(WALLS), places(12, 1)


def default_configs():
    """Default config of every kind of path predictor, for as many paths as the room has if it must be told, and with
    the map if it can use one; the kind alone if it has none."""
    for kind, method in sorted(Predictor.classes.items()):
        if issubclass(method, PathPredictor) and method.__module__.startswith("raymap."):
            try:
                told = {"num_paths": MEASURED.num_paths} if "num_paths" in method.Config.model_fields else {}
                yield pytest.param(method.Config(**told), id=kind)
                if "uses_map" in method.Config.model_fields:
                    yield pytest.param(method.Config(**told, uses_map=True), id=f"{kind} with map")
            except ValidationError:
                yield pytest.param(kind, id=kind)


@pytest.fixture(params=default_configs())
def model(request):
    if isinstance(request.param, str):
        pytest.skip(f"{request.param} has no default config")
    torch.manual_seed(0)
    return base.build(request.param).eval()


def same(one, other, tolerance=1e-4):
    """Whether two tables agree, azimuths up to whole turns."""
    missed = one.values - other.values
    missed[..., 1] *= 1e9
    missed[..., 3] = np.arctan2(np.sin(missed[..., 3]), np.cos(missed[..., 3]))
    return np.array_equal(one.valid, other.valid) and bool((np.abs(missed[one.valid]) < tolerance).all())


def test_the_contract_covers_somebody():
    assert len(list(default_configs())) >= 3


def test_every_rank_that_was_measured_is_told_everywhere_strongest_first(model):
    found = model.complete(MEASURED, WANTED_M)
    assert np.array_equal(found.receivers_m, WANTED_M) and found.num_paths == MEASURED.num_paths
    assert found.valid.all() and np.isfinite(found.values).all()
    assert (np.diff(found.power_db, axis=1) <= 0).all()


def test_a_rank_that_nobody_has_stays_empty(model):
    fewer = replace(MEASURED, valid=MEASURED.valid & (np.arange(4) < 2))
    found = model.complete(fewer, WANTED_M)
    assert found.valid[:, :2].all() and not found.valid[:, 2:].any()
    assert np.isfinite(found.values[:, :2]).all()


def test_a_receiver_gets_the_same_alone(model):
    together = model.complete(MEASURED, WANTED_M)
    for index in (0, 7):
        alone = model.complete(MEASURED, WANTED_M[index : index + 1])
        assert same(alone, together.take(np.array([index])))


def test_what_was_measured_is_left_as_it_was(model):
    names = [field.name for field in fields(MEASURED) if field.name != "surroundings"]
    before = {name: np.copy(getattr(MEASURED, name)) for name in names}
    model.complete(MEASURED, WANTED_M)
    assert all(np.array_equal(getattr(MEASURED, name), kept, equal_nan=True) for name, kept in before.items())


def test_a_saved_model_says_the_same(model, tmp_path):
    base.save(model, tmp_path)
    again = base.load(tmp_path)
    assert type(again) is type(model) and again.config == model.config
    assert same(again.complete(MEASURED, WANTED_M), model.complete(MEASURED, WANTED_M), 1e-6)


@pytest.mark.parametrize("unknown", [("delay_s",), ("zenith_rad", "azimuth_rad"), PARAMETERS[1:], ("azimuth_rad",)])
def test_numbers_that_are_not_known_leave_no_gap(model, unknown):
    rows = np.random.default_rng(2).random((len(MEASURED), 1)) < 0.5
    for everywhere in (False, True):
        hidden = {name: np.where(rows | everywhere, np.float32(np.nan), getattr(MEASURED, name)) for name in unknown}
        found = model.complete(replace(MEASURED, **hidden), WANTED_M)
        assert found.valid.all() and np.isfinite(found.values).all()


def test_receivers_without_any_path_may_be_among_the_measured(model):
    some = replace(MEASURED, valid=MEASURED.valid & (np.arange(len(MEASURED)) % 3 > 0)[:, None])
    assert np.isfinite(model.complete(some, WANTED_M).values).all()


def test_one_measured_receiver_is_enough(model):
    assert np.isfinite(model.complete(MEASURED.take(np.arange(1)), WANTED_M).values).all()


def test_nothing_measured_is_refused_or_enough(model):
    for nothing in (MEASURED.take(np.arange(0)), replace(MEASURED, valid=np.zeros_like(MEASURED.valid))):
        if model.needs_measured:
            with pytest.raises(ValueError, match="measured receivers none has a path of known power"):
                model.complete(nothing, WANTED_M)
        else:
            found = model.complete(nothing, WANTED_M)
            assert len(found) == len(WANTED_M) and np.isfinite(found.values).all()


def test_nowhere_to_tell_of_is_no_error(model):
    assert len(model.complete(MEASURED, np.zeros((0, 3)))) == 0


def test_a_scene_that_is_turned_has_its_paths_turned(model):
    if not model.turns_with_scene:
        pytest.skip(f"{model.config.kind} hangs on the axes of the map")
    angle_rad = 0.7
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    azimuth_rad = MEASURED.azimuth_rad.astype(float) + angle_rad
    turned = replace(
        MEASURED, receivers_m=MEASURED.receivers_m @ turn, transmitter_m=MEASURED.transmitter_m @ turn,
        azimuth_rad=np.arctan2(np.sin(azimuth_rad), np.cos(azimuth_rad)),
        surroundings=replace(
            WALLS, meshes=tuple(replace(mesh, vertices_m=mesh.vertices_m @ turn) for mesh in WALLS.meshes)
        ),
    )  # fmt: skip
    plain = model.complete(MEASURED, WANTED_M).values
    plain[..., 3] += angle_rad
    assert same(model.complete(turned, WANTED_M @ turn), PathTable.from_values(MEASURED, WANTED_M, plain), 2e-3)
