"""The command that completes a map of paths: from files of any columns, at places or on a grid, by any method."""

import numpy as np
import pytest

from raymap import recipes
from raymap.config import ModelConfig
from raymap.data import mesh_file, path_file
from raymap.data.path_table import PARAMETERS, PathTable
from raymap.evaluation import path_maps
from raymap.models import base
from raymap.models.pinn_gnn import PinnGnn
from raymap.models.scene_paths import ScenePaths
from raymap.propagation import meshes


@pytest.fixture
def job(load_job):
    return load_job("predict_paths")


@pytest.fixture
def no_pictures(monkeypatch):
    """Nothing is drawn, which takes seconds."""
    monkeypatch.setattr(path_maps, "draw", lambda *_: b"")


def square(num=60, seed=0):
    """Line of sight and one path behind it, 40 m square, at random places, as a table of measurements."""
    transmitter_m = np.array([20.0, 15.0, 20.0])
    receivers_m = np.pad(np.random.default_rng(seed).uniform(0, 40, (num, 2)), [(0, 0), (0, 1)], constant_values=1.5)
    numbers = []
    for image_m, loss_db in ((transmitter_m, 0.0), (transmitter_m * [1, -1, 1], 12.0)):
        ray_m = image_m - receivers_m
        length_m = np.linalg.norm(ray_m, axis=1)
        angles = np.arccos(ray_m[:, 2] / length_m), np.arctan2(ray_m[:, 1], ray_m[:, 0])
        numbers.append(np.stack([-43 - 20 * np.log10(length_m) - loss_db, length_m / 299_792_458.0, *angles], 1))
    named = dict(zip(PARAMETERS, np.moveaxis(np.stack(numbers, 1), -1, 0), strict=True))
    kind = np.broadcast_to([0, 1], (num, 2))
    return PathTable(receivers_m, transmitter_m, 3.5e9, **named, kind=kind, valid=np.ones((num, 2), bool))


@pytest.fixture
def measured(tmp_path):
    path_file.write(tmp_path / "walk.parquet", square())
    return str(tmp_path / "walk.parquet")


def test_a_grid_over_measurements_is_completed_and_points_are_sounded(job, measured, tmp_path, capsys):
    out = tmp_path / "out"
    found = job.main([
        "--measured", measured, "--grid_m", "4", "--method", "virtual_sources", "--at", "10,12", "--at=30,9.5,1.5",
        "--sounding.bandwidth_hz", "2e8", "--sounding.array", "[4,4]", "--num_paths", "2", "--out", str(out),
    ])  # fmt: skip
    table = path_file.read(out / "paths.parquet")
    assert len(table) == found["map"]["num_receivers"] >= 100 and table.num_paths == 2
    # The direct path comes from one place, whoever sees it.
    length_m = np.linalg.norm(table.receivers_m - table.transmitter_m, axis=1)
    assert np.median(np.abs(table.delay_s[:, 0] * 299_792_458.0 - length_m)) < 0.5
    assert found["points_m"] == [[10.0, 12.0, 1.5], [30.0, 9.5, 1.5]] and found["method"] == "Virtual sources"
    assert found["sounding"] == {"bandwidth_hz": 2e8, "array": [4, 4]}
    # Nothing is wrong of images, but for the order of powers that cross.
    errors, is_measured = np.load(out / "maps.npz"), np.load(out / "maps.npz")["is_measured"]
    assert (
        0 < np.median(errors["delay_error_s"][~is_measured]) < 1e-9 and found["errors"]["power_error_db"]["median"] < 1
    )
    assert (out / "errors.png").is_file() and "## Errors to expect" in (out / "report.md").read_text()
    assert f"at {len(table)} receivers from 60 measured ones by Virtual sources" in capsys.readouterr().out


def test_somebodys_columns_and_a_file_of_places(job, tmp_path, no_pictures):
    table = square()
    rows = ["east,north,rsrp"]
    rows += [f"{x},{y},{power + 43}" for (x, y, _), power in zip(table.receivers_m, table.power_db[:, 0], strict=True)]
    (tmp_path / "walk.csv").write_text("\n".join(rows))
    (tmp_path / "places.csv").write_text(
        "east,north\n5,5\n9,5\n5,5\n" + ",".join(f"{v}" for v in table.receivers_m[3, :2])
    )
    columns = {
        "x": "east", "y": "north", "height_m": "1.5", "power": "rsrp", "power_unit": "dBm", "transmit_power_dbm": "43",
        "transmitter_m": "[20,15,20]", "frequency_hz": "3.5e9",
    }  # fmt: skip
    named = [word for name, value in columns.items() for word in (f"--columns.{name}", value)]
    asked = ["--measured", str(tmp_path / "walk.csv"), *named, "--receivers", str(tmp_path / "places.csv")]
    found = job.main([*asked, "--method", "nearest", "--num_paths", "1", "--out", str(tmp_path / "out")])
    told = path_file.read(tmp_path / "out/paths.parquet")
    assert np.allclose(told.receivers_m, [[5, 5, 1.5], [9, 5, 1.5], table.receivers_m[3]])  # each place once
    assert told.power_db[2, 0] == pytest.approx(table.power_db[3, 0], abs=1e-4)
    assert found["measured"]["num_on_map"] == 1


def test_a_trained_model_tells_how_many_paths_are_read(job, measured, tmp_path, no_pictures):
    base.save(base.build(PinnGnn.Config(num_paths=1, width=8, gnn_width=8)), tmp_path / "model")
    found = job.main([
        "--measured", measured, "--receivers", measured, "--model", str(tmp_path / "model"), "--out", str(tmp_path),
    ])  # fmt: skip
    assert found["measured"]["num_paths"] == 60 and found["method"] == f"the model {tmp_path / 'model'}"
    assert path_file.read(tmp_path / "paths.parquet").num_paths == 1


LEARNS = [name for name, (_, config) in recipes.PATH_METHODS.items() if config.kind == "pinn_gnn"]


@pytest.mark.parametrize("method", LEARNS[:2])
def test_a_method_that_learns_must_have_learned(job, measured, tmp_path, method):
    with pytest.raises(ValueError, match=f"'{method}' learns: train it by jobs/train_pinn_gnn.py"):
        job.main(["--measured", measured, "--grid_m", "9", "--method", method, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("num", "words", "told"), [(60, [], True), (9, [], False), (60, ["--no-errors"], False)])
def test_errors_are_told_where_enough_is_measured(job, tmp_path, no_pictures, num, words, told):
    path_file.write(tmp_path / "walk.parquet", square(num))
    asked = [
        "--measured",
        str(tmp_path / "walk.parquet"),
        "--grid_m",
        "8",
        "--method",
        "nearest",
        "--out",
        str(tmp_path),
    ]
    assert bool(job.main([*asked, *words])["errors"]) == told == ("delay_error_s" in np.load(tmp_path / "maps.npz"))


def test_where_it_was_measured_there_is_no_error(job, measured, tmp_path, no_pictures):
    job.main(["--measured", measured, "--receivers", measured, "--method", "nearest", "--out", str(tmp_path)])
    arrays = np.load(tmp_path / "maps.npz")
    assert arrays["is_measured"].all() and all((arrays[name] == 0).all() for name in path_maps.ERRORS)


def test_a_model_of_maps_tells_no_paths(job, measured, tmp_path):
    base.save(base.build(ModelConfig.from_dict({"kind": "free_space"})), tmp_path / "model")
    with pytest.raises(ValueError, match="of kind 'free_space', which tells no paths"):
        job.main(["--measured", measured, "--grid_m", "9", "--model", str(tmp_path / "model")])


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        ([], SystemExit, "--measured"),
        (["--method", "nearest"], SystemExit, "--grid_m"),
        (["--method", "nearest", "--grid_m", "2", "--receivers", "x.csv"], SystemExit, "one of them"),
        (["--grid_m", "2"], SystemExit, "--model"),
        (["--method", "nearest", "--receivers", "x.csv", "--height_m", "2"], SystemExit, "heights of their own"),
        (["--method", "nearest", "--receivers", "x.csv"], FileNotFoundError, "x.csv"),
        (["--method", "guess", "--grid_m", "2"], ValueError, "'guess'.*virtual_sources"),
        (["--method", "nearest", "--grid_m", "2", "--at", "1"], ValueError, "a point is x, y or x, y, z"),
        (["--method", "nearest", "--grid_m", "2", "--at", "1,b"], ValueError, "--at takes X,Y or X,Y,Z .*'1,b'"),
        (["--method", "nearest", "--grid_m", "2", "--at", "-1,90"], ValueError, r"point \(-1, 90\) m lies outside"),
        (["--method", "nearest", "--grid_m", "2", "--transmitter", "b"], ValueError, "takes one of walk.*got 'b'"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_told(job, measured, tmp_path, words, error, told):
    given = ["--measured", measured, "--out", str(tmp_path / "out")] if words else []
    with pytest.raises(error, match=told):
        job.main([*given, *words])
    assert not (tmp_path / "out").exists()


def test_one_of_several_transmitters_is_named(job, tmp_path, no_pictures):
    rows = ["x_m,y_m,z_m,power_db,transmitter_x_m,transmitter_y_m,transmitter_z_m,frequency_hz"]
    rows += [f"{x},{y},1,{-80 - x - 9 * tx},{tx},0,9,1e9" for tx in (0, 5) for x in range(4) for y in range(3)]
    (tmp_path / "two.csv").write_text("\n".join(rows))
    asked = ["--measured", str(tmp_path / "two.csv"), "--grid_m", "1", "--method", "nearest", "--out", str(tmp_path)]
    with pytest.raises(ValueError, match="--transmitter takes one of two/0, two/1"):
        job.main(asked)
    found = job.main([*asked, "--transmitter", "two/1"])
    assert found["transmitter_m"] == [5.0, 0.0, 9.0] and found["quantities"]["power_db"]["high"] < -120


@pytest.fixture
def unmeasured(tmp_path):
    """A model that needs nothing measured, untrained, and the options that tell it of a courtyard with a hut in it."""
    base.save(base.build(ScenePaths.Config(num_paths=2, width=8, num_layers=1)), tmp_path / "model")
    floor = meshes.Mesh("floor", [[0, 0, 0], [20, 0, 0], [20, 12, 0], [0, 12, 0]], [(0, 1, 2), (0, 2, 3)])
    roof = meshes.Mesh("roof", [[4, 4, 3], [8, 4, 3], [8, 8, 3], [4, 8, 3]], [(0, 1, 2), (0, 2, 3)])
    mesh_file.write(tmp_path / "yard.ply", meshes.MeshScene("yard", (floor, roof), 3.5e9))
    return [
        "--model", str(tmp_path / "model"), "--surroundings", str(tmp_path / "yard.ply"),
        "--transmitter_m", "[15,6,10]", "--frequency_hz", "3.5e9", "--grid_m", "2", "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def test_a_map_alone_is_enough_for_a_model_that_needs_nothing_measured(job, unmeasured, tmp_path, no_pictures):
    found = job.main([*unmeasured, "--height_m", "1.5"])
    places_m = path_file.positions(tmp_path / "out/paths.parquet")
    # 11 x 7 places on the grid, of which three by three have a roof above them, those on its rim included or not.
    assert 11 * 7 - 9 <= len(places_m) <= 11 * 7 - 1 and (places_m[:, 2] == 1.5).all()
    assert found["measured"]["num_receivers"] == 0 and found["transmitter_m"] == [15.0, 6.0, 10.0]
    assert "Nothing is measured of the transmitter at (15, 6, 10) m" in (tmp_path / "out/report.md").read_text()


def test_what_is_missing_where_nothing_is_measured_is_named(job, unmeasured, measured):
    with pytest.raises(ValueError, match="height_m"):
        job.main(unmeasured)
    with pytest.raises(SystemExit, match="--transmitter_m, --frequency_hz and --surroundings"):
        job.main(unmeasured[:4] + unmeasured[6:])
    with pytest.raises(SystemExit, match="--measured tells its own"):
        job.main([*unmeasured, "--measured", measured])
    method = ["--method", "virtual_sources_map", *unmeasured[2:], "--height_m", "1.5"]
    with pytest.raises(ValueError, match="none has a path of known power"):
        job.main(method)
