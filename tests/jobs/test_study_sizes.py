"""The study of sizes with a small model of random weights on real city blocks."""

import json

import pytest

from jobs import study_sizes
from raymap.models import base
from raymap.models.cell_law import CellLaw
from raymap.models.radiodiff import RadioDiff
from raymap.models.vae import Vae


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = RadioDiff.Config(
        autoencoder=Vae.Config(channels=(8, 16), latent_channels=4), widths=(32, 32), num_blocks=1, stem=8, cell_m=8.0,
        inputs=("building", "tx", "cell_size"), law=CellLaw.Config(inputs=("log_distance",), width=4), steps=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    base.save(base.build(config), folder)
    return folder


def test_every_shape_is_predicted_in_one_pass_in_windows_and_by_the_law(model, tmp_path, capsys):
    out = tmp_path / "sizes.json"
    wanted = ["--model", str(model), "--max_scenes", "2", "--num_tx", "1", "--windows", "[16]", "--overlap_cells", "8"]
    found = study_sizes.main([*wanted, "--shapes", '["16x16", "16x32"]', "--out", str(out)])
    assert json.loads(out.read_text()) == found
    square, long = found["tables"]
    assert square["shape"] == [16, 16] and set(square["ways"]) == {"one pass", "its law alone"}
    assert long["shape"] == [16, 32] and set(long["ways"]) == {"one pass", "windows of 16", "its law alone"}
    assert long["area_km2"] == pytest.approx(128 * 256 / 1e6) and long["num_maps"] == 2
    assert all(way["nmse"]["mean"] > 0 and way["seconds"] > 0 for way in long["ways"].values())
    assert "| 16 x 32 | 0.03 | 2 | windows of 16 |" in capsys.readouterr().out


def test_other_cells_are_for_models_that_are_told(model):
    asked = ["--model", str(model), "--max_scenes", "1", "--num_tx", "1"]
    assert study_sizes.main([*asked, "--shapes", '["16x16"]', "--cell_m", "4"])["cell_m"] == 4.0
    with pytest.raises(ValueError, match="takes 2 to 32 m, this map has 64 m"):
        study_sizes.main([*asked, "--shapes", '["whole"]', "--cell_m", "64"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--shapes", '["64"]'], "shape '64' must be like 64x128"),
        (["--shapes", '["4000x4000"]'], "san_francisco has no crop of 4000x4000 cells of 8 m"),
        (["--solve_cell_m", "3"], "cell_m=8 m must be a multiple of solve_cell_m=3 m"),
    ],
)
def test_what_cannot_be_studied_is_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        study_sizes.main(["--model", str(model), *changes])
