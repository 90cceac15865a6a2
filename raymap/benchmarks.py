"""What the benchmark compares: entries built from the recipes.

Every table compares rows of one budget. The methods' table has the whole of it, on static maps, and three seeds of ours
and of what ours is compared with. The matrix has every method on every kind of maps with a third of the steps, so that
two cores train it in three hours. The studies have half, those of measurements and of RMDM's losses a third.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from raymap import recipes
from raymap.config import OptimConfig, OutlineConfig, Stage, WorkersConfig
from raymap.models.cell_law import CellLaw
from raymap.models.radiodiff import RadioDiff
from raymap.runtime.benchmark_entries import Benchmark, Entry, Study
from raymap.runtime.method import K2Job, LatentJob, MethodJob, StageName

#: What the trainings of the matrix are called by, and those of the studies of measurements and of RMDM; both take so
#: many times fewer steps.
_SHORT, _STUDY, _SHORTER = "short", "study", 3

#: The row whose autoencoder, and DM1 where there is one, the studies share.
_LENDER = "outline k_log"
#: The same outlines, its DM2 trained from nothing: all of the study of the inputs can do so.
_COLD = "outline k_log, cold start"
#: The rows that the tables of the benchmark are told as multiples of.
_REFERENCES: dict[Study, str] = {
    "methods": "RadioDiff", "matrix": "RadioDiff", "outline": "no outline", "physics": _COLD,
    "diffusion": "no outline", "law": "law: all inputs", "rmdm": "RMDM", "measured": "Kriging",
}  # fmt: skip
#: What the claim of a table is about, beside its reference.
_DUELS: dict[Study, tuple[str, str]] = {study: ("RadioDiff-k²", "Regression") for study in ("methods", "matrix")}
#: The methods that are also trained with measurements: those of papers that do so, and ours.
_SHOWN_MEASUREMENTS = ("RadioUNet", "RME-GAN", "Regression", "RadioDiff-k²")
#: The methods that have three seeds.
_SEEDED = ("RadioDiff", "Regression", "RadioDiff-k²")
_INDICATORS = ("k_log", "k_eff", "reference", "canny", "lbp")
#: What is left out in each row of the study of the law.
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
#: Those of them that the study of the networks leaves out too: what the law misses most, and line of sight, which the
#: field takes for the first thing to know.
_LEFT_OUT_OF_NETWORKS = ("no line of sight", "no distance", "no street way", "no roofs")
#: How each row of the study of the diffusion differs from its first, the diffusion as it is.
_DIFFUSIONS = {
    "noise shown at t = 1": {"fade": False},
    "buildings count": {"outdoor_only": False},
    "uniform times": {"times": "uniform"},
    "plain weighting": {"weighting": "plain"},
    "as published": {"fade": False, "outdoor_only": False, "times": "uniform", "weighting": "plain"},
}


def benchmark(size: recipes.Size) -> Benchmark:
    """Methods on all kinds of maps; studies, on static maps, of outlines, physics inputs, the diffusion and RMDM.

    Raises ValueError for an unknown size.
    """
    whole = recipes.k2(size)
    methods = {title: recipe(size) for title, recipe in recipes.METHODS.values()}
    rows = [
        Entry(method=name, studies=("methods",), seed=seed, job=job)
        for name, job in methods.items()
        for seed in range(3 if name in _SEEDED else 1)
    ]
    half = _shortened(whole, 2, ("outline", "map"))
    rows += [*_matrix(methods), *_measured(methods), *_rmdm_study(methods["RMDM"])]
    rows += [*_law_study(whole), *_outline_study(half), *_physics_study(half), *_diffusion_study(half)]
    return Benchmark(size=size, plan=whole.plan, entries=rows, references=_REFERENCES, duels=_DUELS)


def _matrix(methods: Mapping[str, MethodJob]) -> list[Entry]:
    """Every method on every kind of maps, a third of the steps.

    On multipath maps, and there alone, the methods with physics also see the dominant-path map.
    """
    shown = {title: recipes.with_dominant_path(methods[title]) for title in ("Regression", "RadioDiff-k²")}
    of_multipath = {**methods, **shown, "RadioDiff-k², no dominant path": methods["RadioDiff-k²"]}
    return [
        Entry(
            method=name,
            studies=("matrix", "rmdm") if (name, kind) == ("RMDM", "srm") else ("matrix",),
            kind=kind,
            variant=_SHORT,
            job=_shortened(job, _SHORTER),
        )
        for kind in ("srm", "drm", "mrm")
        for name, job in (of_multipath if kind == "mrm" else methods).items()
    ]


def _measured(methods: Mapping[str, MethodJob]) -> list[Entry]:
    """Methods that are shown what is measured in 1 to 10 % of the cells of a static map, a third of the steps."""
    return [
        Entry(
            method=f"{name}, shown measurements",
            studies=("measured",),
            variant=_STUDY,
            job=_shortened(recipes.with_measurements(methods[name]), _SHORTER),
        )
        for name in _SHOWN_MEASUREMENTS
    ]


def _rmdm_study(whole: MethodJob) -> list[Entry]:
    """RMDM by every choice of its three losses, without its attention, and with every step guided by the equation.

    All three losses are the row of the matrix.
    """
    losses = ("mse", "pinn", "reg")
    changes = {}
    for kept in (kept for num in (2, 1) for kept in itertools.combinations(losses, num)):
        title = " + ".join(f"L_{name.upper()}" for name in kept)
        changes[f"RMDM, {title}"] = {f"lambda_{name}": 0.0 for name in losses if name not in kept}
    changes |= {"RMDM, no RF-SA": {"rf_sa": False}, "RMDM, guided": {"guidance": 0.5}}
    short = _shortened(whole, _SHORTER)
    return [
        Entry(
            method=name,
            studies=("rmdm",),
            variant=_STUDY,
            job=short.model_copy(
                update={"map": short.map.model_copy(update={"model": short.map.model.model_copy(update=change)})}
            ),
        )
        for name, change in changes.items()
    ]


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
    for name in _LEFT_OUT_OF_NETWORKS:
        gone = _LEFT_OUT[name]
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


def _shortened(job: MethodJob, times: int, stages: Sequence[StageName] | None = None) -> MethodJob:
    """A job whose stages, or only the named ones, take so many times fewer steps."""

    def shorter(stage: Stage) -> Stage:
        optim = stage.optim
        changes = {
            "num_steps": optim.num_steps // times,
            "warmup_steps": optim.warmup_steps // times,
            "checkpoint_every": max(1, optim.checkpoint_every // times),
        }
        return stage.model_copy(update={"optim": optim.model_copy(update=changes)})

    return job.model_copy(update={name: shorter(getattr(job, name)) for name in stages or job.stages})
