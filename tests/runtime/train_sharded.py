"""Processes that train the debug autoencoder on fixed maps, by DDP or cut over all of them, and keep checkpoints.

Usage: train_sharded.py FOLDER. Writes the last checkpoint of each training as FOLDER/NAME.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from raymap import recipes
from raymap.config import DataConfig, OptimConfig, WorkersConfig
from raymap.data.batch import from_scenes
from raymap.runtime import sharded
from raymap.runtime import trainer as trainer_module
from raymap.runtime.trainer import Trainer
from raymap.scene import Grid, Scene, Transmitter

BATCH, NUM_STEPS = 4, 40


def batch(step, rank, world):
    """A worker's share of a step's maps, which are the same for any number of workers."""
    scenes = []
    for number in range(BATCH):
        rng = np.random.default_rng((step, number))
        building_m = np.zeros((32, 32), np.float32)
        building_m[rng.integers(2, 12) : rng.integers(14, 20), 4:10] = 10
        scenes.append(Scene("block", Grid((32, 32), 8.0), building_m))
    mine = scenes[rank * BATCH // world : (rank + 1) * BATCH // world]
    seen = from_scenes(mine, [Transmitter((200.0, 200.0, 1.5))] * len(mine))
    gain = torch.where(seen.outdoor, seen.log_distance, -1.0)
    return replace(seen, gain=gain, outline=-gain, valid=seen.outdoor)


def started(folder, rank, world, is_sharded=False, begin_at=None):
    job = recipes.k2("debug").model_copy(update={"storage": str(folder)})
    run = job.run(
        "autoencoder", data=DataConfig(batch_size=BATCH, augment=False),
        optim=OptimConfig(num_steps=NUM_STEPS, learning_rate=1e-3, warmup_steps=1, precision="fp32", ema_decay=0.5),
        workers=WorkersConfig(num=world, sharded=is_sharded),
    )  # fmt: skip
    trainer = Trainer(run, rank, world)
    if rank:
        # What is not rank 0's must not matter.
        torch.nn.init.ones_(next(trainer.model.parameters()))
    if begin_at is not None:
        trainer.restore(begin_at)
    trainer.wrap()
    return trainer


def curve(folder, rank, world):
    """Loss of every step, the mean over the workers."""
    trainer, losses = started(folder, rank, world), []
    while trainer.step < NUM_STEPS:
        loss = trainer.one_step(batch(trainer.step, rank, world))["loss"]
        if world > 1:
            torch.distributed.all_reduce(loss)
        losses.append(float(loss) / world)
    if rank == 0:
        (folder / f"losses{world}.json").write_text(json.dumps(losses))


def train(folder, rank, num_steps, is_sharded=False, begin_at=None):
    """Two workers; keeps a checkpoint."""
    trainer = started(folder, rank, 2, is_sharded, begin_at)
    while trainer.step < num_steps:
        trainer.one_step(batch(trainer.step, rank, 2))
    trainer.report = lambda metrics, written: written and shutil.copytree(written, folder)
    trainer.checkpoint({"step": trainer.step})
    return sum(tensor.numel() for tensor in sharded.local(trainer.model.parameters()))


def together(rank, world, folder):
    torch.set_num_threads(1)
    # DDP sends gradients in half precision here, which turns the sign of some that are nearly zero.
    trainer_module.fp16_compress_hook = allreduce_hook
    meet = f"file://{folder}/meet{world}"
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=world)
    curve(folder, rank, world)
    if world == 2:
        whole = train(folder / "ddp", rank, 4)
        part = train(folder / "sharded", rank, 2, is_sharded=True)
        torch.distributed.barrier()
        train(folder / "sharded_on", rank, 4, is_sharded=True, begin_at=folder / "sharded")
        train(folder / "ddp_on", rank, 4, begin_at=folder / "sharded")
        if rank == 0:
            (folder / "held.txt").write_text(f"{whole} {part}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    curve(folder, 0, 1)
    for world in (2, 4):
        torch.multiprocessing.spawn(together, (world, folder), world)
