"""House rules that can be checked: nothing happens at import, imports flow one way, everything public is explained."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
MAX_LINES = 400


def python_files(*folders):
    return [path for folder in folders for path in sorted((HOME / folder).rglob("*.py"))]


def relative(path):
    return str(path.relative_to(HOME))


PACKAGE = python_files("raymap")
OURS = python_files("raymap", "jobs", "serve", "tests")


def test_there_is_a_house():
    assert len(PACKAGE) > 20 and set(PACKAGE) <= set(OURS)


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [("raymap", ()), ("raymap.config", ()), ("raymap.units, raymap.scene", ("numpy",))],
)
def test_importing_the_nouns_costs_nothing_and_says_nothing(modules, allowed, tmp_path):
    heavy = {"torch", "ray", "mlflow", "diffusers", "matplotlib", "pandas", "scipy", "numba", "numpy"} - set(allowed)
    program = f"import sys, {modules}; print(*(name for name in {sorted(heavy)} if name in sys.modules), end='')"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_importing_everything_writes_nothing_and_starts_nothing(tmp_path):
    """Every module of the package in a fresh process: no output, no file, no Ray cluster."""
    program = (
        "import importlib, pkgutil, raymap\n"
        "for found in pkgutil.walk_packages(raymap.__path__, 'raymap.'): importlib.import_module(found.name)\n"
        "import ray, mlflow\n"
        "assert not ray.is_initialized() and mlflow.active_run() is None\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def public_definitions(tree):
    """(name, node) of public functions and classes of a module, and of the public methods that its classes add."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node


@pytest.mark.parametrize("path", PACKAGE, ids=relative)
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    missing = [name for name, node in public_definitions(tree) if not ast.get_docstring(node)]
    assert ast.get_docstring(tree), "the module itself"
    assert not missing


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_files_stay_readable_and_their_names_say_what_they_hold(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert not {part.removesuffix(".py") for part in path.relative_to(HOME).parts} & {
        "utils", "util", "helpers", "helper", "legacy", "common", "misc", "core",
    }  # fmt: skip


def test_imports_flow_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=HOME, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]


def functions_that_test(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def asserts(node, helpers):
    """Whether a function asserts: a statement, ``pytest.raises``, ``numpy.testing``, or a helper of its file."""
    for part in ast.walk(node):
        if isinstance(part, ast.Assert):
            return True
        if isinstance(part, ast.Call):
            name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
            if name in ("raises", "warns", "fail") or name.startswith("assert_") or name in helpers:
                return True
    return False


@pytest.mark.parametrize("path", python_files("tests"), ids=relative)
def test_every_test_asserts_something(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    helpers: set[str] = {node.name for node in functions if asserts(node, ())}
    silent = [node.name for node in functions_that_test(path) if not asserts(node, helpers)]
    assert not silent


def test_tests_mirror_the_house():
    """Every folder of tests is a room, and every file of tests names a module, a room or the house itself."""
    rooms = {relative(path.parent) for path in PACKAGE} | {"jobs", "serve"}
    homes = {str(Path(relative(path.parent)).relative_to("tests")) for path in python_files("tests")}
    strays = {home for home in homes - {"."} if f"raymap/{home}" not in rooms and home not in rooms}
    assert not strays


def test_no_path_of_one_machine_is_written_down():
    ours = re.compile(r"(?<![\w.])/(home|work|root|Users)/\w")
    texts = [*OURS, *HOME.glob("*.md"), *HOME.glob("docs/**/*.md"), *HOME.glob("*.toml"), *HOME.glob("*.yaml")]
    texts += [HOME / "Makefile", *HOME.glob(".ci/*")]
    found = [relative(path) for path in texts if path != Path(__file__).resolve() and ours.search(path.read_text())]
    assert len(texts) > 50 and not found


def test_units_are_converted_in_one_place_only():
    """Powers of ten over ten or twenty, and the ends of the grey scale, are written in ``units`` alone."""
    number = re.compile(r"10(\.0)?\)?\s*\*\*\s*\(.{0,40}/\s*(np.float32\()?[12]0|-147\.|-47\.0|299_?792_?458")
    kernels = {"raymap/physics/helmholtz.py"}  # numba cannot call into units
    found = {relative(path) for path in PACKAGE if number.search(path.read_text())}
    assert found - kernels == {"raymap/units.py"}
