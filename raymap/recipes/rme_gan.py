"""RME-GAN by its two phases: RadioUNet's first net as a generator, with RadioUNet's inputs and budget."""

from __future__ import annotations

from raymap.config import Stage
from raymap.models.rmegan import GLOBAL, LOCAL, RmeGan
from raymap.recipes.radio_unet import radiounet
from raymap.recipes.radiodiff_k2 import k2, taken_over
from raymap.recipes.sizes import Size
from raymap.runtime.method import CurriculumJob

#: Size -> widths of the critic.
_CRITICS: dict[Size, tuple[int, ...]] = {
    "debug": (8, 16),
    "demo": (32, 64, 128),
    "small": (32, 64, 128),
    "full": (64, 128, 256, 512),
    "paper": (64, 128, 256, 512),
}


def rmegan(size: Size) -> CurriculumJob[RmeGan.Config]:
    """RME-GAN at a size, without measurements: half of K2's steps for each phase, the second from the first.

    Raises ValueError for an unknown size.
    """
    unet = radiounet(size)
    net, optim, data = unet.map.model, unet.map.optim, unet.data
    if size == "paper":
        # Twice RadioUNet's maps a step, and as many epochs.
        halves = {"num_steps": optim.num_steps // 2, "checkpoint_every": optim.checkpoint_every // 2}
        optim, data = optim.model_copy(update=halves), data.model_copy(update={"batch_size": 2 * data.batch_size})
    model = RmeGan.Config(
        inputs=net.inputs, cell_m=net.cell_m, scale=net.scale, critic_widths=_CRITICS[size], weights=LOCAL
    )
    first = model.model_copy(update={"weights": GLOBAL})
    return CurriculumJob[RmeGan.Config](
        first=Stage[RmeGan.Config](model=first, optim=optim),
        map=Stage[RmeGan.Config](model=model, optim=optim),
        **taken_over(k2(size), "rmegan") | {"data": data, "workers": unet.workers},
    )
