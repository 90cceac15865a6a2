"""Two processes that train the debug autoencoder on fixed maps, by DDP or cut over both, and keep checkpoints.

Usage: train_sharded.py FOLDER. Writes FOLDER/NAME/step_N for several NAMEs.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from raymap import recipes
from raymap.config import OptimConfig, WorkersConfig
from raymap.data.columns import from_scenes
from raymap.runtime import sharded
from raymap.runtime import trainer as trainer_module
from raymap.runtime.trainer import Trainer
from raymap.scene import Grid, Scene, Transmitter


def batch(seed):
    rng = np.random.default_rng(seed)
    building_m = np.zeros((32, 32), np.float32)
    building_m[rng.integers(2, 12) : rng.integers(14, 20), 4:10] = 10
    seen = from_scenes([Scene("block", Grid((32, 32), 8.0), building_m)] * 2, [Transmitter((200.0, 200.0, 1.5))] * 2)
    gain = torch.where(seen.outdoor, seen.log_distance, -1.0)
    return replace(seen, gain=gain, outline=-gain, valid=seen.outdoor)


def train(folder, rank, is_sharded, num_steps, begin_at=None):
    job = recipes.k2("debug").model_copy(update={"storage": str(folder)})
    optim = OptimConfig(num_steps=8, learning_rate=1e-3, warmup_steps=1, precision="fp32", ema_decay=0.5)
    trainer = Trainer(job.run("autoencoder", optim=optim, workers=WorkersConfig(num=2, sharded=is_sharded)), rank, 2)
    if rank:
        # What is not rank 0's must not matter.
        torch.nn.init.ones_(next(trainer.model.parameters()))
    if begin_at is not None:
        trainer.restore(begin_at)
    trainer.wrap()
    while trainer.step < num_steps:
        trainer.one_step(batch(2 * trainer.step + rank))
    trainer.feed.val = None
    trainer.report = lambda metrics, written: written and shutil.copytree(written, folder)
    held = sum(tensor.numel() for tensor in sharded.local(trainer.model.parameters()))
    trainer.checkpoint({"step": trainer.step})
    return held


def main(rank, folder):
    # DDP sends gradients in half precision here, which turns the sign of some that are nearly zero.
    trainer_module.fp16_compress_hook = allreduce_hook
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    whole = train(folder / "ddp", rank, False, 4)
    part = train(folder / "sharded", rank, True, 2)
    torch.distributed.barrier()
    train(folder / "sharded_on", rank, True, 4, folder / "sharded")
    train(folder / "ddp_on", rank, False, 4, folder / "sharded")
    if rank == 0:
        (folder / "held.txt").write_text(f"{whole} {part}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.spawn(main, (Path(sys.argv[1]),), 2)
