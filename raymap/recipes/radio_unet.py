"""RadioUNet by its curriculum, with the inputs and the budget of RadioDiff as published."""

from __future__ import annotations

from pathlib import Path

from raymap.config import DataConfig, OptimConfig, Run, Stage, WorkersConfig
from raymap.models import base
from raymap.models.radiounet import RadioUNet
from raymap.recipes.radiodiff_k2 import ENVIRONMENT, both_budgets, k2, taken_over
from raymap.recipes.sizes import Size
from raymap.runtime.method import CurriculumJob

#: Size -> scale of the paper's widths; half of them make nets of the size of K2's, which two cores can train.
_SCALES: dict[Size, float] = {"debug": 0.25, "demo": 0.5, "small": 0.5, "full": 1.0, "paper": 1.0}
#: Of the paper: 501 towns of 80 transmitters, 15 maps a step, 50 passes for each net.
_STEPS_PER_EPOCH = 501 * 80 // 15


def radiounet(size: Size) -> CurriculumJob[RadioUNet.Config]:
    """RadioUNet at a size: half of K2's steps for the first net, half for the second.

    Raises ValueError for an unknown size.
    """
    whole = k2(size)
    model = RadioUNet.Config(inputs=ENVIRONMENT, cell_m=whole.map.model.cell_m, scale=_SCALES[size])
    shared, optim = taken_over(whole, "radiounet"), both_budgets(whole)
    optim = optim.model_copy(update={"num_steps": optim.num_steps // 2})
    if size == "paper":
        model = model.model_copy(update={"outdoor_only": False})
        data = shared["data"].model_copy(update={"batch_size": 15, "augment": False})
        shared |= {"data": data, "workers": WorkersConfig(num=1, cpus_each=4, gpus_each=1)}
        optim = _paper_optim()
    first = model.model_copy(update={"nets": "first"})
    return CurriculumJob[RadioUNet.Config](
        first=Stage[RadioUNet.Config](model=first, optim=optim),
        map=Stage[RadioUNet.Config](model=model, optim=optim),
        **shared,
    )


def _paper_optim() -> OptimConfig:
    """Adam at 1e-4, a tenth of it at the end: by the house's cosine, where the paper steps down after 30 of 50 epochs.

    Two more things are the house's: gradients are clipped, and the last weights are kept, not those of the best epoch.
    """
    return OptimConfig(
        num_steps=50 * _STEPS_PER_EPOCH, learning_rate=1e-4, final_learning_rate=1e-5, weight_decay=0.0,
        warmup_steps=0, ema_decay=0.0, precision="fp32", checkpoint_every=_STEPS_PER_EPOCH,
    )  # fmt: skip


def sparse_finetune(trained: str | Path, data: DataConfig, **run: object) -> Run[RadioUNet.Config]:
    """The paper's third training: the second net of a ``trained`` model goes on with maps known in few places only.

    ``trained``: folder of the model with both nets. ``data`` is those maps, with the ``measurements`` that are all that
    is looked at, the same cells in every epoch. ``run``: further fields of :class:`raymap.config.Run`, its name and
    storage among them. Raises ValueError without measurements, for another model, and for one that is shown them.
    """
    if data.measurements is None:
        raise ValueError("a sparse fine-tuning learns from measurements; data.measurements says how many there are")
    config = base.load(trained).config
    if not isinstance(config, RadioUNet.Config) or config.nets != "both":
        raise ValueError(f"{trained} is {config.kind!r}; a sparse fine-tuning goes on with both nets of a 'radiounet'")
    folder = str(Path(data.folder).resolve())
    measurements = data.measurements.model_copy(update={"redraw": False})
    return Run(
        model=RadioUNet.Config(**{**config.model_dump(), "sparse_loss": True}),
        data=data.model_copy(update={"folder": folder, "measurements": measurements}),
        start_from={"both": str(Path(trained).resolve())},
        **run,
    )
