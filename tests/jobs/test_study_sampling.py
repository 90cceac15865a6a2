"""The study of sampling on a few made maps and a model with random weights: what is compared, and what it writes."""

import json

import numpy as np
import pytest
import torch

from raymap.data import schema, shards
from raymap.models import base, ensemble
from raymap.models.ensemble import Recipe
from raymap.models.k2 import K2
from raymap.models.pathloss import FreeSpace
from raymap.models.radiodiff import RadioDiff
from raymap.models.vae import Vae
from raymap.runtime import sampling
from raymap.scene import Grid, RadioMap, Scene, Transmitter

SMALL = {
    "autoencoder": Vae.Config(channels=(8, 16), latent_channels=4),
    "widths": (32, 32), "num_blocks": 1, "stem": 8, "cell_m": 8.0, "steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two splits of two towns of 32 x 32 cells of 8 m, two transmitters each: a wall, and shadow behind it."""
    folder, grid = tmp_path_factory.mktemp("towns"), Grid((32, 32), 8.0)
    parts = {}
    for number, split in enumerate(("val", "val", "test", "test")):
        building_m = np.zeros(grid.shape, np.float32)
        building_m[14 : 16 + number, 4:24] = 25.0
        scene = Scene(f"town/{number}", grid, building_m)
        for tx_id, row in enumerate((6, 26)):
            distance_m = 8.0 * np.hypot(*(np.indices(grid.shape) - np.reshape((row, 12), (2, 1, 1))))
            shadow_db = 20.0 * ((np.indices(grid.shape)[0] > 14) != (row > 14))
            gain_db = (-55.0 - 0.2 * distance_m - shadow_db).astype(np.float32)
            transmitter = Transmitter((12 * 8 + 4.0, row * 8 + 4.0, 1.5))
            row_of = schema.row(scene, tx_id, transmitter, RadioMap(gain_db, scene.outdoor))
            parts.setdefault(split, []).append(row_of)
    shards.write(parts, folder, name="towns", kind="srm", shape=grid.shape, cell_m=8.0, sources=("towns",),
                 attribution="ours")  # fmt: skip
    return folder


def saved(model, folder):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    base.save(model, folder)
    return folder


@pytest.fixture(scope="module")
def found(load_job, dataset, tmp_path_factory):
    """(what the job returns, its folder) for a K2."""
    out = tmp_path_factory.mktemp("study")
    outline = RadioDiff.Config(target="outline", inputs=("building", "tx"), **SMALL)
    gain = RadioDiff.Config(inputs=("building", "tx", "line_of_sight", "outline_predicted"), views=2, **SMALL)
    model = saved(K2(K2.Config(outline=outline, map=gain)), out / "model")
    argv = ["--model", str(model), "--data", str(dataset), "--out", str(out / "page"), "--steps", "[1,2,12]",
            "--num_members", "4", "--max_slow_maps", "2"]  # fmt: skip
    return load_job("study_sampling").main(argv), out / "page"


def test_every_way_of_sampling_is_scored_against_one_step(found):
    entries = {entry["name"]: entry for entry in found[0]["curve"]}
    assert list(entries) == ["1 step", "2 steps", "12 steps", "2 steps, stochastic", "12 steps, stochastic",
                             "as configured"]  # fmt: skip
    assert [entry["network_calls"] for entry in entries.values()] == [2, 4, 24, 4, 24, 6]
    assert [entry["nmse"]["num"] for entry in entries.values()] == [4, 4, 2, 4, 2, 4]
    first = entries["1 step"]
    assert first["nmse_ratio"]["mean"] == pytest.approx(1) and first["ssim_change"]["mean"] == pytest.approx(0)
    two = entries["2 steps"]
    assert two["nmse_ratio"]["mean"] == pytest.approx(two["nmse"]["mean"] / first["nmse"]["mean"])
    assert entries["2 steps, stochastic"]["nmse"] != two["nmse"] and two["latency_ms"] > 0


def test_fitted_bars_hold_what_they_promise_where_they_were_fitted_and_raw_ones_are_told_apart(found):
    entries = found[0]["ensembles"]
    assert [entry["source"] for entry in entries[:2]] == ["the same everywhere", "by line of sight"]
    assert len(entries) == 2 + 4 * 2 * 3 and len({entry["name"] for entry in entries}) == len(entries)
    for entry in entries:
        assert 0 <= entry["coverage"]["mean"] <= 1 and entry["interval_score"]["mean"] >= entry["width_db"]["mean"]
        floors = entry["recipe"]["floor_db"]
        assert (floors != [0.0, 0.0]) == (entry["source"] != "members")
        if entry["source"] == "the same everywhere":
            assert floors[0] == floors[1] > 0
    assert entries[2]["raw_coverage"]["mean"] < entries[2]["coverage"]["mean"]


def test_the_recipe_is_one_that_the_model_can_be_asked_by(found, dataset):
    numbers, folder = found
    recipes = [Recipe.model_validate(numbers[name]) for name in ("recipe", "factor_alone")]
    assert recipes[1].floor_db == (0.0, 0.0) and recipes[1].factor > 0
    maps = sampling.load(str(dataset), "val", 10)
    model = base.load(folder.parent / "model")
    predicted = ensemble.predict(model, maps.batch, sampling.sample_seeds(maps.columns), recipes[1])
    half = 1.6448536 * predicted.spread_db[:, 0].numpy()
    held = np.abs(maps.true_db - predicted.mean_db[:, 0].numpy()) <= half
    assert held[maps.outdoor].mean() == pytest.approx(0.9, abs=0.02)


def test_the_page_and_its_numbers_are_written(found):
    numbers, folder = found
    assert json.loads((folder / "sampling.json").read_text())["curve"] == numbers["curve"]
    page = (folder / "sampling.md").read_text()
    for entry in (*numbers["curve"], *numbers["ensembles"]):
        assert f"| {entry['name']} |" in page
    assert "jobs/study_sampling.py --model" in page and json.dumps(numbers["recipe"]) in page
    for name in ("sampling.png", "reliability.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_maps_are_taken_evenly_from_the_whole_split(dataset):
    every, two = (sampling.load(str(dataset), "test", num) for num in (99, 2))
    assert len(every.batch) == 4 and len(two.batch) == 2
    assert list(two.scenes) == [every.scenes[0], every.scenes[-1]]
    assert every.lit.dtype == every.outdoor.dtype == bool and every.true_db.max() <= -47


def test_a_model_is_given_the_dominant_path_map_it_reads_but_not_of_static_maps(dataset, tmp_path, monkeypatch):
    gain = RadioDiff.Config(inputs=("building", "dominant_path"), **SMALL)
    model = saved(RadioDiff(gain), tmp_path / "model")
    study = sampling.Study(model=str(model), data=str(dataset))
    with pytest.raises(ValueError, match="of kind 'srm', whose true maps are dominant-path maps"):
        sampling.run(study)
    monkeypatch.setattr(schema, "DOMINANT_PATH_KINDS", ())
    maps = sampling.load(str(dataset), "test", 2, dominant_path=True)
    predicted = ensemble.predict(base.load(model), maps.batch, [0, 1], Recipe(num=2))
    assert predicted.mean_db.shape == (2, 1, 32, 32)


def test_a_model_that_does_not_sample_is_refused(dataset, tmp_path):
    model = saved(FreeSpace(FreeSpace.Config()), tmp_path / "model")
    with pytest.raises(ValueError, match="FreeSpace does not predict in steps or views of choice"):
        sampling.run(sampling.Study(model=str(model), data=str(dataset)))
