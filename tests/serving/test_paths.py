"""Paths over HTTP are what the model of paths tells, and what cannot be asked is refused by name."""

import numpy as np
import pytest
import torch

from raymap.data.path_table import PathTable
from raymap.models import base
from raymap.recipes.pinn_gnn import path_method
from raymap.runtime import path_maps
from raymap.serving.examples import PATHS_EXAMPLES
from raymap.serving.limits import Limits
from raymap.serving.settings import ServedPaths, Serving

EXAMPLE = PATHS_EXAMPLES["two paths"]["value"]
KINDS = ("line_of_sight", "reflection")
NUMBERS = ("power_db", "delay_ns", "zenith_deg", "azimuth_deg")


def room(num, seed=0):
    """Line of sight and one mirror image, both by Friis, at random places of an empty room of 10 x 10 m."""
    rng = np.random.default_rng(seed)
    transmitter_m = np.array([3.0, 4.0, 2.5])
    receivers_m = np.column_stack([rng.uniform(0, 10, (num, 2)), np.full(num, 1.0)])
    ray_m = np.stack([transmitter_m, transmitter_m * [-1, 1, 1]])[None] - receivers_m[:, None]
    length_m = np.linalg.norm(ray_m, axis=-1)
    return PathTable(
        receivers_m, transmitter_m, 2.4e9, power_db=-40.0 - 20 * np.log10(length_m) - [0.0, 6.0],
        delay_s=length_m / 299_792_458.0, zenith_rad=np.arccos(ray_m[..., 2] / length_m),
        azimuth_rad=np.arctan2(ray_m[..., 1], ray_m[..., 0]), kind=np.tile([0, 1], (num, 1)),
        valid=np.ones((num, 2), bool),
    )  # fmt: skip


def asked(measured, receivers_m, **more):
    """A request of a table."""
    numbers = measured.values.astype(float) / [1.0, 1e-9, np.pi / 180, np.pi / 180]
    told = [
        {"position_m": place, "paths": [
            {**dict(zip(NUMBERS, path, strict=True)), "kind": KINDS[kind]}
            for path, kind in zip(paths, kinds, strict=True)]}
        for place, paths, kinds in zip(measured.receivers_m.tolist(), numbers.tolist(), measured.kind, strict=True)
    ]  # fmt: skip
    return {"transmitter_m": measured.transmitter_m.tolist(), "frequency_hz": measured.frequency_hz, "measured": told,
            "receivers_m": np.asarray(receivers_m).tolist(), **more}  # fmt: skip


def numbers(answer):
    """(N, P, 4) of an answer in which every receiver has as many paths."""
    return np.array([[[path[name] for name in NUMBERS] for path in receiver["paths"]] for receiver in
                     answer.json["receivers"]])  # fmt: skip


def test_paths_are_what_the_method_tells_of_the_same_measurements(client):
    measured, wanted = room(80), room(20, seed=1)
    got = numbers(client.post("/v1/paths", asked(measured, wanted.receivers_m)))
    from raymap.serving import paths

    model = paths.loaded("method:virtual_sources", None)
    empty = PathTable.empty(measured.transmitter_m, measured.frequency_hz, 5)
    padded = np.pad(measured.values, ((0, 0), (0, 3), (0, 0)), constant_values=np.nan)
    kind = np.pad(measured.kind, ((0, 0), (0, 3)), constant_values=-1)
    table = PathTable.from_values(empty, measured.receivers_m, padded, kind=kind)
    told = path_maps.complete(model, table, wanted.receivers_m)
    mine = told.values[:, :2].astype(float) / [1.0, 1e-9, np.pi / 180, np.pi / 180]
    np.testing.assert_allclose(got, mine, atol=2e-2)


def test_mirror_images_of_a_room_are_found_between_measurements(client):
    measured, wanted = room(80), room(20, seed=1)
    answer = client.post("/v1/paths", asked(measured, wanted.receivers_m))
    off = np.abs(numbers(answer) - wanted.values / [1.0, 1e-9, np.pi / 180, np.pi / 180])
    off[..., 3] = np.minimum(off[..., 3], 360 - off[..., 3])
    assert (np.median(off, axis=(0, 1)) < [0.5, 0.5, 1.0, 1.0]).all(), np.median(off, axis=(0, 1))


def test_taps_hold_the_power_of_a_path_and_lie_at_its_delay(client):
    measured = room(1)
    one = asked(measured, measured.receivers_m, bandwidth_hz=2e8)
    one["measured"][0]["paths"] = one["measured"][0]["paths"][:1]
    (receiver,) = client.post("/v1/paths", one).json["receivers"]
    taps = receiver["impulse_response"]
    energy = np.square(taps["real"]).sum() + np.square(taps["imag"]).sum()
    assert 10 * np.log10(energy) == pytest.approx(receiver["power_db"], abs=0.1)
    peak = int(np.argmax(np.hypot(taps["real"], taps["imag"])))
    assert abs(taps["delay_ns"][peak] - receiver["paths"][0]["delay_ns"]) <= 2.5


def test_what_is_not_known_of_a_path_is_told_and_who_hears_nothing_has_no_response(client):
    body = asked(room(30), room(1, seed=1).receivers_m, bandwidth_hz=1e8)
    for receiver in body["measured"][::2]:
        receiver["paths"] = [{"power_db": path["power_db"]} for path in receiver["paths"]]
    answer = client.post("/v1/paths", body)
    assert np.isfinite(numbers(answer)).all()
    here = body["measured"][0]["position_m"]
    silent = {**body, "measured": [{"position_m": here, "paths": []}, *body["measured"][1:]], "receivers_m": [here]}
    (receiver,) = client.post("/v1/paths", silent).json["receivers"]
    assert receiver == {"position_m": here, "paths": [], "power_db": None, "delay_spread_ns": None,
                        "impulse_response": None}  # fmt: skip


def test_a_trained_model_is_served_by_its_name_and_says_how_many_paths_it_tells(endpoint_of, tmp_path):
    torch.manual_seed(0)
    model = base.build(path_method("pinn_gnn", num_paths=1).model)
    measured = room(60)
    model.prepare([_batch(measured)])
    base.save(model.eval(), tmp_path / "mine")
    served = (ServedPaths(name="mine", source=str(tmp_path / "mine")),)
    client = endpoint_of(Serving(path_models=served))
    listed = client.get("/v1/models").json
    assert [(one["name"], one["answers"]) for one in listed] == [("k2-small", "maps"), ("mine", "paths")]
    answer = client.post("/v1/paths", asked(measured, room(5, seed=1).receivers_m))
    assert answer.json["model"]["name"] == "mine" and numbers(answer).shape == (5, 1, 4)
    assert {path["kind"] for receiver in answer.json["receivers"] for path in receiver["paths"]} <= {*KINDS, None}
    assert answer.json["notes"] == ["the model tells 1 paths; of 60 measured receivers only the strongest 1 are used"]


def _batch(table):
    from dataclasses import replace

    from raymap.data.point_batch import PointBatch

    columns = ("power_db", "delay_s", "zenith_rad", "azimuth_rad", "kind", "valid")
    table = replace(table, **{name: getattr(table, name)[:, :1] for name in columns})
    return PointBatch(table.take(np.arange(48)), table.take(np.arange(48, 60)))


@pytest.mark.parametrize(
    ("changes", "status", "field", "told"),
    [
        ({"measured": []}, 422, "measured", "at least 1 item"),
        ({"measured": [{"position_m": [0, 0], "paths": []}]}, 422, "measured.0.position_m.2", "required"),
        ({"measured": [{"position_m": [0, 0, 1], "paths": []}]}, 422, "", "none has a path of known power"),
        ({"receivers_m": [[0, 0, float("inf")]]}, 422, "receivers_m.0.2", "finite"),
        ({"receivers_m": [[0, 0, 1e300]]}, 422, "receivers_m.0.2", "1000000"),
        ({"receivers_m": [[0, 0, 1]] * 30}, 413, "receivers_m", "at most 20"),
        ({"frequency_hz": -1}, 422, "frequency_hz", "greater than 0"),
        ({"model": "k2-small"}, 422, "model", "virtual-sources"),
        ({"bandwidth_hz": 1e10}, 422, "bandwidth_hz", "down to 0 Hz"),
        ({"bandwidth_hz": 6.9e9}, 413, "bandwidth_hz", "at most 50 taps"),
        ({"path": {"power_db": 3.0}}, 422, "measured.0.paths.0.power_db", "less than or equal to 0"),
        ({"path": {"azimuth_deg": 270.0}}, 422, "measured.0.paths.0.azimuth_deg", "less than or equal to 180"),
        ({"path": {"kind": "echo"}}, 422, "measured.0.paths.0.kind", "line_of_sight"),
        ({"path": {"delay_s": 1.0}}, 422, "measured.0.paths.0.delay_s", "not permitted"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_field_value_and_what_is_allowed(small, changes, status, field, told):
    changes = dict(changes)
    if "path" in changes:
        changes["measured"] = [{"position_m": [40, 10, 1.5], "paths": [changes.pop("path")]}]
    answer = small.post("/v1/paths", {**EXAMPLE, "bandwidth_hz": None, **changes})
    assert answer.status == status, answer.content
    assert told in answer.json["detail"]
    assert not field or answer.json["errors"][0]["field"] == field


@pytest.fixture(scope="module")
def small():
    """An endpoint that tells of few receivers and taps."""
    from tests.serving.conftest import served

    client, end = served(Serving(limits=Limits(max_receivers=20, max_taps=50)))
    yield client
    end()


def test_an_endpoint_without_models_of_paths_says_so(endpoint_of):
    answer = endpoint_of(Serving(path_models=())).post("/v1/paths", EXAMPLE)
    assert answer.status == 404 and "no model of paths" in answer.json["detail"]
