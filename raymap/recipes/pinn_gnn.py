"""Methods of paths: PINN-GNN, as published and ours, and what it is compared with."""

from __future__ import annotations

from raymap.config import ModelConfig, OptimConfig, Stage
from raymap.models.path_interpolation import NearestPaths, PathKriging
from raymap.models.pinn_gnn import PinnGnn
from raymap.models.virtual_sources import VirtualSources
from raymap.recipes.sizes import Size

#: The paper's networks: the GNN corrects the PINN, and hears of neighbours only what the PINN says there.
PUBLISHED = PinnGnn.Config(around="pinn", hears_measured=False)

#: Ours corrects virtual sources, which leave little: it learns more slowly and soon knows the measured ones by heart.
OURS = PinnGnn.Config(dropout=0.4)

#: Name on the command line -> title, and the method itself.
PATH_METHODS: dict[str, tuple[str, ModelConfig]] = {
    "pinn_gnn": ("PINN-GNN", OURS),
    "pinn_gnn_map": ("PINN-GNN and map", OURS.model_copy(update={"uses_map": True})),
    "published": ("PINN-GNN as published", PUBLISHED),
    "kriging": ("Kriging", PathKriging.Config()),
    "separate": ("Separate", PUBLISHED.model_copy(update={"separate": True})),
    "gnn_only": ("GNN only", PUBLISHED.model_copy(update={"network": "gnn"})),
    "pinn_only": ("PINN only", PUBLISHED.model_copy(update={"network": "pinn"})),
    "nearest": ("Nearest receiver", NearestPaths.Config()),
    "virtual_sources": ("Virtual sources", VirtualSources.Config()),
    "likeliest": ("Virtual sources, likeliest", VirtualSources.Config(mode="likeliest")),
    "virtual_sources_map": ("Virtual sources and map", VirtualSources.Config(uses_map=True)),
    "likeliest_map": ("Virtual sources and map, likeliest", VirtualSources.Config(mode="likeliest", uses_map=True)),
}

#: Adam at 1e-3 with a cosine, weight decay 1e-5 (section IV-A); 800 steps, the longer of the paper's two trainings.
_OPTIM = OptimConfig(
    num_steps=800, learning_rate=1e-3, final_learning_rate=0.0, warmup_steps=20, weight_decay=1e-5, clip_norm=1.0,
    ema_decay=0.99, precision="fp32", checkpoint_every=50, keep="best",
)  # fmt: skip
_OPTIM_OURS = _OPTIM.model_copy(update={"num_steps": 300, "learning_rate": 5e-4, "weight_decay": 0.05})


def path_title(name: str) -> str:
    """What a method of paths is called in tables. Raises ValueError, with the known ones, for an unknown name."""
    if name not in PATH_METHODS:
        raise ValueError(f"unknown method {name!r}; allowed: {', '.join(PATH_METHODS)}")
    return PATH_METHODS[name][0]


def path_method(name: str, size: Size = "small", num_paths: int = 5) -> Stage[ModelConfig]:
    """A method of paths and its training, which does nothing for a method that learns nothing.

    Raises ValueError as :func:`path_title`.
    """
    path_title(name)
    model = PATH_METHODS[name][1]
    if "num_paths" in type(model).model_fields:
        model = model.model_copy(update={"num_paths": num_paths})
    optim = _OPTIM_OURS if getattr(model, "around", None) == "virtual_sources" else _OPTIM
    if size == "debug":
        optim = optim.model_copy(update={"num_steps": 6, "checkpoint_every": 3})
    return Stage[ModelConfig](model=model, optim=optim)
