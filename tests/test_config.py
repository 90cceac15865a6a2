"""The config tree: frozen, strict, plain JSON between processes, overridden from the command line and nowhere else."""

import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from raymap import recipes
from raymap.config import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    Run,
    Settings,
    TrackingConfig,
    WorkersConfig,
    flatten,
    from_command_line,
    sized,
)
from raymap.models.cell_law import CellLaw
from raymap.models.k2 import K2
from raymap.models.radiodiff import RadioDiff
from raymap.models.vae import Vae


class Inner(Settings):
    """Settings inside settings."""

    steps: int = 3
    rate: float = 0.5


class Tree(Settings):
    """A small tree, as a job's."""

    name: str = "tree"
    seed: int = 0
    fast: bool = False
    limit: int | None = None
    sizes: tuple[int, ...] = (1, 2)
    mode: Literal["warm", "cold"] = "warm"
    inner: Inner = Inner()
    other: Inner = Inner(steps=9, rate=0.9)


def a_run(**changes):
    values = {"name": "first", "storage": "runs", "model": Vae.Config(latent_channels=7), "data": DataConfig()}
    return Run(**{**values, **changes})


@pytest.mark.parametrize("kind", [Tree, DataConfig, OptimConfig, WorkersConfig, Vae.Config, RadioDiff.Config])
def test_an_unknown_key_is_refused_by_name(kind):
    with pytest.raises(ValidationError, match="(?s)num_setps.*Extra inputs are not permitted"):
        kind(num_setps=3)


def test_settings_cannot_be_changed_in_place():
    tree = Tree()
    with pytest.raises(ValidationError, match="frozen"):
        tree.seed = 4
    with pytest.raises(ValidationError, match="frozen"):
        tree.inner.steps = 4
    assert tree == Tree()


@pytest.mark.parametrize(
    "values",
    [{"batch_size": 0}, {"max_scenes": 0}, {"outline": {"kind": "sobel"}}],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        DataConfig(**values)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "with space"])
def test_a_run_is_named_so_that_it_can_be_a_folder(name):
    with pytest.raises(ValueError, match="name"):
        a_run(name=name)


def test_the_command_line_replaces_what_it_names_and_keeps_the_rest():
    default = Tree(name="mine", seed=5, other=Inner(steps=8, rate=0.25))
    found = from_command_line(default, ["--inner.steps", "50", "--seed", "3", "--fast", "--sizes", "[4,5,6]"])
    assert found == default.model_copy(
        update={"inner": Inner(steps=50, rate=default.inner.rate), "seed": 3, "fast": True, "sizes": (4, 5, 6)}
    )
    assert type(found) is Tree
    assert from_command_line(default, []) == default


def test_the_command_line_keeps_non_default_neighbours_of_a_nested_field():
    default = Tree(other=Inner(steps=8, rate=0.25))
    assert from_command_line(default, ["--other.steps=1"]).other == Inner(steps=1, rate=0.25)


def test_switches_and_missing_values_have_a_way_back():
    default = Tree(fast=True, limit=4)
    assert from_command_line(default, ["--no-fast"]).fast is False
    assert from_command_line(default, ["--limit", "None"]).limit is None
    assert from_command_line(default, ["--limit", "6"]).limit == 6


def test_the_environment_changes_nothing(monkeypatch):
    for name in ("SEED", "seed", "INNER__STEPS"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("NAME", "x")
    monkeypatch.setenv("MODE", "cold")
    monkeypatch.setenv("INNER", '{"steps": 7}')
    monkeypatch.setenv("SIZE", "full")
    assert from_command_line(Tree(), ["--limit", "2"]) == Tree(limit=2)
    assert sized(lambda size: Tree(name=size), [], default="small")[0].name == "small"


def test_an_unknown_option_ends_with_a_message_that_names_it(capsys):
    with pytest.raises(SystemExit) as stopped:
        from_command_line(Tree(), ["--inner.setps", "5"], prog="train")
    assert stopped.value.code not in (0, None)
    assert "--inner.setps" in capsys.readouterr().err + str(stopped.value.code)


@pytest.mark.parametrize("words", [["--mode", "hot"], ["--inner.steps", "many"]])
def test_a_value_that_is_not_allowed_names_its_field(words, capsys):
    field = words[0].removeprefix("--")
    with pytest.raises((ValueError, SystemExit)) as refused:
        from_command_line(Tree(), words)
    assert field in str(refused.value).replace("\n", ".") or words[0] in capsys.readouterr().err


def test_the_tree_of_a_run_is_overridden_down_to_its_model():
    run: Run = a_run(model=Vae.Config(latent_channels=7, patch=4))
    found = from_command_line(
        Run[Vae.Config].model_validate(run.model_dump()),
        ["--model.latent_channels", "5", "--data.outline.kind", "k_eff", "--optim.num_steps", "12"],
    )
    assert found.model == Vae.Config(latent_channels=5, patch=4)
    assert found.data == DataConfig(outline={"kind": "k_eff"})
    assert found.optim == OptimConfig(num_steps=12)


def test_sized_takes_the_size_and_leaves_the_rest_alone(capsys):
    asked = []

    def recipe(size):
        asked.append(size)
        return Tree(name=size)

    default, rest = sized(recipe, ["--seed", "3", "--size", "big", "--inner.steps=4"], default="small")
    assert from_command_line(default, rest) == Tree(name="big", seed=3, inner=Inner(steps=4))
    default, rest = sized(recipe, ["--seed", "3"], default="small")
    assert default.name == "small" and from_command_line(default, rest).seed == 3
    default, rest = sized(recipe, ["--help", "--size=big"], default="small")
    assert default.name == "big" and rest == ["--help"]
    assert "--size NAME" in capsys.readouterr().out
    assert asked == ["big", "small", "big"]


def test_help_lists_nested_fields_with_their_defaults(capsys):
    with pytest.raises(SystemExit) as stopped:
        from_command_line(Tree(other=Inner(steps=81)), ["--help"], prog="train")
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "--inner.steps" in shown and "--seed" in shown and "81" in shown


@pytest.mark.parametrize(
    "model",
    [
        Vae.Config(channels=(8, 16, 24)),
        RadioDiff.Config(target="outline", autoencoder=Vae.Config(patch=4)),
        K2.Config(
            outline=RadioDiff.Config(target="outline"),
            map=RadioDiff.Config(inputs=("building", "outline_predicted")),
        ),
    ],
)
def test_a_run_survives_json_with_its_kind_of_model(model):
    run = a_run(model=model, start_from={"autoencoder": "there"}, optim=OptimConfig(num_steps=7))
    back = Run.model_validate(json.loads(json.dumps(run.model_dump(mode="json"))))
    assert back == run and type(back.model) is type(model)
    assert Run.model_validate_json(run.model_dump_json()).model == model


def test_an_unknown_kind_of_model_lists_the_known():
    with pytest.raises(ValueError, match="unknown model kind 'unet'.*free_space.*k2.*radiodiff.*vae"):
        ModelConfig.from_dict({"kind": "unet"})
    with pytest.raises(ValueError, match="unknown model kind None"):
        ModelConfig.from_dict({})
    with pytest.raises(ValueError, match="unknown model kind 'unet'"):
        a_run(model={"kind": "unet"})


def test_a_model_config_from_a_file_is_as_strict_as_any():
    with pytest.raises(ValueError, match="latent_chanels"):
        ModelConfig.from_dict({"kind": "vae", "latent_chanels": 4})


def test_flatten_names_every_leaf_once_and_loses_nothing():
    run = a_run(model=RadioDiff.Config(), optim=OptimConfig(num_steps=7))
    flat = flatten(run)
    assert flat["optim.num_steps"] == 7
    assert flat["model.autoencoder.latent_channels"] == run.model.autoencoder.latent_channels
    assert flat["start_from"] == {}
    nested: dict = {}
    for name, value in flat.items():
        *folders, leaf = name.split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = value
    assert nested == run.model_dump(mode="json")
    assert set(flatten(run, "run.")) == {f"run.{name}" for name in flat}


def test_a_model_reads_what_any_part_of_it_reads():
    outline = RadioDiff.Config(target="outline", inputs=("building", "tx"))
    gain = RadioDiff.Config(inputs=("building", "outline_predicted"), law=CellLaw.Config(inputs=("dominant_path",)))
    whole = K2.Config(outline=outline, map=gain)
    assert [outline.reads("dominant_path"), gain.reads("dominant_path"), whole.reads("dominant_path")] == [0, 1, 1]
    assert whole.reads("tx") and not gain.reads("tx") and not Vae.Config().reads("tx")


def test_a_run_computes_the_inputs_that_its_model_reads():
    model = RadioDiff.Config(inputs=("building", "dominant_path"))
    with pytest.raises(ValueError, match="only with data.dominant_path on"):
        a_run(model=model)
    asked = a_run(model=model, data=DataConfig(dominant_path=True))
    assert Run.model_validate_json(asked.model_dump_json()) == asked
    assert a_run(data=DataConfig(dominant_path=True)).data.dominant_path, "a stage need not read it"


def test_an_unknown_option_is_named_and_not_lost_in_pages_of_others(capsys):
    with pytest.raises(SystemExit) as ended:
        from_command_line(DataConfig(), ["--batch_sise", "3"], prog="job.py")
    told = capsys.readouterr().err
    assert ended.value.code == 2 and "--batch_sise" in told and told.startswith("job.py: ") and told.count("\n") == 1


@pytest.mark.parametrize("uri", ["postgresql+psycopg2://me:s3cret@host/db", "https://me:s3cret@mlflow.example"])
def test_no_password_comes_into_settings_or_is_told(uri):
    with pytest.raises(ValueError, match=r"no password .*me:\*\*\*@.* PGPASSWORD") as error:
        TrackingConfig(uri=uri)
    assert "s3cret" not in str(error.value)
    with pytest.raises(ValueError, match=r"^tracking\.uri must hold no password") as error:
        from_command_line(recipes.k2("debug"), ["--tracking.uri", uri])
    assert "s3cret" not in str(error.value) and error.value.__cause__ is None
    assert TrackingConfig(uri="postgresql://me@host/db").uri == "postgresql://me@host/db"
    assert TrackingConfig(uri="postgresql://me:@/db?host=/run").uri


def test_a_path_that_is_a_uri_is_refused():
    class Job(Settings):
        out: Path = Path("runs")

    with pytest.raises(ValueError, match="out must be a path of this machine, no URI, got 's3:/bucket/x'"):
        Job(out="s3://bucket/x")
