"""A method in one file outside of the repository, the very one that CONTRIBUTING.md shows: found, held to the contract,
saved and loaded elsewhere; and nothing but what the user names is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import raymap
from raymap import outside
from raymap.config import ModelConfig
from raymap.runtime import cluster

HOME = Path(__file__).resolve().parent.parent
SAY = "print(type(model).__name__, model.config, sum(float(weight.abs().sum()) for weight in model.parameters()))"
SAVE = f"""
from raymap import outside, recipes
from raymap.config import Run
from raymap.models import base

outside.register()
title, recipe = recipes.METHODS["my_method"]
run = recipe("debug").run("map")
assert title == "My method" and Run.model_validate(run.model_dump(mode="json")) == run
model = base.build(run.model)
base.save(model, base.Path("model"))
{SAY}
"""
LOAD = f"import raymap; model = raymap.load('./model'); {SAY}"


def run(*command, folder, methods):
    """What a Python process of its own prints, which works in ``folder`` and is told of ``methods``."""
    environ = {**os.environ, outside.VARIABLE: str(methods), "PYTHONPATH": str(HOME)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environ, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Writes a file, names it beside those before, and forgets its module afterwards."""
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        earlier = os.environ.get(outside.VARIABLE)
        monkeypatch.setenv(outside.VARIABLE, os.pathsep.join([*filter(None, [earlier]), str(path)]))
        return path

    monkeypatch.delenv(outside.VARIABLE, raising=False)
    monkeypatch.setattr(ModelConfig, "kinds", dict(ModelConfig.kinds))
    yield write
    for name in set(sys.modules) - before:
        if name.startswith(str(tmp_path)):
            del sys.modules[name]


def config(kind):
    return (
        "from typing import Literal\nfrom raymap.config import ModelConfig\n"
        f"class Config(ModelConfig):\n    kind: Literal[{kind!r}] = {kind!r}\n"
    )


def test_the_contract_covers_it_unedited(my_method):
    contract = HOME / "tests/models/test_contract.py"
    said = run(
        "-m", "pytest", "-p", "no:cacheprovider", "-k", "my_method", str(contract), folder=HOME, methods=my_method
    )
    assert int(re.search(r"(\d+) passed", said)[1]) > 10, "and nothing failed"


def test_a_saved_model_is_loaded_by_whoever_names_its_file(my_method, tmp_path, monkeypatch):
    saved = run("-c", SAVE, folder=tmp_path, methods=my_method.name)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.safetensors", "run.json"]
    moved = my_method.rename(my_method.with_name("elsewhere.py"))
    assert run("-c", LOAD, folder=tmp_path, methods=moved) == saved != ""
    monkeypatch.delenv(outside.VARIABLE, raising=False)
    with pytest.raises(ValueError, match="unknown model kind 'my_method'; known: .*RAYMAP_METHODS names the files of "):
        raymap.load(tmp_path / "model")


def test_only_an_unknown_kind_has_the_files_imported_and_once(named):
    path = named("mine.py", config("mine"))
    known = type("Known", (ModelConfig,), {"__annotations__": {"kind": str}, "kind": "known"})
    assert type(ModelConfig.from_dict({"kind": "known"})) is known and str(path) not in sys.modules
    first = type(ModelConfig.from_dict({"kind": "mine"}))
    outside.register()
    assert sys.modules[str(path)].Config is first is type(ModelConfig.from_dict({"kind": "mine"}))


def test_files_of_one_name_in_two_folders_are_two(named):
    for folder in ("a", "b"):
        named(f"{folder}/mine.py", config(f"mine_{folder}"))
    outside.register()
    assert {"mine_a", "mine_b"} <= set(ModelConfig.kinds)


def test_a_kind_of_another_method_is_refused(named):
    named("first.py", config("mine"))
    outside.register()
    second = named("second.py", config("mine"))
    for _ in range(2):
        with pytest.raises(ValueError, match="kind 'mine' is that of .*first.py.Config; name another"):
            outside.register()
    assert str(second) not in sys.modules and ModelConfig.kinds["mine"].__module__.endswith("first.py")


@pytest.mark.parametrize("name", ["gone.py", "notes.txt", "."])
def test_what_is_no_python_file_is_named(name, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.setenv(outside.VARIABLE, str(tmp_path / name))
    with pytest.raises(ValueError, match=f"RAYMAP_METHODS names {(tmp_path / name).resolve()}, which is no Python"):
        outside.register()


@pytest.mark.parametrize("num", [0, 2])
def test_workers_are_told_absolute_paths_and_nothing_if_there_are_none(num, named, tmp_path, monkeypatch):
    import ray

    paths = [named(f"mine{index}.py", "") for index in range(num)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(outside.VARIABLE, os.pathsep.join(path.name for path in paths))
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:1")
    asked = []
    monkeypatch.setattr(ray, "init", lambda **options: asked.append(options))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8})
    cluster.connect()
    told = {outside.VARIABLE: os.pathsep.join(map(str, paths))} if num else {}
    wanted = {"env_vars": told | {"RAY_ADDRESS": "somewhere:1"}}
    assert asked == [{"logging_level": "WARNING", "runtime_env": wanted}]
    assert os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] == "1", "the job may have been submitted with the variable, too"
