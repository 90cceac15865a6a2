"""What every Predictor must do. A new file in ``raymap/models``, or one that RAYMAP_METHODS names, is covered as it is:
by the ``debug`` size of its recipe, or by its default config if no recipe holds it."""

import functools
import inspect
import shutil
from dataclasses import replace

import pytest
import torch
from pydantic import BaseModel, ValidationError

import raymap.models  # noqa: F401  (registers every kind)
from raymap import outside, recipes
from raymap.config import ModelConfig, Run
from raymap.data.batch import MapBatch, batches
from raymap.models import base
from raymap.models.base import Predictor
from raymap.models.path_predictor import PathPredictor
from raymap.models.radiodiff import RadioDiff

NUM_STEPS = 30


def map_methods():
    """Registered methods of maps; those of paths keep a contract of their own (test_path_contract.py)."""
    return {kind: method for kind, method in Predictor.classes.items() if not issubclass(method, PathPredictor)}


def configs_in(value):
    """Every config of a whole model in what a recipe returns, also the ones that it can assemble by ``model()``."""
    if isinstance(value, ModelConfig):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from configs_in(getattr(value, name))
        if callable(getattr(type(value), "model", None)):
            yield from configs_in(value.model())
    elif isinstance(value, list | tuple):
        for item in value:
            yield from configs_in(item)


def debug_configs():
    """The debug size of every recipe; else the default config of a kind; the kind alone if it has neither."""
    outside.register()
    sized = [
        recipe
        for name, recipe in inspect.getmembers(recipes, inspect.isfunction)
        if not name.startswith("_")
        and recipe.__module__.startswith(recipes.__name__)
        and list(inspect.signature(recipe).parameters) == ["size"]
    ]
    sized += [recipe for _title, recipe in recipes.METHODS.values()]
    found = list(dict.fromkeys(config for recipe in sized for config in configs_in(recipe("debug"))))
    found = [config for config in found if config.kind in map_methods()]
    for kind, method in sorted(map_methods().items()):
        if kind not in {config.kind for config in found}:
            try:
                found.append(method.Config())
            except ValidationError:
                found.append(kind)
    return found


CONFIGS = debug_configs()


def name_of(config):
    return (
        config if isinstance(config, str) else "-".join([config.kind, *filter(None, [getattr(config, "target", "")])])
    )


def wake(model):
    """Move every weight a little, so that layers that start at zero take part."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


@functools.cache
def trained(config, maps):
    """A model after a few steps on one small batch, and its losses under the same draws before and after."""
    torch.manual_seed(0)
    model = base.build(config)
    model.prepare(batches(maps, 4))
    batch = next(iter(batches(maps, 4)))
    before = loss(model, batch)
    optimizers = {part: torch.optim.AdamW(weights, lr=2e-3) for part, weights in model.parts().items()}
    for _ in range(NUM_STEPS):
        for part, optimizer in optimizers.items():
            optimizer.zero_grad()
            model(batch, part)["loss"].backward()
            optimizer.step()
    after = loss(model, batch)
    return wake(model).eval(), before, after


@torch.no_grad()
def loss(model, batch):
    """Mean loss of every part over the same eight draws of noise."""
    found = {}
    for part in model.parts():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            found[part] = sum(float(model(batch, part)["loss"]) for _ in range(8)) / 8
    return found


@pytest.fixture(params=CONFIGS, ids=name_of)
def config(request):
    if isinstance(request.param, str):
        pytest.fail(f"model kind {request.param!r} has no default config and no recipe with a debug size")
    return request.param


@pytest.fixture
def model(config, maps):
    return trained(config, maps)[0]


def predicts(model, batch):
    """Whether a kind draws maps by itself; one that only learns (an autoencoder) says so by a TypeError."""
    try:
        model.predict(batch.blind(), range(len(batch)))
    except TypeError as error:
        if "predict" not in str(error):
            raise
        return False
    return True


def said(model, batch, seeds):
    """All that a model says of a batch: its predictions, or its losses under fixed draws if it predicts nothing."""
    if predicts(model, batch):
        with torch.no_grad():
            return model.predict_all(batch, seeds)
    return {part: torch.tensor(value) for part, value in loss(model, batch).items()}


def assert_equal(found, wanted, **tolerance):
    assert set(found) == set(wanted)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


def test_every_registered_kind_has_a_debug_size():
    assert {config if isinstance(config, str) else config.kind for config in CONFIGS} == set(map_methods())


def test_builds_small_and_by_its_kind(config):
    model = base.build(config)
    assert type(model) is Predictor.classes[config.kind] and model.config == config
    assert sum(parameter.numel() for parameter in model.parameters()) < 2_000_000


def test_a_run_carries_its_config(config):
    run = Run(name="contract", storage="runs", model=config, data={})
    assert Run.model_validate_json(run.model_dump_json()).model == config


def test_the_loss_falls_on_a_tiny_batch(config, maps):
    model, before, after = trained(config, maps)
    for part in model.parts():
        assert after[part] < 0.97 * before[part], part
    if not model.parts():
        with pytest.raises(TypeError, match="no training loss"):
            model(next(iter(batches(maps, 2))))


def test_maps_of_several_sizes_are_learned_from_together(config, maps):
    """As they come where cells of several sizes are trained on; one batch holds maps of one size."""
    torch.manual_seed(0)
    model = base.build(config)
    whole = next(iter(batches(maps, 4)))
    part = replace(whole, **{name: raster[..., :16, :16] for name, raster in whole.rasters().items()})
    model.prepare([whole, part])
    for name in model.parts():
        assert all(torch.isfinite(model(batch, name)["loss"]) for batch in (whole, part))


def test_the_loss_is_a_finite_number_among_terms_to_log(model, batch):
    for part, weights in model.parts().items():
        terms = model(batch, part)
        assert all(term.shape == () and torch.isfinite(term) for term in terms.values())
        terms["loss"].backward()
        assert all(weight.grad is not None for weight in weights), "DDP waits for gradients of every trained weight"
        model.zero_grad(set_to_none=True)


def test_saves_and_loads_to_equal_predictions(model, batch, tmp_path):
    base.save(model, tmp_path / "model")
    again = base.load(tmp_path / "model")
    assert again.config == model.config and not again.training
    assert_equal(said(again, batch, [3, 1, 4, 1]), said(model, batch, [3, 1, 4, 1]))


def test_a_saved_model_is_readable_by_others_and_named_by_weights_and_settings(tmp_path):
    config = RadioDiff.Config(widths=(32, 32), num_blocks=1, stem=8)
    for name, changes in (("first", {}), ("slow", {"steps": 7})):
        torch.manual_seed(0)
        base.save(base.build(config.model_copy(update=changes)), tmp_path / name, {"name": name})
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    hashes = {name: base.model_hash(tmp_path / name) for name in ("first", "slow", "copy")}
    assert hashes["first"] == hashes["copy"] != hashes["slow"], "how it is sampled is part of what it draws"
    assert base.is_saved(tmp_path / "first", config) and not base.is_saved(tmp_path / "slow", config)
    files = [tmp_path / "first" / name for name in (base.WEIGHTS_FILE, base.CONFIG_FILE)]
    assert files[0].stat().st_mode == files[1].stat().st_mode


def test_predicts_a_map_and_the_floor_inside_footprints(model, batch):
    if not predicts(model, batch):
        pytest.skip("draws no maps by itself")
    for name, image in model.predict_all(batch.blind(), range(4)).items():
        assert image.shape == (4, 1, 32, 32) and image.dtype == torch.float32, name
        assert torch.isfinite(image).all() and image.min() >= -1 and image.max() <= 1, name
        assert (image[~batch.outdoor] == -1).all(), name
        assert image[batch.outdoor].std() > 0, name
    assert torch.equal(model.predict_all(batch.blind(), range(4))["gain"], model.predict(batch.blind(), range(4)))


def test_prediction_does_not_depend_on_what_blind_hides(model, batch):
    if not predicts(model, batch):
        pytest.skip("draws no maps by itself")
    spoiled = replace(
        batch,
        gain=torch.full_like(batch.gain, float("nan")),
        outline=torch.full_like(batch.outline, 1e6),
        valid=~batch.valid,
    )
    wanted = model.predict_all(batch.blind(), range(4))
    assert_equal(model.predict_all(batch, range(4)), wanted)
    assert_equal(model.predict_all(spoiled, range(4)), wanted)


class Spy(MapBatch):
    """A batch that lets nobody look at what is known from the true map."""

    def __getattribute__(self, name):
        value = object.__getattribute__(self, name)
        if name in ("gain", "outline", "valid") and value is not None:
            raise AssertionError(f"looked at batch.{name}")
        return value


def spy_on(batch):
    spy = Spy(cell_m=batch.cell_m, **batch.blind().rasters())
    for name in ("gain", "outline", "valid"):
        object.__setattr__(spy, name, getattr(batch, name))
    return spy


def test_prediction_never_looks_at_the_truth(model, batch):
    spy = spy_on(batch)
    with pytest.raises(AssertionError, match="looked at batch.gain"):
        _ = spy.gain
    if predicts(model, batch):
        assert torch.equal(model.predict(spy, range(4)), model.predict(batch.blind(), range(4)))


def test_a_sample_is_the_same_in_a_batch_of_any_size(model, batch):
    if not predicts(model, batch):
        pytest.skip("draws no maps by itself")
    together = model.predict_all(batch.blind(), [7, 8, 9, 10])
    for index in range(4):
        alone = model.predict_all(batch.blind()[index : index + 1], [7 + index])
        part = {name: image[index : index + 1] for name, image in together.items()}
        assert_equal(alone, part, rtol=0, atol=1e-5)


def test_prediction_leaves_the_global_generator_alone(model, batch):
    if not predicts(model, batch):
        pytest.skip("draws no maps by itself")
    before = torch.get_rng_state()
    first = model.predict(batch.blind(), range(4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    assert torch.equal(model.predict(batch.blind(), range(4)), first)


def test_maps_that_are_not_square_are_predicted_too(model, batch):
    if not predicts(model, batch):
        pytest.skip("draws no maps by itself")
    half = replace(batch.blind(), **{name: raster[..., :16, :] for name, raster in batch.blind().rasters().items()})
    assert model.predict(half, range(4)).shape == (4, 1, 16, 32)


def test_another_cell_size_is_refused_with_both(model, config, batch):
    trained_on = getattr(config, "cell_m", None) or getattr(getattr(config, "map", None), "cell_m", None)
    if not predicts(model, batch) or trained_on is None:
        pytest.skip("works on cells of any size")
    with pytest.raises(ValueError, match=rf"{trained_on:g} m cells.* {2 * trained_on:g} m"):
        model.predict(replace(batch.blind(), cell_m=2 * trained_on), range(4))


def test_network_calls_are_counted(model, batch):
    assert isinstance(model.network_calls, int) and model.network_calls >= 0
    calls, draws_maps = [], predicts(model, batch)
    nets = [module for module in model.modules() if type(module).__name__ == "ConditionalUNet"]
    handles = [net.register_forward_hook(lambda *_: calls.append(1)) for net in nets]
    if draws_maps:
        model.predict(batch.blind(), range(4))
        assert not nets or len(calls) == model.network_calls
    for handle in handles:
        handle.remove()
