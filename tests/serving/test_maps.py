"""What the endpoint draws is what the model draws, in every form of question and of answer."""

import base64
import io
import json

import numpy as np
import pytest

import raymap
from raymap.data import generated
from raymap.scene import Grid, Transmitter
from raymap.serving import tiles
from raymap.serving.examples import EXAMPLES


@pytest.fixture(scope="module")
def model():
    return raymap.load("k2-small")


def layer(answer, name="gain_db"):
    """A layer of a JSON answer as an array, None as NaN."""
    return np.array(answer.json["layers"][name], np.float32)


def test_a_map_is_what_predict_draws_for_the_same_seed(client, model, block):
    scene = tiles.scene("san-francisco-1", 5.9e9)
    for seed in (0, 5):
        (wanted,) = raymap.predict(model, scene, [Transmitter((130.0, 130.0, 1.5))], seeds=[seed])
        got = layer(client.post("/v1/maps", {**block, "seed": seed}))[0]
        np.testing.assert_allclose(got, np.where(wanted.valid, wanted.gain_db, np.nan), atol=0.0051)


def test_transmitters_of_one_call_are_drawn_as_by_predict(client, model, block):
    places = [(130.0, 130.0), (50.0, 210.0), (200.0, 30.0)]
    scene = tiles.scene("san-francisco-1", 5.9e9)
    places = [place for place in places if scene.outdoor[int(place[1] // 4), int(place[0] // 4)]]
    assert len(places) > 1
    wanted = raymap.predict(model, scene, [Transmitter((*place, 1.5)) for place in places])
    asked = {**block, "transmitters": [{"x_m": x_m, "y_m": y_m} for x_m, y_m in places]}
    got = layer(client.post("/v1/maps", asked))
    for mine, one in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, np.where(one.valid, one.gain_db, np.nan), atol=0.0051)


def test_an_area_larger_than_a_model_takes_is_drawn_in_windows_as_by_predict(client, model):
    scene = generated.city(3, Grid((64, 640), 4.0))
    row, column = np.argwhere(scene.outdoor)[len(np.argwhere(scene.outdoor)) // 2]
    x_m, y_m = (column + 0.5) * 4.0, (row + 0.5) * 4.0
    (wanted,) = raymap.predict(model, scene, [Transmitter((x_m, y_m, 1.5))], seeds=[2])
    area = {"kind": "town", "seed": 3, "shape": [64, 640], "cell_m": 4.0}
    answer = client.post("/v1/maps", {"area": area, "transmitters": [{"x_m": x_m, "y_m": y_m}], "seed": 2})
    np.testing.assert_allclose(layer(answer)[0], np.where(wanted.valid, wanted.gain_db, np.nan), atol=0.0051)


def test_the_same_buildings_give_the_same_map_however_they_are_told(client, block):
    from PIL import Image

    heights_m = np.where(tiles.scene("san-francisco-1", 5.9e9).building_m > 0, 12.0, 0.0)
    raster = {"kind": "raster", "heights_m": heights_m.tolist(), "cell_m": 4.0}
    with io.BytesIO() as file:
        Image.fromarray(np.where(heights_m > 0, 255, 0).astype(np.uint8)).save(file, "PNG")
        png = {"kind": "png", "png_base64": base64.b64encode(file.getvalue()).decode(), "cell_m": 4.0, "height_m": 12.0}
    fine = {"kind": "raster", "heights_m": heights_m.repeat(2, 0).repeat(2, 1).tolist(), "cell_m": 2.0}
    drawn = [layer(client.post("/v1/maps", {**block, "area": area})) for area in (raster, png, fine)]
    assert np.isfinite(drawn[0]).any()
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])
    notes = client.post("/v1/maps", {**block, "area": fine}).json["notes"]
    assert notes == ["cells of 2 m were joined to 4 m, which the model was trained on"]


def test_vehicles_and_measurements_change_the_map_and_measured_cells_say_what_was_measured(client, block):
    plain = layer(client.post("/v1/maps", block))[0]
    row, column = np.argwhere(np.isfinite(plain) & (plain < -90))[40]
    place = {"x_m": (column + 0.5) * 4.0, "y_m": (row + 0.5) * 4.0}
    seen = layer(client.post("/v1/maps", {**block, "measurements": [{**place, "gain_db": -71.0}]}))[0]
    assert seen[row, column] == pytest.approx(-71.0, abs=0.02)
    parked = {"x_m": 134.0, "y_m": 130.0, "length_m": 12.0, "width_m": 4.0, "height_m": 4.0, "heading_deg": 90.0}
    assert not np.array_equal(layer(client.post("/v1/maps", {**block, "vehicles": [parked]}))[0], plain, equal_nan=True)


def test_every_form_of_the_answer_holds_the_same_map(client, block):
    from PIL import Image

    listed = layer(client.post("/v1/maps", block))
    packed = client.post("/v1/maps?encoding=base64", block).json["layers"]["gain_db"]
    unpacked = np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"]).reshape(packed["shape"])
    np.testing.assert_allclose(unpacked, listed, atol=0.0051)
    arrays = np.load(io.BytesIO(client.post("/v1/maps", block, accept="application/x-npz").content))
    np.testing.assert_array_equal(arrays["gain_db"], unpacked)
    assert json.loads(str(arrays["about"]))["cell_m"] == 4.0
    answer = client.post("/v1/maps?format=png&colours=grey", block)
    assert answer.headers["x-raymap-scale"] == "gain_db, grey from -147 to -47 dB"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
    outdoor = np.isfinite(unpacked[0])
    np.testing.assert_array_equal(pixels[..., 3] > 0, outdoor)
    np.testing.assert_allclose(pixels[..., 0][outdoor] / 255 * 100 - 147, unpacked[0][outdoor], atol=0.2)


def test_footprints_come_back_as_a_geotiff_where_they_lie(client, tmp_path):
    from raymap.data import geotiff

    asked = EXAMPLES["footprints"]["value"]
    (tmp_path / "map.tif").write_bytes(client.post("/v1/maps?format=geotiff", asked).content)
    place, transmitter, radio_map = geotiff.read(tmp_path / "map.tif")
    np.testing.assert_allclose(place.lonlat(transmitter.xyz_m[:2]), asked["transmitters"][0]["lonlat"], atol=1e-6)
    listed = layer(client.post("/v1/maps", asked))[0]
    np.testing.assert_allclose(radio_map.gain_db[radio_map.valid], listed[np.isfinite(listed)], atol=0.0051)


def test_the_spread_is_that_of_the_ensemble_and_outlines_come_with_it(client, block):
    answer = client.post("/v1/maps", {**block, "ensemble": 4, "layers": ["gain", "spread", "outline"]})
    spread_db, outline = layer(answer, "spread_db"), layer(answer, "outline")
    outdoor = np.isfinite(layer(answer))
    assert (spread_db[outdoor] > 0).all() and outline.min() >= 0 and outline.max() > 0.5
    one = client.post("/v1/maps", {**block, "layers": ["spread"]})
    assert one.status == 422 and "ensemble of at least 2" in one.json["detail"]


def test_coverage_counts_cells_of_the_strongest_transmitter(client):
    asked = EXAMPLES["coverage"]["value"]
    answer = client.post("/v1/maps", asked)
    gain_db, best = layer(answer), layer(answer, "best_server")
    outdoor = np.isfinite(gain_db[0])
    np.testing.assert_array_equal(best[outdoor], gain_db.argmax(axis=0)[outdoor])
    assert (best[~outdoor] == -1).all()
    received_dbm = gain_db.max(axis=0)[outdoor] + 23.0
    told = answer.json["coverage"]
    assert told["covered_share"] == pytest.approx((received_dbm >= -80.0).mean(), abs=2 / outdoor.sum())
    assert sum(one["served_share"] for one in told["transmitters"]) == pytest.approx(1.0)
    louder = client.post("/v1/maps", {**asked, "threshold_dbm": -110.0}).json["coverage"]["covered_share"]
    assert louder > told["covered_share"]


def test_receivers_are_found_where_they_hear_what_the_maps_say(client, block):
    drawn = client.post("/v1/maps", EXAMPLES["coverage"]["value"])
    gain_db = layer(drawn)
    cells = np.argwhere(np.isfinite(gain_db[0]) & (gain_db > -120).all(axis=0))[::20]
    assert len(cells) > 5
    asked = {key: value for key, value in EXAMPLES["coverage"]["value"].items() if key in ("area", "transmitters")}
    readings_dbm = (gain_db[:, cells[:, 0], cells[:, 1]].T + 23.0).tolist()
    answer = client.post("/v1/locate", {**asked, "readings_dbm": readings_dbm, "num_neighbours": 1})
    assert answer.status == 200, answer.json
    found = answer.json["positions"]
    errors_m = [np.hypot(at["x_m"] - (c + 0.5) * 4, at["y_m"] - (r + 0.5) * 4)
                for at, (r, c) in zip(found, cells, strict=True)]  # fmt: skip
    assert np.median(errors_m) < 4.0


def test_all_examples_of_the_description_are_answered(client):
    for name, example in EXAMPLES.items():
        assert client.post("/v1/maps", example["value"]).status == 200, name
    described = client.get("/v1/openapi.json").json
    assert set(described["paths"]["/v1/maps"]["post"]["requestBody"]["content"]["application/json"]["examples"]) == set(
        EXAMPLES
    )


def test_long_calls_are_jobs(client, block):
    job = client.post("/v1/jobs", {**block, "ensemble": 8})
    assert job.status == 202 and job.headers["location"] == f"/v1/jobs/{job.json['id']}"
    path, seen = job.headers["location"], set()
    assert client.get(f"{path}/answer").status in (200, 409)
    while (now := client.get(path).json)["status"] in ("waiting", "running"):
        seen.add(now["progress"])
    assert now["status"] == "done" and now["progress"] == 1.0 and seen <= {k / 8 for k in range(9)}
    answer = client.get(f"{path}/answer", accept="application/json")
    assert layer(answer).shape == (1, 64, 64) and answer.json["ensemble"] == 8
    assert client("DELETE", path).status == 200 and client.get(path).status == 404
