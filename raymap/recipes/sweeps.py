"""What is searched of each method by default, and how: the weights of the losses first."""

from __future__ import annotations

from raymap.config import PointsConfig, PointsScene, Run, WorkersConfig
from raymap.models.pinn_gnn import PinnGnn
from raymap.models.rmdm import Rmdm
from raymap.recipes.phyrmdm import rmdm
from raymap.recipes.pinn_gnn import path_method
from raymap.recipes.radiodiff_k2 import k2
from raymap.recipes.sizes import Size
from raymap.runtime.method import K2Job, MethodJob
from raymap.runtime.sweep import Sweep

_WEIGHT = "0.1..10 log"


def _both(field: str) -> str:
    """The same value for DM1 and DM2."""
    return f"outline.{field},map.{field}"


#: λ1 to λ3 of eq. 45, the outline and its τ, and the learning rate; each for both stages.
K2_SPACE = {
    _both("model.lambda_drift"): _WEIGHT,
    _both("model.lambda_noise"): _WEIGHT,
    _both("model.lambda_recon"): _WEIGHT,
    "data.outline.kind": "k_log|k_eff",
    "data.outline.threshold_db": "0.3..3 log",
    _both("optim.learning_rate"): "3e-4..6e-3 log",
}
RMDM_SPACE = {
    "map.model.lambda_mse": _WEIGHT,
    "map.model.lambda_pinn": "0.001..10 log",
    "map.model.lambda_reg": "0.001..10 log",
    # κ outside of buildings.
    "map.model.wavenumbers.0": "0.01..1 log",
}
#: λ1 to λ4 of eq. 11, the last of λ_phy and of λ_type (they grow, eq. 13), and k of the graph.
PINN_GNN_SPACE = {
    "model.lambda_power": _WEIGHT,
    "model.lambda_delay": _WEIGHT,
    "model.lambda_angle": _WEIGHT,
    "model.lambda_consistency": _WEIGHT,
    "model.lambda_phy.1": "0.05..2 log",
    "model.lambda_type.1": "0.05..2 log",
    "model.num_neighbours": "4..32 int log",
}


def k2_sweep(size: Size) -> Sweep[K2Job]:
    """RadioDiff-k² at a size. Raises ValueError for an unknown one."""
    return Sweep[K2Job](name=f"sweep-k2-{size}", job=k2(size), space=K2_SPACE)


def rmdm_sweep(size: Size) -> Sweep[MethodJob[Rmdm.Config]]:
    """RMDM at a size. Raises ValueError for an unknown one."""
    return Sweep[MethodJob[Rmdm.Config]](name=f"sweep-rmdm-{size}", job=rmdm(size), space=RMDM_SPACE)


def pinn_gnn_sweep(method: str, size: Size = "small", num_paths: int = 5) -> Sweep[Run[PinnGnn.Config]]:
    """A PINN-GNN, by its name among the methods of paths, on receivers that ``job.data`` has yet to name.

    Raises ValueError for a method that is none.
    """
    stage = path_method(method, size, num_paths)
    if not isinstance(stage.model, PinnGnn.Config):
        raise ValueError(f"{method!r} is no PINN-GNN; allowed are pinn_gnn, pinn_gnn_map, published and its parts")
    job = Run[PinnGnn.Config](
        name=method, storage="runs", model=stage.model, data=PointsConfig(scenes=(PointsScene(file="-"),)),
        optim=stage.optim, workers=WorkersConfig(num=0),
    )  # fmt: skip
    return Sweep[Run[PinnGnn.Config]](name=f"sweep-{method}", job=job, space=PINN_GNN_SPACE)
