"""fit's door: settings of a run that is already there, workers and batches that do not fit, the schedule."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from raymap import recipes
from raymap.config import DataConfig, OptimConfig, WorkersConfig
from raymap.data.batch import from_scenes
from raymap.models.radiodiff import RadioDiff
from raymap.runtime.feeds import stream_options
from raymap.runtime.train import _claim, folder_of
from raymap.runtime.trainer import Trainer, _warm_average
from raymap.scene import Grid, Scene, Transmitter


def run(storage, **changes):
    job = recipes.k2("debug").model_copy(update={"storage": str(storage)})
    return job.run("autoencoder", **{"data": DataConfig(folder=str(storage), batch_size=4), **changes})


def test_a_folder_with_other_settings_is_refused_by_the_name_of_the_first_difference(tmp_path):
    _claim(folder_of(run(tmp_path)), run(tmp_path))
    with pytest.raises(ValueError, match=r"started with other settings: seed was 0, now 7"):
        _claim(folder_of(run(tmp_path)), run(tmp_path, seed=7))
    settings = json.loads((folder_of(run(tmp_path)) / "settings.json").read_text())
    assert settings["seed"] == 0, "a refused run must not overwrite the settings that are there"


def test_the_number_of_workers_may_change_between_runs(tmp_path):
    _claim(folder_of(run(tmp_path)), run(tmp_path))
    _claim(folder_of(run(tmp_path)), run(tmp_path, workers=WorkersConfig(num=3)))
    settings = json.loads((folder_of(run(tmp_path)) / "settings.json").read_text())
    assert "workers" not in settings and settings["seed"] == 0


def test_a_batch_that_workers_cannot_share_is_refused(tmp_path):
    with pytest.raises(ValueError, match="batch_size 4 must be a multiple of the 3 workers"):
        Trainer(run(tmp_path), rank=0, world=3)


def test_the_rate_warms_up_peaks_and_ends_where_it_should(tmp_path):
    optim = OptimConfig(num_steps=100, warmup_steps=10, learning_rate=1e-3, final_learning_rate=1e-5)
    trainer = Trainer(run(tmp_path, optim=optim), rank=0, world=1)
    rates = [trainer.learning_rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-3)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(1e-5)
    assert rates[55] == pytest.approx((1e-3 + 1e-5) / 2)


def test_the_average_forgets_its_start_and_then_remembers_by_the_decay():
    update = _warm_average(0.9)
    averaged = [torch.zeros(1)]
    update(averaged, [torch.ones(1)], torch.tensor(0))
    assert averaged[0].item() == pytest.approx(0.9), "one tenth of the first weights is left after one update"
    averaged = [torch.zeros(1)]
    update(averaged, [torch.ones(1)], torch.tensor(10_000))
    assert averaged[0].item() == pytest.approx(0.1)


def test_a_run_from_before_a_setting_existed_goes_on_with_its_default(tmp_path):
    folder = folder_of(run(tmp_path))
    _claim(folder, run(tmp_path))
    settings = json.loads((folder / "settings.json").read_text())
    del settings["data"]["coarsen"]
    (folder / "settings.json").write_text(json.dumps(settings))
    _claim(folder, run(tmp_path))
    (folder / "settings.json").write_text(json.dumps(settings))
    other = run(tmp_path, data=DataConfig(folder=str(tmp_path), batch_size=4, coarsen=(1, 2)))
    with pytest.raises(ValueError, match="other settings: data was"):
        _claim(folder, other)


def test_a_stage_that_does_not_read_the_dominant_path_map_does_not_wait_for_it(tmp_path):
    data = DataConfig(folder=str(tmp_path), dominant_path=True)
    assert not stream_options(run(tmp_path, data=data), tmp_path)["dominant_path"]
    reading = RadioDiff.Config(inputs=("building", "dominant_path"))
    assert stream_options(run(tmp_path, data=data, model=reading), tmp_path)["dominant_path"]


@pytest.fixture
def alone():
    """A process group of this process: data parallel training without another worker."""
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    yield
    torch.distributed.destroy_process_group()


def test_two_parts_take_turns_under_data_parallel(tmp_path, alone):
    """The loss of a critic leaves the generator's weights without a gradient, and the other way round."""
    job = recipes.rmegan("debug").model_copy(update={"storage": str(tmp_path)})
    trainer = Trainer(job.run("first"), rank=0, world=2)
    trainer.wrap()
    building_m = np.zeros((32, 32), np.float32)
    building_m[4:10, 4:10] = 10
    seen = from_scenes([Scene("block", Grid((32, 32), 8.0), building_m)] * 2, [Transmitter((100.0, 100.0, 1.5))] * 2)
    batch = replace(seen, gain=torch.where(seen.outdoor, seen.log_distance, -1.0), valid=seen.outdoor)
    before = {part: [weight.detach().clone() for weight in weights] for part, weights in trainer.model.parts().items()}
    for _ in range(2):
        trainer.one_step(batch)
    for part, weights in trainer.model.parts().items():
        assert not any(torch.equal(*pair) for pair in zip(before[part], weights, strict=True)), part
