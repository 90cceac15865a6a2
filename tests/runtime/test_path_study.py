import json

import numpy as np
import pytest

from raymap import recipes
from raymap.data import mesh_file, path_file
from raymap.data.path_table import line_of_sight
from raymap.models import base
from raymap.models.scene_paths import ScenePaths
from raymap.propagation import meshes
from raymap.runtime import path_study
from raymap.runtime.path_study import PathStudy, Trial


def table(num=80, seed=0):
    """Line of sight alone on an open square, at random places."""
    rng = np.random.default_rng(seed)
    receivers_m = np.pad(rng.uniform(0, 100, (num, 2)), [(0, 0), (0, 1)])
    return line_of_sight(receivers_m, (50.0, 50.0, 20.0), 3.5e9)


def study(folder, methods=("nearest",), **changes):
    path_file.write(folder / "square.parquet", table())
    return PathStudy(
        sources={"square": str(folder / "square.parquet")}, num_paths=1, num_draws=2, out=str(folder / "out"),
        methods={name: (recipes.path_title(name), recipes.path_method(name, "debug", 1)) for name in methods},
        **{"rates": (0.25,), **changes},
    )  # fmt: skip


def trial(chosen, method, seed=0):
    title, stage = chosen.methods[method]
    return Trial(scene="square", rate=0.25, seed=seed, method=method, title=title, model=stage.model, optim=stage.optim)


def row(chosen, one):
    return json.loads((path_study.folder_of(chosen, one) / "row.json").read_text())


def test_a_draw_parts_the_receivers_and_depends_on_its_seed_alone():
    whole = table()
    measured, others = path_study.draw(whole, 0.25, seed=3)
    assert (len(measured), len(others)) == (20, 60)
    places = {tuple(place) for part in (measured, others) for place in part.receivers_m}
    assert places == {tuple(place) for place in whole.receivers_m}
    again, other = path_study.draw(whole, 0.25, 3)[0], path_study.draw(whole, 0.25, 4)[0]
    assert np.array_equal(again.receivers_m, measured.receivers_m)
    assert not np.array_equal(other.receivers_m, measured.receivers_m)
    with pytest.raises(ValueError, match="measures 1; two must be"):
        path_study.draw(whole, 0.01, 0)


def test_a_trial_leaves_its_row_and_of_the_first_draw_what_it_told(tmp_path):
    chosen = study(tmp_path)
    for seed in (0, 1):
        one = trial(chosen, "nearest", seed)
        told = path_study._tried(one, chosen)
        assert told["done"].startswith(f"square 0.25 draw {seed} Nearest receiver: ")
        found = row(chosen, one)
        assert found["seed"] == seed and found["predict_ms"] >= 0 and found["parameters"] == 0
        # The nearest of 20 on 100 x 100 m is some ten metres off, so tens of nanoseconds.
        assert 1 < found["all/delay/rmse"] < 100
        assert (path_study.folder_of(chosen, one) / "predicted.parquet").is_file() == (seed == 0)


def test_a_method_that_learns_is_trained_on_what_is_measured_and_goes_on_where_it_stopped(tmp_path, capsys):
    chosen = study(tmp_path, ("published",))
    one = trial(chosen, "published")
    path_study._tried(one, chosen)
    folder = path_study.folder_of(chosen, one)
    assert (folder / "model" / "model.safetensors").is_file() and row(chosen, one)["parameters"] > 1000
    assert "step 6/6" in capsys.readouterr().out
    first = row(chosen, one)["all/mixed/mse"]
    path_study._tried(one, chosen)
    assert "finished before" in capsys.readouterr().out and row(chosen, one)["all/mixed/mse"] == first


def test_a_page_tells_what_the_rows_hold(tmp_path):
    chosen = study(tmp_path, ("nearest", "kriging"))
    for method in chosen.methods:
        for seed in (0, 1):
            path_study._tried(trial(chosen, method, seed), chosen)
    rows = path_study.run(chosen)  # nothing is left to do, so no cluster is started
    assert len(rows) == 4
    found = path_study.write_page(chosen, rows, tmp_path / "page.md", "python x")
    mean = found["scenes"]["square"]["rates"]["0.25"]["Kriging"]["scores"]["all/mixed/mse"]["mean"]
    assert mean == pytest.approx(rows[rows["method"] == "Kriging"]["all/mixed/mse"].mean())
    page = (tmp_path / "page.md").read_text()
    assert "80 receivers on" in page and "| Kriging |" in page and "    python x\n" in page


def test_a_rate_is_a_share(tmp_path):
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        study(tmp_path, rates=(0.1, 1.0))


def test_a_trial_travels_with_all_of_its_settings(tmp_path):
    """To another process, as JSON: "separate" is the published network but for one setting."""
    for method in ("published", "separate", "gnn_only"):
        one = trial(study(tmp_path, (method,)), method)
        assert Trial.model_validate_json(one.model_dump_json()) == one


def test_some_of_the_others_are_scored_the_same_ones_for_every_method(tmp_path):
    chosen = study(tmp_path, ("nearest", "kriging"), num_scored=15)
    for method in ("nearest", "kriging"):
        path_study._tried(trial(chosen, method), chosen)
    told = [path_file.read(path_study.folder_of(chosen, trial(chosen, method)) / "predicted.parquet") for method in
            ("nearest", "kriging")]  # fmt: skip
    assert len(told[0]) == 15 and np.array_equal(told[0].receivers_m, told[1].receivers_m)
    measured = path_study.draw(table(), 0.25, 0)[0].receivers_m
    assert not {tuple(place) for place in told[0].receivers_m} & {tuple(place) for place in measured}
    assert path_study._is_done(chosen, trial(chosen, "nearest"))
    assert not path_study._is_done(chosen.model_copy(update={"num_scored": 16}), trial(chosen, "nearest"))


def test_surroundings_are_of_a_source(tmp_path):
    with pytest.raises(ValueError, match="surroundings of 'hall', which is no source: square"):
        study(tmp_path, surroundings={"hall": "hall.ply"})


def test_a_method_that_learns_hears_of_the_map_in_training(tmp_path):
    chosen = study(tmp_path, ("pinn_gnn_map",), surroundings={"square": str(tmp_path / "ground.ply")})
    ground = meshes.Mesh("ground", [[0, 0, -9], [99, 0, -9], [99, 99, -9]], [[0, 1, 2]])
    mesh_file.write(tmp_path / "ground.ply", meshes.MeshScene("ground", (ground,), 3.5e9))
    path_study._tried(trial(chosen, "pinn_gnn_map"), chosen)
    assert np.isfinite(row(chosen, trial(chosen, "pinn_gnn_map"))["all/mixed/mse"])
    assert (tmp_path / "out/square/surroundings.ply").is_file()


def test_what_is_told_at_any_rate_can_be_shown_alone_later(tmp_path):
    both = study(tmp_path, rates=(0.1, 0.5))
    for rate in both.rates:
        path_study._tried(trial(both, "nearest").model_copy(update={"rate": rate}), both)
    alone = both.model_copy(update={"rates": (0.5,)})
    assert len(path_study._example(alone, "square", table())["predicted"]["Nearest receiver"]) == 40


def test_scores_depend_on_what_stands_around():
    ground = meshes.Mesh("ground", [[0, 0, -9], [99, 0, -9], [99, 99, -9]], [[0, 1, 2]])
    around = table().within(meshes.MeshScene("ground", (ground,), 3.5e9))
    assert path_study._fingerprint(table(), None) == path_study._fingerprint(table(), None)
    others = {path_study._fingerprint(*given) for given in ((table(), None), (around, None), (around, 9))}
    assert len(others) == 3


def walled(folder):
    """The square within walls that hide nothing, and a study of it by a model that needs nothing measured."""
    around = meshes.room((100.0, 100.0, 30.0), 3.5e9)
    mesh_file.write(folder / "around.ply", around)
    base.save(base.build(ScenePaths.Config(num_paths=1, width=8, num_layers=1)), folder / "model")
    return study(
        folder, surroundings={"square": str(folder / "around.ply")}, models={"Learned": str(folder / "model")},
        rates=(0.0, 0.25),
    )  # fmt: skip


def test_a_model_that_is_trained_already_is_compared_and_without_measurements_alone(tmp_path, ray_local):
    chosen = walled(tmp_path)
    rows = path_study.run(chosen)
    assert set(rows[rows["rate"] == 0]["method"]) == {"Learned"}
    assert set(rows[rows["rate"] == 0.25]["method"]) == {"Learned", "Nearest receiver"}
    assert (rows["fit_s"] < 5).all() and not [*(tmp_path / "out").glob("square/*/*/model-*/model")]
    found = path_study.write_page(chosen, rows, tmp_path / "page.md", "command")
    assert list(found["scenes"]["square"]["rates"]) == ["0", "0.25"]
    assert "### 0 % measured" in (tmp_path / "page.md").read_text()


def test_other_weights_are_another_method(tmp_path):
    chosen = walled(tmp_path)
    [name, *_] = chosen.compared
    base.save(base.build(ScenePaths.Config(num_paths=1, width=8, num_layers=1)), tmp_path / "model")
    assert name not in chosen.compared
