"""What the benchmark compares: entries built from the recipes."""

from __future__ import annotations

from raymap import recipes
from raymap.config import OptimConfig, OutlineConfig, Stage, WorkersConfig
from raymap.models.cell_law import CellLaw
from raymap.models.radiodiff import RadioDiff
from raymap.runtime.benchmark import Benchmark, Entry, Study
from raymap.runtime.method import K2Job, LatentJob, MethodJob

#: The row whose autoencoder, and DM1 where there is one, the studies share.
_LENDER = "outline k_log"
#: The same outlines, its DM2 trained from nothing: all of the study of the inputs can do so.
_COLD = "outline k_log, cold start"
#: The rows that the tables of the benchmark are told as multiples of.
_REFERENCES: dict[Study, str] = {
    "methods": "RadioDiff", "outline": "no outline", "physics": _COLD, "diffusion": "no outline",
    "law": "law: all inputs",
}  # fmt: skip
#: The methods that have three seeds on static maps.
_SEEDED = ("RadioDiff", "Regression", "RadioDiff-k²")
_INDICATORS = ("k_log", "k_eff", "reference", "canny", "lbp")
#: What is left out in each row of the physics study.
_LEFT_OUT = {
    "no line of sight": ("line_of_sight",),
    "no distance": ("log_distance",),
    "no bearing": ("bearing",),
    "no openness": ("openness",),
    "no obstructions": ("crossed", "thickness", "shadow"),
    "no detour": ("detour", "soft_detour"),
    "no turns": ("turning",),
    "no street way": ("detour", "soft_detour", "turning"),
    "no roof loss": ("roof_loss", "roof_cascade"),
    "no roof angles": ("roof_rise", "roof_fall"),
    "no roofs": ("roof_loss", "roof_cascade", "roof_rise", "roof_fall"),
}


#: How each row of the study of the diffusion differs from its first, the diffusion as it is.
_DIFFUSIONS = {
    "noise shown at t = 1": {"fade": False},
    "buildings count": {"outdoor_only": False},
    "late times": {"times": "late"},
    "uniform times": {"times": "uniform"},
    "plain weighting": {"weighting": "plain"},
    "as published": {"fade": False, "outdoor_only": False, "times": "uniform", "weighting": "plain"},
}


def benchmark(size: recipes.Size) -> Benchmark:
    """Methods on all kinds of maps; studies of outlines, physics inputs and the diffusion.

    On static maps ours and what it is compared with have three seeds. On multipath maps, and there alone, the methods
    with physics also see the dominant-path map. The studies are static, with half of the steps. Raises ValueError for
    an unknown size.
    """
    whole = recipes.k2(size)
    methods = {title: recipe(size) for title, recipe in recipes.METHODS.values()}
    shown = {title: recipes.with_dominant_path(methods[title]) for title in ("Regression", "RadioDiff-k²")}
    of_multipath = {**methods, **shown, "RadioDiff-k², no dominant path": whole}
    rows = [
        Entry(method=name, studies=("methods",), kind=kind, seed=seed, job=job)
        for kind in ("srm", "drm", "mrm")
        for name, job in (of_multipath if kind == "mrm" else methods).items()
        for seed in range(3 if kind == "srm" and name in _SEEDED else 1)
    ]
    half = _halved(whole)
    rows += [*_law_study(whole), *_outline_study(half), *_physics_study(half), *_diffusion_study(half)]
    return Benchmark(size=size, plan=whole.plan, entries=rows, references=_REFERENCES)


def _law_study(whole: K2Job) -> list[Entry]:
    """The law of a cell by itself, without one input after the other: a minute each, and no network."""
    full = whole.map.model.law
    kept = {"law: all inputs": full.inputs}
    kept |= {f"law: {name}": tuple(i for i in full.inputs if i not in gone) for name, gone in _LEFT_OUT.items()}
    kept["law: distance and line of sight"] = ("line_of_sight", "log_distance")
    shared = {name: getattr(whole, name) for name in ("name", "data", "plan")}
    return [
        Entry(
            method=name,
            studies=("law",),
            job=MethodJob[CellLaw.Config](
                map=Stage(model=full.model_copy(update={"inputs": inputs}), optim=OptimConfig(num_steps=0)),
                # It is fitted before the first step, by the one worker that holds all data.
                workers=WorkersConfig(num=1),
                **shared,
            ),
        )
        for name, inputs in kept.items()
        if name == "law: all inputs" or inputs != full.inputs
    ]


def _outline_study(half: K2Job) -> list[Entry]:
    """DM2 with the outline of every indicator, without any, and with the true one; DM1's steps go where DM1 is not.

    The last three without physics, which is how the paper compares them.
    """
    of_indicators = {
        f"outline {kind}": half.model_copy(
            update={"data": half.data.model_copy(update={"outline": OutlineConfig(kind=kind)})}
        )
        for kind in _INDICATORS
    }
    blind = _without_physics(half)
    return [
        *(Entry(method=name, studies=("outline",), job=job) for name, job in of_indicators.items()),
        Entry(method="no outline", studies=("outline", "diffusion"), job=_single(half), lender=_LENDER),
        Entry(method="true outline (oracle)", studies=("outline",), job=_oracle(half), lender=_LENDER),
        Entry(method="no outline, no physics", studies=("outline",), job=_single(blind), lender=_LENDER),
        Entry(method="outline k_log, no physics", studies=("outline", "physics"), job=blind),
        Entry(method="true outline (oracle), no physics", studies=("outline",), job=_oracle(blind), lender=_LENDER),
    ]


def _oracle(job: K2Job) -> LatentJob:
    """DM2 alone, shown the true outline as if DM1 had drawn it."""
    data = job.data.model_copy(update={"true_outlines": True})
    return _without_dm1(job, job.map).model_copy(update={"data": data})


def _without_physics(job: K2Job) -> K2Job:
    """Both stages see buildings, vehicles and transmitter, and DM2 the outline; no law."""
    outline, gain = (
        stage.model_copy(update={"model": stage.model.model_copy(update={"inputs": inputs, "law": None})})
        for stage, inputs in (
            (job.outline, recipes.ENVIRONMENT),
            (job.map, (*recipes.ENVIRONMENT, "outline_predicted")),
        )
    )
    return job.model_copy(update={"outline": outline, "map": gain})


def _physics_study(half: K2Job) -> list[Entry]:
    """DM2 without one input after the other, on one DM1's outlines; last, both stages on cells of two sizes."""
    full = half.map.model
    models = {_COLD: full}
    for name, gone in _LEFT_OUT.items():
        inputs = tuple(i for i in full.inputs if i not in gone)
        law = {"inputs": tuple(i for i in full.law.inputs if i not in gone)}
        models[name] = full.model_copy(update={"inputs": inputs, "law": full.law.model_copy(update=law)})
    models["no law to start from"] = full.model_copy(update={"law": None})
    # Another set of inputs cannot start from DM1's denoiser, so none does.
    cold = half.model_copy(update={"warm_start": False})
    several = Entry(method="cells of two sizes", studies=("physics",), job=recipes.of_several_cells(cold))
    return [
        Entry(
            method=name,
            studies=("physics", "outline") if name == _COLD else ("physics",),
            job=cold.model_copy(update={"map": half.map.model_copy(update={"model": model})}),
            lender=_LENDER,
        )
        for name, model in models.items()
    ] + [several]


def _diffusion_study(half: K2Job) -> list[Entry]:
    """RadioDiff with all physics inputs and no outline, its diffusion changed in one thing after the other."""
    return [
        Entry(method=name, studies=("diffusion",), job=_single(half, **changes), lender=_LENDER)
        for name, changes in _DIFFUSIONS.items()
    ]


def _single(job: K2Job, **changes: object) -> LatentJob:
    """DM2 alone, without an outline and with DM1's steps; ``changes`` replace fields of its config."""
    model = job.map.model.model_copy(update={"inputs": job.outline.model.inputs, **changes})
    return _without_dm1(job, Stage[RadioDiff.Config](model=model, optim=recipes.both_budgets(job)))


def _without_dm1(job: K2Job, stage: Stage[RadioDiff.Config]) -> LatentJob:
    kept = {name: getattr(job, name) for name in LatentJob.model_fields if name != "map"}
    return LatentJob(**kept, map=stage)


def _halved(job: K2Job) -> K2Job:
    def half(stage: Stage) -> Stage:
        optim = stage.optim
        changes = {
            "num_steps": optim.num_steps // 2,
            "warmup_steps": optim.warmup_steps // 2,
            "checkpoint_every": max(1, optim.checkpoint_every // 2),
        }
        return stage.model_copy(update={"optim": optim.model_copy(update=changes)})

    return job.model_copy(update={stage: half(getattr(job, stage)) for stage in ("outline", "map")})
