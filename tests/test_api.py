"""The doors: a folder or a name in and a model out; a scene in and one radio map per transmitter out."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

import raymap
from raymap import recipes, units
from raymap.data.batch import from_scenes, to_radio_maps
from raymap.data.measurements import Measurements
from raymap.models import base
from raymap.models.interpolation import NearestMeasurement
from raymap.models.pathloss import FreeSpace
from raymap.models.vae import Vae
from raymap.propagation import dominant_path
from raymap.scene import Grid, Scene, Transmitter

PLACES = [Transmitter((20.0, 12.0, 1.5)), Transmitter((230.0, 180.0, 1.5)), Transmitter((100.0, 30.0, 1.5))]


@pytest.fixture(scope="module")
def scene():
    building_m = np.zeros((24, 32))
    building_m[6:14, 6:16] = 18.0
    building_m[16:21, 3:27] = 9.0
    return Scene("block", Grid((24, 32), 8.0), building_m)


def awake(config):
    torch.manual_seed(0)
    model = base.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return awake(recipes.k2("debug").model())


@pytest.fixture
def folder(model, tmp_path):
    base.save(model, tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **changes):
    path = folder / base.CONFIG_FILE
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


def test_half_precision_draws_nearly_the_same(model, scene):
    exact, half = (raymap.predict(model, scene, PLACES, precision=precision) for precision in ("fp32", "bf16"))
    off_db = np.concatenate([np.abs(a.gain_db - b.gain_db)[a.valid] for a, b in zip(exact, half, strict=True)])
    assert 0 < np.median(off_db) < 0.5 and all(one.gain_db.dtype == np.float32 for one in half)
    with pytest.raises(ValueError, match="'fp32' or 'bf16', got 'fp16'"):
        raymap.predict(model, scene, PLACES, precision="fp16")


def test_a_saved_model_is_loaded_by_path_or_name_and_draws_the_same(model, folder, scene):
    wanted = raymap.predict(model, scene, PLACES)
    for name in (folder, str(folder)):
        loaded = raymap.load(name)
        assert not loaded.training
        for found, expected in zip(raymap.predict(loaded, scene, PLACES), wanted, strict=True):
            np.testing.assert_array_equal(found.gain_db, expected.gain_db)


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="nowhere holds no run.json"):
        raymap.load(tmp_path / "nowhere")
    (folder / base.WEIGHTS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match="holds no model.safetensors"):
        raymap.load(folder)


def test_an_unknown_kind_lists_the_known(folder):
    edit(folder, model={"kind": "unet"})
    with pytest.raises(ValueError, match="unknown model kind 'unet'; known: .*k2"):
        raymap.load(folder)


def test_a_run_without_a_model_is_refused(folder):
    (folder / base.CONFIG_FILE).write_text('{"name": "something else"}')
    with pytest.raises(ValueError, match="unknown model kind None"):
        raymap.load(folder)


def test_an_unknown_setting_of_a_model_is_named(folder, model):
    edit(folder, model={**model.config.model_dump(mode="json"), "depth": 3})
    with pytest.raises(ValueError, match="depth"):
        raymap.load(folder)


def test_a_setting_left_to_its_default_is_refused_by_its_full_name(folder, model):
    """A default may have been another one when the model was trained."""
    values = model.config.model_dump(mode="json")
    del values["map"]["fade"], values["map"]["autoencoder"]["patch"]
    edit(folder, model=values)
    with pytest.raises(ValueError, match=r"lacks model.map.autoencoder.patch, model.map.fade: .*model.map.fade=True"):
        raymap.load(folder)


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_version_of_the_format_is_refused(folder, version):
    edit(folder, schema_version=version)
    with pytest.raises(ValueError, match=f"schema_version {version!r}; this raymap reads 1"):
        raymap.load(folder)


def test_a_file_older_than_versions_is_read_if_it_says_everything(folder, model):
    (folder / base.CONFIG_FILE).write_text(json.dumps({"model": model.config.model_dump(mode="json")}))
    assert raymap.load(folder).config == model.config


@pytest.mark.parametrize("text", ["", "[]", "3", '{"model": 3}', '{"model"'])
def test_a_damaged_config_is_refused_with_its_file(folder, text):
    (folder / base.CONFIG_FILE).write_text(text)
    with pytest.raises(ValueError, match="run.json is damaged|unknown model kind"):
        raymap.load(folder)


class Payload:
    def __reduce__(self):
        return print, ("the file was run",)


def test_no_code_of_a_file_is_run(folder, capsys):
    torch.save(Payload(), folder / base.WEIGHTS_FILE)
    with pytest.raises(ValueError, match="model.safetensors"):
        raymap.load(folder)
    assert "the file was run" not in capsys.readouterr().out


def test_a_compact_file_is_half_the_size_and_loads_to_float32(model, tmp_path):
    base.save(model, tmp_path / "whole")
    base.save(model, tmp_path / "compact", compact=True)
    whole, compact = ((tmp_path / name / base.WEIGHTS_FILE).stat().st_size for name in ("whole", "compact"))
    assert compact < 0.55 * whole
    loaded = raymap.load(tmp_path / "compact")
    for (name, found), wanted in zip(loaded.state_dict().items(), model.state_dict().values(), strict=True):
        assert found.dtype == wanted.dtype, name
        exact = found.numel() < base.COMPACT_FROM or name not in dict(model.named_parameters())
        torch.testing.assert_close(found, wanted, rtol=0 if exact else 2**-8, atol=0, msg=name)


def test_equal_tensors_are_stored_once_and_read_back_under_both_names(tmp_path):
    model = base.build(recipes.k2("debug").model())
    model.map.autoencoder.load_state_dict(model.outline.autoencoder.state_dict())
    base.save(model, tmp_path / "model", compact=True)
    with safe_open(tmp_path / "model" / base.WEIGHTS_FILE, "pt") as file:
        assert not [name for name in file.keys() if name.startswith("map.autoencoder")]  # noqa: SIM118
    loaded = raymap.load(tmp_path / "model")
    torch.testing.assert_close(loaded.map.autoencoder.state_dict(), loaded.outline.autoencoder.state_dict())
    once = (tmp_path / "model" / base.WEIGHTS_FILE).read_bytes()
    base.save(model, tmp_path / "again", compact=True)
    assert (tmp_path / "again" / base.WEIGHTS_FILE).read_bytes() == once


def test_weights_of_another_model_are_refused_with_their_file(folder, tmp_path):
    base.save(base.build(Vae.Config(channels=(8, 16))), tmp_path / "vae")
    (tmp_path / "vae" / base.WEIGHTS_FILE).replace(folder / base.WEIGHTS_FILE)
    with pytest.raises(ValueError, match="(?s)model.safetensors does not fit the config beside it.*outline"):
        raymap.load(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5])
def test_weights_that_are_cut_off_are_refused_with_their_file(folder, share):
    path = folder / base.WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match="model.safetensors"):
        raymap.load(folder)


def test_one_map_per_transmitter_valid_outdoors_and_in_range(model, scene):
    maps = raymap.predict(model, scene, PLACES)
    assert len(maps) == 3
    for radio_map in maps:
        np.testing.assert_array_equal(radio_map.valid, scene.outdoor)
        assert radio_map.gain_db.min() >= units.GAIN_FLOOR_DB - 1e-3
        assert radio_map.gain_db.max() <= units.GAIN_CEILING_DB + 1e-3
        assert (radio_map.gain_db[~scene.outdoor] == np.float32(units.GAIN_FLOOR_DB)).all()
    assert not np.allclose(maps[0].gain_db, maps[1].gain_db, atol=0.1)


def test_equal_seeds_draw_equal_maps_whatever_else_is_asked_for(model, scene):
    together = raymap.predict(model, scene, PLACES, seeds=[5, 6, 7])
    for index, seed in ((2, 7), (0, 5), (1, 6)):
        alone = raymap.predict(model, scene, [PLACES[index]], seeds=[seed])[0]
        np.testing.assert_allclose(alone.gain_db, together[index].gain_db, atol=1e-3)
    backwards = raymap.predict(model, scene, PLACES[::-1], seeds=[7, 6, 5])[::-1]
    for found, expected in zip(backwards, together, strict=True):
        np.testing.assert_allclose(found.gain_db, expected.gain_db, atol=1e-3)


def test_seeds_are_counted_from_zero_and_matter(model, scene):
    default = raymap.predict(model, scene, PLACES)
    counted = raymap.predict(model, scene, PLACES, seeds=[0, 1, 2])
    other = raymap.predict(model, scene, PLACES, seeds=[3, 4, 5])
    for index in range(3):
        np.testing.assert_array_equal(default[index].gain_db, counted[index].gain_db)
        assert not np.allclose(default[index].gain_db, other[index].gain_db, atol=0.01)


def test_the_number_of_seeds_is_that_of_the_transmitters(model, scene):
    with pytest.raises(ValueError, match="one seed per transmitter, got 2 for 3"):
        raymap.predict(model, scene, PLACES, seeds=[1, 2])


def test_a_transmitter_outside_or_inside_a_building_is_named(model, scene):
    with pytest.raises(ValueError, match=r"x=300\.00 m, y=12\.00 m lies outside the map \(0 to 256 m by 0 to 192 m\)"):
        raymap.predict(model, scene, [PLACES[0], Transmitter((300.0, 12.0, 1.5))])
    with pytest.raises(ValueError, match=r"x=80\.00 m, y=80\.00 m stands inside a building.*18 m high"):
        raymap.predict(model, scene, [Transmitter((80.0, 80.0, 1.5))])


def test_another_cell_size_is_refused_with_both_and_a_way_out(model, scene):
    fine = Scene("fine", Grid((24, 32), 2.0), scene.building_m)
    with pytest.raises(ValueError, match=r"8 m cells.* has 2 m.*Scene\.coarsen"):
        raymap.predict(model, fine, [Transmitter((1.0, 1.0, 1.5))])


def test_a_size_the_model_cannot_take_is_padded_and_cropped(model):
    odd = Scene("odd", Grid((21, 30), 8.0), np.zeros((21, 30)))
    drawn = raymap.predict(model, odd, [PLACES[0]])[0]
    assert drawn.gain_db.shape == (21, 30) and drawn.valid.all() and drawn.gain_db.std() > 0


def test_coordinates_are_x_to_the_right_and_y_down(scene):
    """The strongest cell of free space is the transmitter's own: column by x, row by y."""
    for place in PLACES:
        gain_db = raymap.predict(FreeSpace(FreeSpace.Config()), scene, [place])[0].gain_db
        strongest = np.unravel_index(gain_db.argmax(), gain_db.shape)
        assert strongest == place.cell(scene.grid) == (int(place.xyz_m[1] // 8), int(place.xyz_m[0] // 8))


def test_the_package_has_these_doors_only():
    assert raymap.__all__ == ["load", "predict", "pretrained"]
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = raymap.train


@pytest.fixture(scope="module")
def of_multipath():
    """A K2 whose second stage alone reads the dominant-path map."""
    config = recipes.k2("debug").model()
    inputs = ("building", "tx", "dominant_path", "outline_predicted")
    return awake(config.model_copy(update={"map": config.map.model_copy(update={"inputs": inputs, "law": None})}))


@pytest.mark.parametrize("windows", [{}, {"tile_cells": 16, "overlap_cells": 4}])
def test_a_model_that_reads_the_dominant_path_map_is_given_it(of_multipath, scene, windows):
    maps = raymap.predict(of_multipath, scene, PLACES, **windows)
    batch = from_scenes([scene] * 3, PLACES, dominant_path=True)
    if not windows:
        for found, wanted in zip(maps, to_radio_maps(of_multipath.predict(batch, range(3)), batch), strict=True):
            np.testing.assert_allclose(found.gain_db, wanted.gain_db, atol=1e-3)
    assert all(np.isfinite(one.gain_db).all() for one in maps)
    with pytest.raises(ValueError, match="carries no 'dominant_path'"):
        of_multipath.predict(from_scenes([scene] * 3, PLACES), range(3))


def test_the_dominant_path_map_is_computed_for_those_alone_who_read_it(model, of_multipath, scene, monkeypatch):
    def refuse(*_):
        raise RuntimeError("computed")

    monkeypatch.setattr(dominant_path, "solve", refuse)
    assert len(raymap.predict(model, scene, PLACES)) == 3
    with pytest.raises(RuntimeError, match="computed"):
        raymap.predict(of_multipath, scene, PLACES)


def test_measurements_reach_the_model_that_reads_them(scene):
    model = NearestMeasurement(NearestMeasurement.Config())
    places = np.argwhere(scene.outdoor)[[7, 70]]
    known = [Measurements((places[:, ::-1] + 0.5) * scene.grid.cell_m, gain_db) for gain_db in ([-70, -90], [-80, -80])]
    first, second = raymap.predict(model, scene, PLACES[:2], measurements=known)
    assert [first.gain_db[tuple(place)] for place in places] == pytest.approx([-70, -90], abs=1e-3)
    np.testing.assert_allclose(second.gain_db[second.valid], -80, atol=1e-3)
    with pytest.raises(ValueError, match="need one set of measurements per transmitter, got 2 for 1"):
        raymap.predict(model, scene, PLACES[:1], measurements=known)
    with pytest.raises(ValueError, match="this model needs measurements"):
        raymap.predict(model, scene, PLACES[:1])


def test_measurements_correct_a_model_that_does_not_read_them(model, scene):
    plain = raymap.predict(model, scene, PLACES[:1])[0]
    places = np.argwhere(scene.outdoor)[::9]
    off_db = 3.0 + 0.02 * places[:, 0]
    known = Measurements((places[:, ::-1] + 0.5) * scene.grid.cell_m, plain.gain_db[tuple(places.T)] + off_db)
    found = raymap.predict(model, scene, PLACES[:1], measurements=[known])[0]
    np.testing.assert_allclose(found.gain_db[tuple(places.T)], known.gain_db, atol=1e-3)
    wanted_db = plain.gain_db + 3.0 + 0.02 * np.arange(24)[:, None]
    assert np.abs(found.gain_db - wanted_db)[scene.outdoor].mean() < 0.1, "3 dB without them"
