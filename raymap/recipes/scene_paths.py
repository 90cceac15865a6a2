"""Paths learned across scenes: ours, beyond PINN-GNN, which learns every scene anew."""

from __future__ import annotations

from raymap.config import OptimConfig, PointsConfig, PointsScene, Run, WorkersConfig
from raymap.models.scene_paths import ScenePaths
from raymap.recipes.sizes import Size

TITLE = "Learned from other scenes"


def scene_paths(
    scenes: tuple[PointsScene, ...], unseen: tuple[PointsScene, ...], storage: str, size: Size = "small",
    num_paths: int = 5, num_workers: int = 1,
) -> Run:  # fmt: skip
    """A training on ``scenes``, of which that checkpoint is kept that tells ``unseen`` best, with nothing measured."""
    debug = size == "debug"
    return Run(
        name="scene_paths", storage=storage,
        model=ScenePaths.Config(num_paths=num_paths, **{"width": 8, "num_layers": 1} if debug else {}),
        data=PointsConfig(scenes=scenes, unseen=unseen, batch_size=1024, hidden=0.5),
        optim=OptimConfig(
            num_steps=6 if debug else 1200, learning_rate=1e-3, final_learning_rate=0.0,
            warmup_steps=2 if debug else 50, weight_decay=0.05, ema_decay=0.99, precision="fp32",
            checkpoint_every=3 if debug else 100, keep="best",
        ),
        workers=WorkersConfig(num=num_workers),
    )  # fmt: skip
