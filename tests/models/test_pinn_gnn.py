from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from raymap.data.path_table import PathTable
from raymap.data.point_batch import PointBatch
from raymap.models import path_losses
from raymap.models.pinn_gnn import PinnGnn
from raymap.propagation import meshes
from raymap.recipes.pinn_gnn import PATH_METHODS, PUBLISHED

OURS = PinnGnn.Config(num_paths=2)
VARIANTS = {name: config for name, (_title, config) in PATH_METHODS.items() if isinstance(config, PinnGnn.Config)}


def room(num=60, seed=0):
    """Line of sight and one mirror image in an empty room of 10 x 10 m, at random places."""
    rng = np.random.default_rng(seed)
    transmitter_m = np.array([3.0, 4.0, 2.5])
    receivers_m = np.column_stack([rng.uniform(0, 10, (num, 2)), np.full(num, 1.0)])
    sources_m = np.stack([transmitter_m, transmitter_m * [-1, 1, 1]])
    ray_m = sources_m[None] - receivers_m[:, None]
    length_m = np.linalg.norm(ray_m, axis=-1)
    power_db = -40.0 - 20 * np.log10(length_m) - np.array([0.0, 6.0])
    return PathTable(
        receivers_m, transmitter_m, 2.4e9, power_db=power_db, delay_s=length_m / 299_792_458.0,
        zenith_rad=np.arccos(ray_m[..., 2] / length_m), azimuth_rad=np.arctan2(ray_m[..., 1], ray_m[..., 0]),
        kind=np.tile([0, 1], (num, 1)), valid=np.ones((num, 2), bool), surroundings=meshes.room(),
    )  # fmt: skip


def batch(wrong_kinds=False):
    """The room; with ``wrong_kinds`` its mirror image is said to be scattered, which misleads virtual sources."""
    table = room()
    table = replace(table, kind=2 * table.kind) if wrong_kinds else table
    return PointBatch(table.take(np.arange(48)), table.take(np.arange(48, 60)))


def trained(config, num_steps=60):
    """A model after so many steps of all its parts on one batch, and its losses before and after, by part."""
    torch.manual_seed(0)
    model, data = PinnGnn(config), batch(wrong_kinds=True)
    model.prepare([data])
    steps = {part: torch.optim.Adam(parameters, 3e-3) for part, parameters in model.parts().items()}
    losses = {part: [] for part in steps}
    for _ in range(num_steps):
        for part, optimizer in steps.items():
            optimizer.zero_grad()
            loss = model(data, part)["loss"]
            loss.backward()
            optimizer.step()
            losses[part].append(loss.item())
    return model.eval(), losses


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_loss_falls_and_every_weight_learns(name):
    config = VARIANTS[name].model_copy(update={"num_paths": 2, "dropout": 0.0, "num_layers": 2})
    model, losses = trained(config)
    assert set(losses) == {"both": {"pinn", "gnn"}, "pinn": {"pinn"}, "gnn": {"gnn"}}[config.network]
    for part, values in losses.items():
        assert np.mean(values[-5:]) < 0.8 * values[0], (part, values[0], values[-1])
    assert len({name for name, _ in model.named_parameters()}) == sum(map(len, model.parts().values()))


def test_an_untrained_network_tells_what_it_corrects():
    model = PinnGnn(OURS.model_copy(update={"around": "pinn", "network": "gnn"}))
    data = batch()
    model.prepare([data])
    told = model.eval().complete(data.measured, data.asked.receivers_m)
    # Without a PINN or sources that is the mean over what is measured.
    assert np.allclose(told.power_db, data.measured.power_db.mean(axis=0), atol=1e-3)
    # A loss of 1 is what is corrected, uncorrected.
    assert model(data, "gnn")["loss"].item() == pytest.approx(1.0, rel=1e-4)


def test_what_is_not_known_asks_for_nothing():
    data = batch()
    model = PinnGnn(PUBLISHED.model_copy(update={"num_paths": 2, "dropout": 0.0}))
    model.prepare([data])
    values = data.asked.values.copy()
    values[:, 1, 1:] = np.nan
    table = PathTable.from_values(data.asked, data.asked.receivers_m, values, kind=data.asked.kind)
    unknown = PointBatch(data.measured, table)
    for part in model.parts():
        loss = model(unknown, part)["loss"]
        loss.backward()
        assert torch.isfinite(loss) and all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parts()[part])
    before = model(unknown, "gnn")["loss"].item()
    values[:, 0, 0] -= 10.0
    worse = PathTable.from_values(data.asked, data.asked.receivers_m, values, kind=data.asked.kind)
    assert model(PointBatch(data.measured, worse), "gnn")["loss"].item() > before


def test_azimuths_are_corrected_the_short_way_round():
    table = batch().asked
    told = torch.from_numpy(table.values.astype(np.float32)) * torch.tensor([1.0, 1e9, 57.29578, 57.29578])
    told[..., 3] += 350.0
    error, known = path_losses.error(told, table)
    assert known.all()
    torch.testing.assert_close(error[..., 3], torch.full_like(error[..., 3], -10.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(error[..., :3], torch.zeros_like(error[..., :3]), atol=1e-2, rtol=0)


def test_physics_and_kinds_weigh_more_as_training_goes_on():
    data = batch()
    model = PinnGnn(PUBLISHED.model_copy(update={"num_paths": 2, "dropout": 0.0}))
    model.prepare([data])
    first, last = (model(PointBatch(data.measured, data.asked, share), "pinn") for share in (0.0, 1.0))
    physics = first["power"] + first["delay"] + first["angles"] + first["consistency"]
    assert last["loss"].item() == pytest.approx(
        (first["loss"] + 0.45 * physics + 0.25 * first["kinds"]).item(), rel=1e-5
    )


def test_another_number_of_paths_is_refused():
    data = batch()
    with pytest.raises(ValueError, match="2 paths of a receiver are measured; this model was made for 5"):
        PinnGnn(PUBLISHED).complete(data.measured, data.asked.receivers_m)


def test_a_pinn_alone_corrects_nothing():
    with pytest.raises(ValidationError, match='around must be "pinn"'):
        PinnGnn.Config(network="pinn")


def test_kinds_that_are_not_known_are_told_by_physical_rules():
    table = room()
    hidden = replace(table, kind=np.full_like(table.kind, -1))
    # A line of sight and a mirror image are what the rules take them for.
    assert torch.equal(path_losses.kinds(hidden), path_losses.kinds(table)) and set(table.kind[0]) == {0, 1}
    kept = replace(table, kind=np.full_like(table.kind, 2))
    assert (path_losses.kinds(kept) == 2).all()
