"""Fitting the dominant-path model: maps that the model made give its constants back; one map is left out at a time."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from raymap.propagation import dominant_path
from raymap.propagation.dominant_path import Constants
from raymap.scene import Grid, RadioMap, Scene, Transmitter

#: A world with a law of its own: bends cost half as much again, and roofs about 6 dB more.
OTHER = replace(Constants(), street_exponent=2.9, bend_db=(2.0, 46.0), roof_credit_db=4.0)


@pytest.fixture(scope="module")
def job(load_job):
    return load_job("fit_propagation")


def town(seed, size=80):
    """Houses of one height, and a transmitter in the street."""
    rng = np.random.default_rng(seed)
    building_m = np.zeros((size, size))
    for row, column in rng.integers(2, size - 16, (14, 2)):
        building_m[row : row + rng.integers(4, 14), column : column + rng.integers(4, 14)] = 25.0
    rows, columns = np.nonzero(building_m == 0)
    pick = rng.integers(len(rows))
    scene = Scene(f"town-{seed}", Grid((size, size), 1.0), building_m)
    return scene, Transmitter((columns[pick] + 0.5, rows[pick] + 0.5, 1.5))


def fitted(job, reals, rounds=2):
    best, parts = Constants(), [[] for _ in reals]
    for _ in range(rounds):
        for real, found in zip(reals, parts, strict=True):
            found.append(job.cells(*real, best, 2))
        best = job.fitted(job.joined([job.joined(found, axis=1) for found in parts]), best)
    return best


def test_maps_that_the_model_made_give_its_law_back(job):
    towns = [town(seed) for seed in range(4)]
    reals = [(*each, dominant_path.solve(*each, constants=OTHER)) for each in towns]
    best = fitted(job, reals)
    assert best.street_exponent == pytest.approx(OTHER.street_exponent, abs=0.05)
    np.testing.assert_allclose(best.bend_db, OTHER.bend_db, atol=1.0)
    unseen = town(9)
    truth = dominant_path.solve(*unseen, constants=OTHER)
    error_db = job.scores(*unseen, truth, best)["rmse_db"]
    assert error_db < 0.5 < 2.0 < job.scores(*unseen, truth, Constants())["rmse_db"]


def test_constants_stay_physical_whatever_the_truth(job):
    scene, transmitter = town(1)
    noise_db = np.random.default_rng(0).uniform(-140, -50, scene.grid.shape)
    best = fitted(job, [(scene, transmitter, RadioMap(noise_db, scene.outdoor))])
    assert best.street_exponent >= best.exponent and best.roof_credit_db >= 0
    for table_db in (best.bend_db, best.roof_bend_db):
        assert table_db[0] >= 0 and (np.diff(table_db) >= 0).all()


def test_the_vector_of_constants_goes_both_ways(job):
    assert job.with_vector(OTHER, *job.vector(OTHER)) == OTHER


@pytest.fixture
def folder(tmp_path):
    """RadioMapSeer's layout: maps 3 (two transmitters) and 8 (one), with gains of the other world."""
    root = tmp_path / "RadioMapSeer"
    for name in ("antenna", "gain/DPM", "png/buildings_complete", "png/antennas"):
        (root / name).mkdir(parents=True)
    for map_id, spots in ((3, [(101, 29), (173, 211)]), (8, [(30, 140)])):
        building = np.zeros((256, 256), np.uint8)
        for row, column in np.random.default_rng(map_id).integers(0, 7, (12, 2)):
            building[row * 36 : row * 36 + 24, column * 36 : column * 36 + 20] = 255
        Image.fromarray(building).save(root / f"png/buildings_complete/{map_id}.png")
        scene = Scene("", Grid((256, 256), 1.0), np.where(building, 25.0, 0.0))
        for tx_id, (row, column) in enumerate(spots):
            antenna = np.zeros((256, 256), np.uint8)
            antenna[row, column] = 255
            Image.fromarray(antenna).save(root / f"png/antennas/{map_id}_{tx_id}.png")
            gain_db = dominant_path.solve(scene, Transmitter((column + 0.5, row + 0.5, 1.5)), constants=OTHER).gain_db
            grey = np.clip(np.round((gain_db + 147.0) / (147.0 - 47.84) * 255), 1, 255)
            Image.fromarray(np.where(building, 0, grey).astype(np.uint8)).save(root / f"gain/DPM/{map_id}_{tx_id}.png")
        (root / f"antenna/{map_id}.json").write_text(json.dumps([[column, 255 - row] for row, column in spots]))
    return root


def test_the_job_leaves_out_maps_with_all_their_transmitters(job, folder, tmp_path, capsys):
    report = job.main(["--folder", str(folder), "--every", "20", "--out", str(tmp_path / "fit.json")])
    assert [(row["map"], row["tx"]) for row in report["maps"]] == [(3, 0), (3, 1), (8, 0)]
    assert set(report["folds"]) == {"3", "8"} and report["folds"]["3"] != report["folds"]["8"]
    for row in report["maps"]:
        assert row["left out"]["rmse_db"] < 1.0 < row["built-in"]["rmse_db"]
    by_map = np.mean([np.mean([row["start"]["nmse"] for row in report["maps"] if row["map"] == m]) for m in (3, 8)])
    assert report["means"]["start"]["by map"]["nmse"] == pytest.approx(by_map)
    assert json.loads((tmp_path / "fit.json").read_text())["maps"] == report["maps"]
    assert "fit to all maps" in capsys.readouterr().out


def test_a_single_map_cannot_be_left_out(job, folder):
    (folder / "gain/DPM/8_0.png").unlink()
    with pytest.raises(ValueError, match="at least 2 maps of DPM, found 1"):
        job.main(["--folder", str(folder)])
