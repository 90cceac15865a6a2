"""Map kinds of one plan: the same buildings and transmitters, with and without vehicles, by one solver or another."""

import inspect
import sys
import types

import numpy as np
import pytest

from raymap.data import parallel, schema, sources
from raymap.data.sources import Counts, MapPlan
from raymap.propagation import dominant_path, ray_launching
from raymap.scene import RadioMap

#: Stored at 4 m, solved at 2 m.
SRM = MapPlan(name="kinds", num_generated=Counts(train=3, test=1), num_transmitters=Counts(train=3, test=1),
              shape=(48, 40))  # fmt: skip
DRM = SRM.model_copy(update={"kind": "drm"})
#: Fields that plans did not always have.
YOUNG_FIELDS = ("kind", "with_vehicles", "vehicles_per_km")


def made(plan):
    rows, failures = [], []
    for item in sources.work(plan):
        good, bad = sources.rows(item, plan)
        rows, failures = rows + good, failures + bad
    assert not failures
    return rows


@pytest.fixture(scope="module")
def srm():
    return made(SRM)


@pytest.fixture(scope="module")
def drm():
    return made(DRM)


def test_srm_and_drm_pair_up(srm, drm):
    assert len(srm) == 10
    for static, dynamic in zip(srm, drm, strict=True):
        for name in ("scene", "tx_id", "cell_m", "frequency_hz", "tx_xyz_m", "building_m", "valid"):
            assert np.array_equal(static[name], dynamic[name]), name
        assert not static["vehicle_m"].any() and dynamic["vehicle_m"].any()
        assert (dynamic["gain_db"] <= static["gain_db"] + 1e-4).all()
        assert (dynamic["gain_db"] < static["gain_db"] - 0.5).any()


def test_one_snapshot_per_scene_outdoors_and_clear_of_its_transmitters(drm):
    snapshots = {}
    for row in drm:
        assert np.array_equal(snapshots.setdefault(row["scene"], row["vehicle_m"]), row["vehicle_m"])
        assert not row["vehicle_m"][row["valid"] == 0].any()
        assert schema.fault(row, DRM.shape, DRM.cell_m) is None
    for row in drm:
        column, line = (row["tx_xyz_m"][:2] / DRM.cell_m).astype(int)
        assert snapshots[row["scene"]][line, column] == 0
    assert len(snapshots) == 4
    first, second, *_ = snapshots.values()
    assert not np.array_equal(first, second)


def test_a_stored_cell_holds_the_mean_height_of_what_was_solved(monkeypatch, drm):
    solved = {}

    def spy(scene, transmitter):
        solved[scene.name] = scene
        return RadioMap(np.full(scene.grid.shape, -80.0), scene.outdoor)

    monkeypatch.setattr(sources.dominant_path, "solve", spy)
    rows = made(DRM)
    for row, real in zip(rows, drm, strict=True):
        scene = solved[row["scene"]]
        assert scene.grid.shape == (96, 80) and np.array_equal(row["vehicle_m"], real["vehicle_m"])
        mean_m = scene.vehicle_m.reshape(48, 2, 40, 2).mean((1, 3))
        np.testing.assert_allclose(row["vehicle_m"], np.where(row["valid"] == 1, mean_m, 0), rtol=1e-6)
        heights_m = np.unique(scene.vehicle_m[scene.vehicle_m > 0])
        assert set(heights_m) <= {np.float32(value) for value in (1.5, 2.4, 3.4, 3.1)}


def test_density_is_the_plans(drm):
    dense = made(DRM.model_copy(update={"vehicles_per_km": 100.0}))
    assert sum((row["vehicle_m"] > 0).sum() for row in dense) > 2 * sum((row["vehicle_m"] > 0).sum() for row in drm)


def test_without_vehicles_on_the_way_the_maps_are_one(srm, monkeypatch):
    monkeypatch.setattr(sources.vehicles, "place", lambda scene, seed, **_: (scene, ()))
    for static, dynamic in zip(srm, made(DRM), strict=True):
        assert all(np.array_equal(static[name], dynamic[name]) for name in schema.COLUMNS)


@pytest.mark.parametrize("with_vehicles", [False, True])
def test_mrm_is_solved_by_rays_with_a_seed_of_its_own_for_every_map(srm, drm, monkeypatch, with_vehicles):
    seeds = {}

    def solve(scene, transmitter, *, seed=0, options=None):
        assert scene.vehicle_m.any() == with_vehicles
        seeds.setdefault((scene.name, transmitter.xyz_m), seed)
        gain_db = dominant_path.solve(scene, transmitter).gain_db - 1.0
        return RadioMap(gain_db, scene.outdoor)

    rays = types.ModuleType("raymap.propagation.ray_launching")
    rays.solve = solve
    monkeypatch.setitem(sys.modules, rays.__name__, rays)
    monkeypatch.setattr("raymap.propagation.ray_launching", rays, raising=False)
    plan = SRM.model_copy(update={"kind": "mrm", "with_vehicles": with_vehicles})
    rows = made(plan)
    assert len(set(seeds.values())) == len(rows) == 10
    for row, same in zip(rows, drm if with_vehicles else srm, strict=True):
        assert np.array_equal(row["tx_xyz_m"], same["tx_xyz_m"])
        assert np.array_equal(row["building_m"], same["building_m"])
        assert np.array_equal(row["vehicle_m"], same["vehicle_m"])
    drawn = dict(seeds)
    seeds.clear()
    made(plan)
    assert seeds == drawn


def test_the_real_ray_launcher_takes_what_a_plan_gives_it():
    given = inspect.signature(ray_launching.solve).bind("scene", "transmitter", seed=3)
    assert given.kwargs == {"seed": 3}


def test_static_plans_have_no_vehicles_and_unknown_kinds_are_refused():
    for changes, message in (
        ({"with_vehicles": True}, 'an "srm" plan has no vehicles'),
        ({"kind": "irt"}, "srm"),
        ({"kind": "drm", "vehicles_per_km": 0.0}, "vehicles_per_km"),
        ({"kind": "drm", "vehicles_per_km": 1000.0}, "vehicles_per_km"),
    ):
        with pytest.raises(ValueError, match=message):
            MapPlan.model_validate({**SRM.model_dump(), **changes})
    assert MapPlan.model_validate({**SRM.model_dump(), "kind": "mrm", "with_vehicles": True}).has_vehicles
    assert DRM.has_vehicles and not SRM.has_vehicles


def test_a_plan_from_before_there_were_kinds_is_static(tmp_path):
    path = tmp_path / "plan.json"
    parallel.keep(path, SRM, "plan")
    whole = path.read_text()
    old = MapPlan.model_validate_json(whole).model_dump_json(exclude=set(YOUNG_FIELDS))
    path.write_text(old)
    parallel.keep(path, SRM, "plan")
    with pytest.raises(ValueError, match="another plan: kind was 'srm', now 'drm'"):
        parallel.keep(path, DRM, "plan")
    path.write_text(old.replace("{", '{"colour": 3,', 1))
    with pytest.raises(ValueError, match="colour was 3, now None"):
        parallel.keep(path, SRM, "plan")
