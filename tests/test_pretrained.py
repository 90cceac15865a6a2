"""Installed models: found by name, never in place of a folder, small, and part of the built package."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

import raymap
from raymap import api
from raymap.data import generated, sites
from raymap.models import base
from raymap.models.pathloss import FreeSpace, LogDistance
from raymap.propagation import dominant_path
from raymap.scene import Grid

HOME = Path(__file__).resolve().parent.parent
MAX_BYTES = 16_000_000


@pytest.fixture(scope="module")
def model():
    return base.build(LogDistance.Config())


@pytest.fixture
def installed(model, tmp_path, monkeypatch):
    """An installation with one model, k2-tiny, and a working directory without any."""
    monkeypatch.setattr(api, "PRETRAINED", tmp_path / "pretrained")
    base.save(model, tmp_path / "pretrained" / "k2-tiny", compact=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "pretrained" / "k2-tiny"


def test_an_installed_model_is_loaded_by_its_name(installed, model):
    assert raymap.pretrained() == {"k2-tiny": installed}
    assert raymap.load("k2-tiny").config == model.config


def test_an_unknown_name_lists_those_there_are(installed):
    with pytest.raises(FileNotFoundError, match="called 'k2-tinny'; installed: k2-tiny"):
        raymap.load("k2-tinny")
    with pytest.raises(FileNotFoundError, match=r"k2-tiny holds no run.json"):
        raymap.load("./k2-tiny")


def test_a_folder_of_an_installed_name_is_neither_taken_nor_hidden(installed, model):
    other = base.build(FreeSpace.Config())
    base.save(other, Path("k2-tiny"))
    with pytest.raises(ValueError, match=r"an installed model and a folder here .*load\('./k2-tiny'\).*pretrained\(\)"):
        raymap.load("k2-tiny")
    assert raymap.load("./k2-tiny").config == raymap.load(Path("k2-tiny")).config == other.config
    assert raymap.load(raymap.pretrained()["k2-tiny"]).config == model.config


def test_a_folder_here_is_still_loaded_by_its_bare_name(installed, model):
    base.save(model, Path("mine"))
    assert raymap.load("mine").config == model.config


def test_an_empty_installation_says_so(installed, monkeypatch, tmp_path):
    monkeypatch.setattr(api, "PRETRAINED", tmp_path / "nothing")
    assert raymap.pretrained() == {}
    with pytest.raises(FileNotFoundError, match="installed: none"):
        raymap.load("k2-tiny")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names and sizes of what is packed: a wheel built of the package's own data and settings, without its code."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOME / name, tree / name)
    (tree / "raymap").mkdir()
    shutil.copy(HOME / "raymap" / "__init__.py", tree / "raymap")
    shutil.copytree(api.PRETRAINED, tree / "raymap" / "pretrained")
    program = "import setuptools.build_meta as build; print(build.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    with ZipFile(tree / done.stdout.splitlines()[-1]) as packed:
        return {entry.filename: entry.file_size for entry in packed.infolist()}


def test_the_installed_models_are_in_the_wheel(wheel):
    assert "raymap/pretrained/README.md" in wheel
    for name, folder in raymap.pretrained().items():
        for path in folder.iterdir():
            assert wheel[f"raymap/pretrained/{name}/{path.name}"] == path.stat().st_size


def test_every_installed_model_is_complete_small_and_ready():
    folders = sorted(path for path in api.PRETRAINED.iterdir() if path.is_dir())
    assert folders == list(raymap.pretrained().values())
    for folder in folders:
        files = {path.name: path for path in folder.iterdir()}
        assert set(files) == {base.CONFIG_FILE, base.WEIGHTS_FILE, "README.md"}
        assert sum(path.stat().st_size for path in files.values()) <= MAX_BYTES
        assert f'raymap.load("{folder.name}")' in files["README.md"].read_text()
        assert raymap.load(folder).config.kind in base.Predictor.classes


@pytest.mark.parametrize("name", sorted(raymap.pretrained()))
def test_what_is_installed_draws_unseen_towns_better_than_free_space_alone(name):
    """A town that no training has: seeds of a plan start far from this one."""
    model, card = raymap.load(name), json.loads((raymap.pretrained()[name] / base.CONFIG_FILE).read_text())
    scene = generated.city(987_654_321, Grid((64, 64), card["dataset"]["cell_m"]))
    places = sites.place(scene, 2, seed=1)
    truths = [dominant_path.solve(scene, place) for place in places]
    for found, truth, open_field in zip(
        raymap.predict(model, scene, places), truths, raymap.predict(free_space(), scene, places), strict=True
    ):
        rmse_db, floor_db = (
            float(np.sqrt(np.mean((one.gain_db - truth.gain_db)[truth.valid] ** 2))) for one in (found, open_field)
        )
        assert rmse_db < 6.0 < floor_db


def free_space():
    return base.build(FreeSpace.Config())


def test_a_model_is_installed():
    assert "k2-small" in raymap.pretrained()
    assert (raymap.pretrained()["k2-small"] / "model.safetensors").stat().st_size <= 16_000_000
