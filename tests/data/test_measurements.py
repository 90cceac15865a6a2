"""What is measured: outdoors, as often as asked for, the same for every batch and anew in every epoch."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from raymap import units
from raymap.config import MeasurementsConfig
from raymap.data import schema, sites
from raymap.data.batch import batches, from_columns
from raymap.data.columns import add_physics
from raymap.data.generated import city
from raymap.data.measurements import Measurements, measure
from raymap.data.reader import LoadedMaps
from raymap.propagation import dominant_path
from raymap.scene import Grid


@pytest.fixture(scope="module")
def columns():
    """Two towns with two transmitters each, 32 x 32 cells of 8 m."""
    rows = []
    for seed in range(2):
        scene = city(seed, Grid((32, 32), 8.0))
        for index, transmitter in enumerate(sites.place(scene, 2, seed)):
            rows.append(schema.row(scene, index, transmitter, dominant_path.solve(scene, transmitter)))
    return add_physics(schema.to_columns(schema.to_table(rows)))


def test_what_is_measured_is_the_true_gain_of_outdoor_cells(columns):
    found = measure(columns, MeasurementsConfig(rates=(0.1, 0.1)), seed=0)
    sampled, valid = found["sampled"], columns["valid"] == 1
    assert not (sampled & ~valid).any()
    assert np.array_equal(found["samples_db"][sampled], columns["gain_db"][sampled])
    assert (found["samples_db"][~sampled] == units.GAIN_FLOOR_DB).all()
    assert sampled.sum(axis=(1, 2)).tolist() == [round(0.1 * count) for count in valid.sum(axis=(1, 2))]


def test_rates_are_drawn_between_the_bounds_and_never_give_nothing(columns):
    many = {name: np.repeat(values, 50, axis=0) for name, values in columns.items()} | {"tx_id": np.arange(200)}
    drawn = measure(many, MeasurementsConfig(rates=(0.001, 0.1)), seed=0)["sampled"].sum(axis=(1, 2))
    outdoor = (many["valid"] == 1).sum(axis=(1, 2))
    assert drawn.min() == 1 and (drawn <= np.ceil(0.1 * outdoor)).all()
    assert 0.35 < (drawn < 0.01 * outdoor).mean() < 0.65, "half of a log-uniform share is below its geometric mean"


def test_a_map_is_measured_alike_in_any_batch_and_anew_with_another_seed(columns):
    config = MeasurementsConfig(rates=(0.01, 0.1))
    whole = measure(columns, config, seed=0)["sampled"]
    alone = measure({name: values[3:] for name, values in columns.items()}, config, seed=0)["sampled"]
    assert np.array_equal(alone[0], whole[3])
    assert not np.array_equal(measure(columns, config, seed=1)["sampled"], whole)
    assert not np.array_equal(whole[0], whole[1]), "two transmitters of a scene"


def test_noise_has_the_deviation_asked_for(columns):
    exact = measure(columns, MeasurementsConfig(rates=(0.5, 0.5)), seed=0)
    noisy = measure(columns, MeasurementsConfig(rates=(0.5, 0.5), noise_db=3.0), seed=0)
    error_db = (noisy["samples_db"] - exact["samples_db"])[exact["sampled"]]
    assert np.array_equal(noisy["sampled"], exact["sampled"])
    assert abs(error_db.mean()) < 0.3 and error_db.std() == pytest.approx(3.0, rel=0.1)


def test_a_map_without_outdoor_cells_is_named(columns):
    indoors = {**columns, "valid": np.zeros_like(columns["valid"])}
    with pytest.raises(ValueError, match=f"nothing to measure on {columns['scene'][0]}, transmitter 0"):
        measure(indoors, MeasurementsConfig(), seed=0)


@pytest.mark.parametrize("rates", [(0.0, 0.1), (0.2, 0.1), (0.5, 1.5)])
def test_rates_that_are_no_shares_are_refused(rates):
    with pytest.raises(ValidationError, match="0 < least <= highest <= 1"):
        MeasurementsConfig(rates=rates)


def test_networks_see_a_mask_and_gains_that_a_gap_cannot_be_mistaken_for(columns):
    found = measure(columns, MeasurementsConfig(), seed=0)
    batch = from_columns(found)
    sampled = torch.from_numpy(found["sampled"])[:, None]
    assert torch.equal(batch.sampled > 0, sampled) and (batch.samples[~sampled] == 0).all()
    wanted_db = torch.from_numpy(found["samples_db"])[:, None]
    torch.testing.assert_close(units.gain_db_from_signal(batch.samples)[sampled], wanted_db[sampled], rtol=0, atol=1e-3)
    assert torch.equal(batch.blind().stack(["samples", "sampled"]), torch.cat([batch.samples, batch.sampled], dim=1))
    with pytest.raises(ValueError, match="this batch carries no 'samples': this model needs measurements"):
        from_columns(columns).stack(["samples"])


def test_batches_measure_anew_in_every_epoch_and_the_same_without_one(columns):
    maps, config = LoadedMaps(measure(columns, MeasurementsConfig(), seed=0)), MeasurementsConfig()

    def measured(**options):
        return next(iter(batches(maps, 4, measurements=config, **options))).sampled

    assert torch.equal(measured(), next(iter(batches(maps, 4))).sampled), "validation sees what scores will see"
    first, again, other = (measured(shuffle_seed=seed).sum() for seed in (1, 1, 2))
    assert first == again != other


def test_measurements_that_stay_are_those_of_scores_in_every_epoch(columns):
    config = MeasurementsConfig(redraw=False)
    scored = from_columns(measure(columns, config, seed=0)).sampled.flatten(1)
    for epoch in (1, 2):
        found = next(iter(batches(LoadedMaps(columns), 4, measurements=config, shuffle_seed=epoch))).sampled
        assert sorted(map(tuple, found.flatten(1).tolist())) == sorted(map(tuple, scored.tolist()))


def test_measurements_fall_into_cells_and_share_them():
    scene = city(0, Grid((32, 32), 8.0))
    row, column = np.argwhere(scene.outdoor)[5]
    corner = np.array([column, row]) * 8.0
    here = Measurements(np.add(corner, [[1.0, 1.0], [7.0, 5.0]]), [-80.0, -90.0])
    samples_db, sampled = here.raster(scene)
    assert sampled.sum() == 1 and sampled[row, column] and samples_db[row, column] == -85.0


@pytest.mark.parametrize(
    ("xy_m", "gain_db", "message"),
    [
        ([[300.0, 4.0]], [-80.0], r"the measurement at \(300, 4\) m is outside"),
        ([[-1.0, 4.0]], [-80.0], r"the measurement at \(-1, 4\) m is outside"),
        ([[4.0, 4.0]], [np.nan], "gain_db must be finite, got nan"),
        ([4.0, 4.0], [-80.0], r"xy_m \(N, 2\) and gain_db \(N,\), got shapes \(2,\) and \(1,\)"),
    ],
)
def test_measurements_that_cannot_be_are_refused(xy_m, gain_db, message):
    with pytest.raises(ValueError, match=message):
        Measurements(xy_m, gain_db).raster(city(0, Grid((32, 32), 8.0)))


def test_a_measurement_inside_a_building_is_refused():
    scene = city(0, Grid((32, 32), 8.0))
    row, column = np.argwhere(~scene.outdoor)[0]
    inside = Measurements([[8.0 * column + 4.0, 8.0 * row + 4.0]], [-80.0])
    with pytest.raises(ValueError, match="is inside a building; receivers are outdoors"):
        inside.raster(scene)
