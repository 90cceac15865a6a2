"""Bad input is a 4xx that names the field, the value and what is allowed; never a 500, never work done in vain."""

import base64
import json
import os
import struct
import subprocess
import sys
import zlib

import pytest

from raymap.serving import problems
from raymap.serving.gate import TOKEN
from raymap.serving.limits import Limits
from raymap.serving.settings import Served, Serving


def picture(**changes):
    return {"kind": "png", "png_base64": base64.b64encode(png(8, 8)).decode(), "cell_m": 4.0, **changes}


def png(width, height, pixels=None):
    """A grey PNG whose header may promise more than there is."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    pixels = bytes((width + 1) * height) if pixels is None else pixels
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def encoded(content):
    return base64.b64encode(content).decode()


INDOORS = {"x_m": 194.0, "y_m": 102.0}
RAGGED = {"kind": "raster", "heights_m": [[0, 0], [0]], "cell_m": 4.0}
_CORNERS = [[11, 48], [11.001, 48], [11.001, 48.001], [11, 48]]
_HOUSE = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [_CORNERS]}}
HOUSE = {"kind": "geojson", "geojson": {"type": "FeatureCollection", "features": [_HOUSE]}}


@pytest.mark.parametrize(
    ("changes", "status", "field", "told"),
    [
        ({"transmitters": []}, 422, "transmitters", "at least 1 item"),
        ({"transmitters": [{"x_m": 900.0, "y_m": 5.0}]}, 422, "transmitters.0", "0 to 256 m by 0 to 256 m"),
        ({"transmitters": [INDOORS]}, 422, "transmitters.0", "a place outdoors"),
        ({"transmitters": [{"x_m": 2.0}]}, 422, "transmitters.0", "x_m and y_m, or lonlat"),
        ({"transmitters": [{"lonlat": [11, 48]}]}, 422, "transmitters.0.lonlat", "no place on Earth"),
        ({"transmitters": [{"x_m": 130, "y_m": 130, "height_m": 0}]}, 422, "transmitters.0.height_m", "greater than 0"),
        ({"transmitters": [{"x_m": "130", "y_m": 130}]}, 422, "transmitters.0.x_m", "valid number"),
        ({"transmitters": [{"x_m": float("nan"), "y_m": 130}]}, 422, "transmitters.0.x_m", "finite"),
        ({"threshold_dbm": False}, 422, "threshold_dbm", "valid number"),
        ({"transmitters": [{"x_m": 130, "y_m": 130}] * 40}, 413, "transmitters", "at most 32"),
        ({"area": {"kind": "tile", "name": "atlantis"}}, 422, "area.name", "san-francisco-1"),
        ({"area": {"kind": "tile", "name": "../../etc/passwd"}}, 422, "area.name", "one of"),
        ({"area": {"kind": "file", "name": "x"}}, 422, "area", "raster"),
        ({"area": RAGGED}, 422, "area.heights_m", "rows of one length"),
        ({"area": {**RAGGED, "heights_m": []}}, 422, "area.heights_m", "at least one cell"),
        ({"area": {**RAGGED, "heights_m": [[-1.0]]}}, 422, "area.raster.heights_m.0.0", "greater than or equal to 0"),
        ({"area": {**RAGGED, "heights_m": [["tall"]]}}, 422, "area.raster.heights_m.0.0", "valid number"),
        ({"area": {**RAGGED, "heights_m": [[0.0] * 64] * 64, "cell_m": 3.0}}, 422, "area.cell_m", "4 m"),
        ({"area": picture(png_base64="what?")}, 422, "area.png_base64", "base64"),
        ({"area": picture(png_base64=encoded(b"GIF89a"))}, 422, "area.png_base64", "a PNG picture"),
        ({"area": picture(png_base64=encoded(png(8, 8)[:-30]))}, 422, "area.png_base64", "a PNG picture"),
        ({"area": picture(png_base64=encoded(png(60_000, 60_000, b"")))}, 413, "area.png_base64", "pixels"),
        ({"area": {"kind": "geojson", "geojson": {"type": "Point"}}}, 422, "area.geojson", "a FeatureCollection"),
        ({"area": {**HOUSE, "shape": [9999, 9999]}}, 413, "area.shape", "1,048,576 cells"),
        ({"area": {**HOUSE, "cell_m": 0.05}}, 422, "area.geojson", "cells, the limit"),
        ({"area": {"kind": "town", "seed": 0, "cell_m": 5e-324}}, 422, "area.town.cell_m", "0.05"),
        ({"area": {"kind": "town", "seed": 0, "cell_m": 999}}, 422, "area.town.cell_m", "4,096 m a side"),
        ({"area": {"kind": "town", "seed": -1}}, 422, "area.town.seed", "greater than or equal to 0"),
        ({"measurements": [{**INDOORS, "gain_db": -80}]}, 422, "measurements.0", "a place outdoors"),
        ({"measurements": [{"x_m": 130, "y_m": 130, "gain_db": 3}]}, 422, "measurements.0.gain_db", "or equal to 0"),
        ({"measurements": [{"transmitter": 1, "x_m": 130, "y_m": 130, "gain_db": -80}]}, 422, "body", "there are 1"),
        ({"frequency_hz": 28e9}, 422, "frequency_hz", "5.9e+09"),
        ({"model": "gpt"}, 422, "model", "one of k2-small"),
        ({"steps": 0}, 422, "steps", "greater than or equal to 1"),
        ({"ensemble": 65}, 422, "ensemble", "less than or equal to 64"),
        ({"layers": ["gain", "sound"]}, 422, "layers.1", "'gain'"),
        ({"sede": 3}, 422, "sede", "not permitted"),
        ({"seed": 1.5}, 422, "seed", "integer"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(client, block, changes, status, field, told):
    answer = client.post("/v1/maps", {**block, **changes})
    assert answer.status == status, answer.content[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    (first, *_) = answer.json["errors"]
    assert first["field"] == field or field.startswith(first["field"]), first
    assert told in json.dumps(answer.json, ensure_ascii=False)


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"area": NaN}'])
def test_a_body_that_is_no_request_is_refused(client, body):
    assert client.post("/v1/maps", body).status in (400, 422)


def test_what_is_too_much_is_refused_before_it_is_read(client, block):
    answer = client.post("/v1/maps", b" " * 17_000_000)
    assert answer.status == 413 and "at most 16 MB" in answer.json["detail"]
    heights_m = [[0.0] * 1024] * 1024
    many = {"area": {"kind": "raster", "heights_m": heights_m, "cell_m": 4.0},
            "transmitters": [{"x_m": 130, "y_m": 130}] * 9}  # fmt: skip
    answer = client.post("/v1/maps", many)
    assert answer.status == 413 and "ask for them as a job" in answer.json["detail"]


def test_other_doors_say_what_they_are(client, block):
    assert client.get("/v1/nothing").status == 404 and "errors" in client.get("/v1/nothing").json
    assert client.get("/v1/maps").status == 405
    assert client.get("/v1/tiles/atlantis").status == 404
    assert client.get("/v1/jobs/none").json["errors"][0]["field"] == "id"
    assert client.post("/v1/maps", block, accept="text/html").status == 406
    assert client.post("/v1/maps?format=bmp", block).status == 422
    assert client.post("/v1/maps?format=png&transmitter=4", block).json["errors"][0]["allowed"] == "0 to 0"
    assert client.post("/v1/maps?format=geotiff", block).json["errors"][0]["field"] == "format"
    short = client.post("/v1/locate", {**block, "readings_dbm": [[-50.0, -60.0]]})
    assert short.status == 422 and "readings_dbm.0 has 2 numbers" in short.json["detail"]


def test_every_answer_has_the_request_id_and_the_log_has_it_too(client, block, caplog):
    with caplog.at_level("INFO", logger="raymap.serving"):
        answer = client.post("/v1/maps", block, x_request_id="mine-1")
        strange = client.post("/v1/maps", block, x_request_id="a b\tc")
    assert answer.headers["x-request-id"] == "mine-1" and strange.headers["x-request-id"] != "a b\tc"
    told = [json.loads(record.message) for record in caplog.records if record.message.startswith("{")]
    (line,) = [line for line in told if line["request_id"] == "mine-1"]
    assert line["status"] == 200 and line["path"] == "/v1/maps" and line["ms"] > 0


def test_with_a_token_nothing_is_told_without_it(endpoint_of, block, monkeypatch):
    monkeypatch.setenv(TOKEN, "s3cret")
    client = endpoint_of(Serving(), wait=False)
    assert client.get("/healthz").status == 200
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
        answer = client.get("/v1/models", **headers)
        assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/v1/models", authorization="Bearer s3cret").status == 200
    assert "s3cret" not in client.get("/v1/openapi.json", authorization="Bearer s3cret").content.decode()


def test_who_asks_too_often_waits_for_the_next_minute(endpoint_of):
    client = endpoint_of(Serving(limits=Limits(requests_per_minute=3)), wait=False)
    answers = [client.get("/v1/tiles") for _ in range(9)]
    refused = [answer for answer in answers if answer.status == 429]
    # At most two minutes are touched.
    assert 3 <= len(refused) <= 6 and 1 <= int(refused[0].headers["retry-after"]) <= 60


def test_other_origins_are_closed_out_unless_they_are_named(endpoint_of, client):
    assert "access-control-allow-origin" not in client.get("/v1/tiles", origin="https://else.where").headers
    named = endpoint_of(Serving(cors_origins=("https://else.where",)), wait=False)
    answer = named.get("/v1/tiles", origin="https://else.where")
    assert answer.headers["access-control-allow-origin"] == "https://else.where"
    assert "access-control-allow-origin" not in named.get("/v1/tiles", origin="https://other").headers


def test_a_model_that_cannot_be_had_is_told_and_the_others_are_served(endpoint_of, block, tmp_path):
    models = (Served(name="k2-small", source="k2-small"), Served(name="gone", source=str(tmp_path / "gone")))
    client = endpoint_of(Serving(models=models), wait=False)
    while (answer := client.post("/v1/maps", block)).status == 503:
        assert "not there yet" in answer.json["detail"]
    assert answer.status == 200
    while "gone" not in client.get("/readyz").json["failures"]:
        pass
    ready = client.get("/readyz")
    assert ready.status == 503 and "gone" in ready.json["failures"]
    answer = client.post("/v1/maps", {**block, "model": "gone"})
    assert answer.status == 503 and answer.headers["retry-after"] == "5"


def test_problems_survive_the_way_between_processes():
    import pickle

    problem = problems.Problem(422, "area.cell_m", 3.0, "4 m", {"retry-after": "1"})
    again = pickle.loads(pickle.dumps(problem))
    assert (again.body(), again.headers) == (problem.body(), problem.headers)


def test_values_are_told_back_short():
    assert len(problems.shown("x" * 10_000)) < 200
    assert problems.shown(float("nan")) == "nan" and problems.shown(os.environ) is not None
    assert problems.shown(b"\xff") is not None


def test_nothing_that_the_description_allows_or_forbids_breaks_the_endpoint(client):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{client.url}/v1/openapi.json", "--max-examples", "10",
               "--checks", "not_a_server_error", "--seed", "1", "--suppress-health-check", "all"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
