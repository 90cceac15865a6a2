"""RadioDiff-k², RadioDiff, and a regression of the same body, inputs and budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raymap.config import DataConfig, OptimConfig, Stage, WorkersConfig
from raymap.data import sources
from raymap.models.cell_law import OF_A_CELL, CellLaw
from raymap.models.radiodiff import RadioDiff
from raymap.models.regression import Regression
from raymap.models.vae import Vae
from raymap.recipes.sizes import Size
from raymap.runtime.method import K2Job, LatentJob, MethodJob

ENVIRONMENT = ("building", "vehicle", "tx")
PHYSICS = (
    "line_of_sight", "log_distance", "bearing", "openness", "crossed", "thickness", "shadow", "detour", "soft_detour",
    "turning", "roof_loss", "roof_cascade", "roof_rise", "roof_fall", "vehicle_thickness",
)  # fmt: skip


def _stages(
    autoencoder: Vae.Config,
    diffusion: dict,
    optim: dict[str, OptimConfig],
    inputs: tuple[str, ...] = ENVIRONMENT + PHYSICS,
) -> dict[str, Stage]:
    """The three stages from one autoencoder and one set of diffusion settings."""
    shared = {"autoencoder": autoencoder, "law": law_of(inputs), **diffusion}
    outline = RadioDiff.Config(target="outline", inputs=inputs, **shared)
    inputs_of_map = (*inputs, "outline_predicted")
    gain = RadioDiff.Config(target="gain", inputs=inputs_of_map, **shared)
    return {
        "autoencoder": Stage[Vae.Config](model=autoencoder, optim=optim["autoencoder"]),
        "outline": Stage[RadioDiff.Config](model=outline, optim=optim["outline"]),
        "map": Stage[RadioDiff.Config](model=gain, optim=optim["map"]),
    }


def law_of(inputs: Sequence[str], **settings: int) -> CellLaw.Config | None:
    """The law that the physics among ``inputs`` allow, None without any; ``settings`` of :class:`CellLaw.Config`."""
    of_a_cell = tuple(name for name in inputs if name in OF_A_CELL and name not in ENVIRONMENT)
    return CellLaw.Config(inputs=of_a_cell, **settings) if of_a_cell else None


def _debug() -> K2Job:
    quick = OptimConfig(num_steps=6, learning_rate=2e-3, warmup_steps=2, checkpoint_every=3, log_every=2, ema_decay=0.5)
    quick_law = law_of(PHYSICS, num_steps=10, cells_per_step=256)
    stages = _stages(
        Vae.Config(channels=(16, 32), latent_channels=4),
        {"widths": (32, 32), "num_blocks": 1, "stem": 16, "steps": 2, "cell_m": 8.0, "law": quick_law},
        {"autoencoder": quick, "outline": quick, "map": quick},
    )
    data = DataConfig(batch_size=4)
    return K2Job(name="debug", data=data, plan=sources.plan("debug"), **stages)


def _demo() -> K2Job:
    def optim(num_steps: int) -> OptimConfig:
        return OptimConfig(
            num_steps=num_steps,
            learning_rate=2e-3,
            warmup_steps=min(50, num_steps // 3),
            checkpoint_every=num_steps // 3,
        )

    stages = _stages(
        Vae.Config(channels=(16, 32), latent_channels=8),
        # One call draws the mean, which squared error and a tolerant outline reward; more calls add noise. Where a law
        # is the start, the mean over mirrored views takes nothing away.
        {"widths": (64, 128, 96), "num_blocks": 1, "steps": 1},
        {"autoencoder": optim(45), "outline": optim(150), "map": optim(850)},
    )
    data = DataConfig(batch_size=24)
    return K2Job(name="demo", data=data, plan=sources.plan("demo"), workers=WorkersConfig(num=2), **stages)


def _small() -> K2Job:
    demo = _demo()

    def longer(stage: Stage, num_steps: int) -> Stage:
        changes = {
            "num_steps": num_steps,
            "warmup_steps": 100,
            "ema_decay": 0.999,
            "checkpoint_every": num_steps // 10,
        }
        return stage.model_copy(update={"optim": stage.optim.model_copy(update=changes)})

    return demo.model_copy(
        update={
            "name": "small",
            "plan": sources.plan("small"),
            "autoencoder": longer(demo.autoencoder, 200),
            "outline": longer(demo.outline, 500),
            "map": longer(demo.map, 2300),
        }
    )


def _full() -> K2Job:
    def optim(num_steps: int, learning_rate: float) -> OptimConfig:
        return OptimConfig(
            num_steps=num_steps, learning_rate=learning_rate, warmup_steps=500, ema_decay=0.9995, checkpoint_every=1000
        )

    stages = _stages(
        Vae.Config(channels=(64, 128), layers_per_block=2, latent_channels=8),
        {"widths": (128, 192, 256, 256), "stem": 64, "cell_m": 1.0},
        {"autoencoder": optim(30_000, 5e-4), "outline": optim(30_000, 3e-4), "map": optim(60_000, 3e-4)},
    )
    data = DataConfig(batch_size=64, materialize=False)
    return K2Job(
        name="full",
        data=data,
        plan=sources.plan("full"),
        workers=WorkersConfig(num=1, cpus_each=4, gpus_each=1),
        **stages,
    )


def _paper() -> K2Job:
    """RadioDiff-k² §V-A: 256x256, latent 64x64x4, AdamW 5e-5 to 5e-6 by a cosine, batch 64, no physics channels."""

    def optim(num_steps: int, clip_norm: float = 1.0) -> OptimConfig:
        return OptimConfig(
            num_steps=num_steps, learning_rate=5e-5, final_learning_rate=5e-6, weight_decay=1e-4, clip_norm=clip_norm,
            warmup_steps=0, ema_decay=0.999, precision="fp32", checkpoint_every=1000,
        )  # fmt: skip

    stages = _stages(
        Vae.Config(
            channels=(128, 256, 512), layers_per_block=2, latent_channels=4, patch=1, linear=False, complete=False
        ),
        {
            "widths": (128, 256, 512, 512),
            "stem": 128,
            "cell_m": 1.0,
            "weighting": "plain",
            "times": "uniform",
            "fade": False,
            "outdoor_only": False,
            "steps": 4,
            "stochastic": True,
        },
        {"autoencoder": optim(150_000), "outline": optim(80_000), "map": optim(80_000)},
        inputs=ENVIRONMENT,
    )
    data = DataConfig(batch_size=64, materialize=False)
    return K2Job(
        name="paper",
        data=data,
        plan=sources.plan("full"),
        workers=WorkersConfig(num=4, cpus_each=4, gpus_each=1),
        warm_start=False,
        **stages,
    )


K2_SIZES: dict[str, Callable[[], K2Job]] = {
    "debug": _debug,
    "demo": _demo,
    "small": _small,
    "full": _full,
    "paper": _paper,
}


def k2(size: Size) -> K2Job:
    """RadioDiff-k² at a size. Raises ValueError for an unknown one."""
    if size not in K2_SIZES:
        raise ValueError(f"unknown size {size!r}; allowed: {', '.join(K2_SIZES)}")
    return K2_SIZES[size]()


def radiodiff(size: Size) -> LatentJob:
    """RadioDiff as published, with K2's networks and budget: buildings, vehicles and transmitter, nothing else.

    DM1's steps go to the one stage there is. But for the paper's own size it predicts the mean over four mirrored
    views, which helps it and does nothing for K2. Raises ValueError for an unknown size.
    """
    whole = k2(size)
    changes = {"inputs": ENVIRONMENT, "law": None, "views": 1 if size == "paper" else 4}
    model = whole.map.model.model_copy(update=changes)
    stage = Stage[RadioDiff.Config](model=model, optim=both_budgets(whole))
    return LatentJob(autoencoder=whole.autoencoder, map=stage, **taken_over(whole, "radiodiff"))


def regression(size: Size) -> MethodJob[Regression.Config]:
    """K2's body, inputs and budget without diffusion, outline or autoencoder. Raises ValueError for an unknown size."""
    whole = k2(size)
    body = whole.map.model
    shared = body.model_dump(include={"cell_m", "widths", "num_blocks", "stem", "views"})
    model = Regression.Config(
        inputs=whole.outline.model.inputs, law=body.law, patch=_patch(whole.autoencoder.model), **shared
    )
    stage = Stage[Regression.Config](model=model, optim=both_budgets(whole))
    return MethodJob[Regression.Config](map=stage, **taken_over(whole, "regression"))


def both_budgets(whole: K2Job) -> OptimConfig:
    """DM2's training, as long as DM1's and DM2's together."""
    num_steps = whole.outline.optim.num_steps + whole.map.optim.num_steps
    return whole.map.optim.model_copy(update={"num_steps": num_steps})


def _patch(autoencoder: Vae.Config) -> int:
    return autoencoder.patch * 2 ** (len(autoencoder.channels) - 1)


def taken_over(whole: K2Job, method: str) -> dict:
    """What another method takes over from K2's job of the same size; the dataset lies where K2's does."""
    data = whole.data.model_copy(update={"folder": whole.data.folder or f"{whole.storage}/{whole.name}/data"})
    return {"name": f"{whole.name}-{method}", "data": data, "plan": whole.plan, "workers": whole.workers}
