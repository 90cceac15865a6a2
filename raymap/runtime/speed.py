"""Where the time goes: operations counted, convolutions timed alone, the phases of a training step and of a prediction.

Rates are operations of the work by its seconds. What a machine could do is measured on the same convolutions: every one
that a step computes is run alone, in the step's own shapes and precision, and its best time counts.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from raymap.data.batch import MapBatch
from raymap.models.k2 import K2
from raymap.models.radiodiff import RadioDiff, stack
from raymap.nn.autoencoder import Autoencoder
from raymap.nn.published import PublishedDenoiser
from raymap.runtime.cost import flops
from raymap.runtime.progress import Stopwatch
from raymap.runtime.trainer import Trainer

Clock = Callable[[], float]
_CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
#: The published model's two stages: calls of a denoiser and pictures decoded; operations of all of it [FLOP].
PUBLISHED_CALLS, PUBLISHED_DECODES, PUBLISHED_FLOP = 8, 2, 2.5e12


def seconds(
    works: Mapping[str, Callable[[], object]], repeats: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of every repeat of every work, in turns, so that a slow spell of the machine hits all of them alike.

    Each runs once before, uncounted.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            begun = clock()
            work()
            if turn:
                found[name].append(clock() - begun)
    return found


class Convolution(NamedTuple):
    """A convolution as it was called: the operator, and its arguments with a tensor told by shape and dtype."""

    operator: Any
    arguments: tuple

    def call(self, layout: torch.memory_format) -> Callable[[], object]:
        """The same on random numbers, images and kernels stored in ``layout``."""
        made = [_random(*part, layout) if _is_tensor(part) else part for part in self.arguments]
        made = [list(part) if isinstance(part, tuple) else part for part in made]
        return lambda: self.operator(*made)


def _is_tensor(part: Any) -> bool:
    return isinstance(part, tuple) and bool(part) and isinstance(part[0], torch.Size)


def _random(shape: torch.Size, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    made = torch.randn(shape).to(dtype)
    return made.contiguous(memory_format=layout) if made.ndim == 4 else made


def convolutions(work: Callable[[], object]) -> Counter[Convolution]:
    """Every convolution that ``work`` computes, forward and backward, and how often."""

    class Listen(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            if operator in _CONVOLUTIONS:
                found[Convolution(operator, tuple(_plain(part) for part in args))] += 1
            return operator(*args, **(kwargs or {}))

    found: Counter[Convolution] = Counter()
    with Listen():
        work()
    return found


def _plain(part: Any) -> Any:
    if isinstance(part, Tensor):
        return (part.shape, part.dtype)
    return tuple(part) if isinstance(part, list) else part


def alone(found: Mapping[Convolution, int], repeats: int, clock: Clock = time.perf_counter) -> dict[str, float]:
    """``flop`` and ``seconds`` of convolutions run one by one: the best repeat in the better of two memory layouts."""
    flop, total_s = 0, 0.0
    for convolution, num in found.items():
        calls = {str(layout): convolution.call(layout) for layout in (torch.contiguous_format, torch.channels_last)}
        with torch.no_grad():
            flop += num * flops(next(iter(calls.values())))
            total_s += num * min(min(values) for values in seconds(calls, repeats, clock).values())
    return {"flop": flop, "seconds": total_s}


def training(trainer: Trainer, num_steps: int, repeats: int, clock: Clock = time.perf_counter) -> dict[str, Any]:
    """Steps of a prepared trainer on its own data: rate, share of the convolutions' peak, and seconds by phase.

    The first three steps warm up. ``phases``: mean seconds per step; ``encode``, the autoencoder on the targets, is run
    alone and taken from ``forward``, which it is a part of. ``wait_share``: data, as a share of the step with it.
    Shares of the peak are of the median step and of the best one: they differ on a machine that others use, too, and
    the convolutions' seconds are the best of theirs.
    """
    batches = trainer.stream()
    batch: MapBatch = next(batches)
    for _ in range(3):
        trainer.one_step(batch)
    step_flop, found = flops(lambda: trainer.one_step(batch)), convolutions(lambda: trainer.one_step(batch))
    watch = trainer.watch = Stopwatch(clock)
    steps_s = []
    for _ in range(num_steps):
        with watch("data"):
            batch = next(batches)
        begun = clock()
        trainer.one_step(batch)
        steps_s.append(clock() - begun)
    phases = {name: total / num_steps for name, total in watch.seconds.items()}
    wait_share = phases["data"] / (phases["data"] + statistics.fmean(steps_s))
    model = trainer.model
    if isinstance(model, RadioDiff):
        with torch.no_grad(), trainer.autocast():
            encode = {"encode": lambda: model.autoencoder.encode(getattr(batch, model.config.target), batch.valid)}
            phases["encode"] = statistics.fmean(seconds(encode, repeats, clock)["encode"])
        phases["forward"] -= phases["encode"]
    phases["rest"] = statistics.fmean(steps_s) - sum(time_s for name, time_s in phases.items() if name != "data")
    peak = alone(found, repeats, clock)
    rate, peak_rate = step_flop / statistics.median(steps_s), peak["flop"] / peak["seconds"]
    return {
        "step_flop": step_flop,
        "convolution_flop": peak["flop"],
        "num_convolutions": sum(found.values()),
        "step_s": statistics.median(steps_s),
        "best_step_s": min(steps_s),
        "convolutions_alone_s": peak["seconds"],
        "flop_per_s": rate,
        "peak_flop_per_s": peak_rate,
        "share_of_peak": rate / peak_rate,
        "best_share_of_peak": step_flop / min(steps_s) / peak_rate,
        "wait_share": wait_share,
        "phases": phases,
    }


def prediction(model: K2, batch: MapBatch, precision: str, repeats: int, clock: Clock = time.perf_counter) -> dict:
    """One map from both stages: operations, best seconds, and by stage the seconds of condition, one call and decoding.

    ``precision``: "fp32" or "bf16".
    """
    batch = batch.blind()
    with torch.no_grad(), torch.autocast(batch.building.device.type, torch.bfloat16, enabled=precision == "bf16"):
        whole = {"whole": lambda: model.predict(batch, [0] * len(batch))}
        found = {"flop": flops(whole["whole"]), "seconds": min(seconds(whole, repeats, clock)["whole"])}
        outlined = batch.with_outline(torch.zeros_like(batch.building))
        stages = {}
        for name, stage in {"outline": model.outline, "map": model.map}.items():
            works = dict(_parts(stage, outlined))
            if stage is model.map and model.is_law_shared():
                del works["law"]
            times = seconds(works, repeats, clock)
            stages[name] = {
                part: {"times": _times(stage, part), "flop": flops(work), "seconds": min(times[part])}
                for part, work in works.items()
            }
    return {**found, "stages": stages}


def _times(stage: RadioDiff, part: str) -> int:
    """How often one prediction does a part. What the gain is relative to is encoded and decoded once, too."""
    views = stage.config.views
    times = {
        "condition": views,
        "U-Net, one call": views * stage.config.steps,
        "law": 1,
        "encode": 1,
        "decode": views + _is_relative(stage),
    }
    return times[part]


def _is_relative(stage: RadioDiff) -> bool:
    return stage.law is not None and stage.config.target == "gain"


def _parts(stage: RadioDiff, batch: MapBatch) -> Iterator[tuple[str, Callable[[], object]]]:
    law = stage.by_law(batch)
    rasters = stack(batch, stage.config.inputs, law)
    condition = stage.unet.condition(rasters)
    height, width = (size // stage.autoencoder.factor for size in rasters.shape[-2:])
    z, t = torch.randn(len(batch), stage.latent_mean.shape[1], height, width), torch.ones(len(batch))
    yield "condition", lambda: stage.unet.condition(rasters)
    yield "U-Net, one call", lambda: stage.unet(z, t, condition)
    if stage.law is not None:
        yield "law", lambda: stage.by_law(batch)
    if _is_relative(stage):
        yield "encode", lambda: stage.autoencoder.encode(law, batch.outdoor)
    yield "decode", lambda: stage.autoencoder.decode(z)


class Published:
    """A network of the published model's operation count, on random weights: two chains of four calls, two decodings.

    The autoencoder's decoder is the published one layer by layer; ``PublishedDenoiser`` stands in for the denoiser.
    """

    def __init__(self, decoder: Autoencoder) -> None:
        self.denoiser, self.decoder = PublishedDenoiser().eval(), decoder.eval()
        self.arguments = (torch.randn(1, 3, 64, 64), torch.ones(1), torch.randn(1, 3, 256, 256))
        self.latent = torch.randn(1, decoder.network.config.latent_channels, 64, 64)

    def measure(self, precision: str, repeats: int, clock: Clock = time.perf_counter) -> dict[str, Any]:
        """Operations and best seconds of a denoiser's call, of one decoding, and of all eight and two of them."""
        works = {"denoiser": lambda: self.denoiser(*self.arguments), "decode": lambda: self.decoder.decode(self.latent)}
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            parts = {
                name: {"flop": flops(works[name]), "seconds": min(times)}
                for name, times in seconds(works, repeats, clock).items()
            }
        total = {
            key: PUBLISHED_CALLS * parts["denoiser"][key] + PUBLISHED_DECODES * parts["decode"][key]
            for key in ("flop", "seconds")
        }
        return {**total, "parts": parts}
