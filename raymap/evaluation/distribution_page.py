"""The page of what distribution costs, and the projection to clusters that were not at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raymap.evaluation.markdown import table

#: What the projection takes for granted of machines, with nothing measured: name -> (value, in words).
ASSUMED = {
    "gpu_flop_per_s": (0.35 * 989e12, "a GPU does 35 % of 989 TFLOP/s, the dense bf16 peak of an H100 or H200"),
    "gpus_per_node": (8, "8 GPUs a node"),
    "cores_per_gpu": (12, "12 cores a GPU on its node"),
    "network_bytes_per_s": (12.5e9, "100 Gbit/s between nodes"),
    "storage_bytes_per_s": (1.25e9, "10 Gbit/s from storage to each node"),
}
#: Maps of the projection, and the numbers of GPUs it is made for.
NUM_MAPS, NUM_GPUS = 10_000_000, (1, 8, 64)


def projection(large: Mapping[str, float], num_gpus: int) -> dict[str, float]:
    """What training at the full size asks for on ``num_gpus`` GPUs, from what was measured of one map.

    ``maps_per_s`` is what the GPUs could take if nothing else held them back. Shares are of what :data:`ASSUMED`
    machines have: above 1, that is what saturates. Every GPU has the recipe's batch (weak scaling); gradients are
    float32 and exchanged in a ring between nodes, overlapping nothing.
    """
    have = {name: value for name, (value, _) in ASSUMED.items()}
    nodes = -(-num_gpus // have["gpus_per_node"])
    maps_per_s = num_gpus * have["gpu_flop_per_s"] / large["flop_per_map"]
    step_s = large["batch_size"] * large["flop_per_map"] / have["gpu_flop_per_s"]
    exchanged = 2 * (nodes - 1) / nodes * 4 * large["parameters"]
    return {
        "gpus": num_gpus, "nodes": nodes, "maps_per_s": maps_per_s, "hours_per_pass": NUM_MAPS / maps_per_s / 3600,
        "cores": maps_per_s / large["one_process_maps_per_s"],
        "cores_share": maps_per_s / large["one_process_maps_per_s"] / (num_gpus * have["cores_per_gpu"]),
        "network_share": exchanged / have["network_bytes_per_s"] / step_s,
        "storage_share": maps_per_s * large["bytes_per_map"] / (nodes * have["storage_bytes_per_s"]),
    }  # fmt: skip


def page(found: Mapping[str, Any]) -> str:
    """Markdown of what ``jobs/benchmark_distribution.py`` measured."""
    step, spread = found["step_ms"], found["spread_ms"]
    more = step["ray"] / step["plain"] - 1
    ingest, alone = found["ingest"], 1000 * _batch(found) / step["ray"]
    lines = [
        "# Distribution, measured",
        "",
        f"`{found['command']}`, commit {found['commit']}, {found['hardware']}, {found['num_steps']} steps each.",
        "",
        "**Ray against a plain loop**, one worker, the same network, batches, thread and tracking, in turns; the first "
        "30 steps are left out:",
        "",
        *table(["", "step, median [ms]", "10 to 90 %"], [
            [title, f"{step[name]:.1f}", f"{spread[name][0]:.1f} to {spread[name][1]:.1f}"]
            for name, title in (("plain", "plain loop, maps in memory"), ("ray", "Ray Train and Ray Data"))
        ]),
        "",
        f"Ray takes {100 * more:+.1f} % a step. Waiting for data is {100 * found['data_wait_share']:.1f} % of it. "
        f"A cluster on this machine starts in {found['cluster_start_s']:.1f} s, and from `fit` to the first step it is "
        f"{found['start_s']:.1f} s. A checkpoint is {found['checkpoint_mb']:.1f} MB and holds training up for "
        f"{found['checkpoint_s']:.2f} s.",
        "",
        "**More workers** on the same cores, which they share with the data stream; `strong`: the same batch over all, "
        "`weak`: the same batch each:",
        "",
        *table(["", "workers", "batch", "maps/s", "loss", "validation loss"], [
            [row["kind"], str(row["workers"]), str(row["batch_size"]), f"{row['maps_per_s']:.0f}", f"{row['loss']:.4f}",
             f"{row['val_loss']:.4f}"]
            for row in found["scaling"]
        ]),
        "",
        f"**Data**: Ray Data reads, checks and prepares {ingest['maps_per_s']:.0f} maps/s (sight, outlines, physics of "
        f"cells) on all cores, one process {ingest['one_process_maps_per_s']:.0f}; a worker takes {alone:.0f} maps/s. "
        f"A map is {ingest['bytes_per_map'] / 1024:.0f} KiB.",
        "",
        *_projected(found["large"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _batch(found: Mapping[str, Any]) -> int:
    return next(row["batch_size"] for row in found["scaling"] if row["kind"] == "strong")


def _projected(large: Mapping[str, float]) -> Sequence[str]:
    rows = [projection(large, num) for num in NUM_GPUS]
    shares = {"cores_share": "cores that prepare data", "network_share": "network", "storage_share": "storage"}
    last = rows[-1]
    first = max(shares, key=last.get)
    return [
        f"## On paper: {NUM_MAPS:,} maps, up to {NUM_GPUS[-1]} GPUs",
        "",
        f"From the full size ({large['side']} x {large['side']} cells, DM1): {large['flop_per_map'] / 1e9:.0f} GFLOP "
        f"and {large['bytes_per_map'] / 1024:.0f} KiB a map, {large['parameters'] / 1e6:.1f} million weights, a core "
        f"prepares {large['one_process_maps_per_s']:.1f} maps/s. Assumed, not measured: "
        + "; ".join(words for _, words in ASSUMED.values()) + ".",
        "",
        *table(
            ["GPUs", "nodes", "maps/s the GPUs could take", "hours a pass", "cores for data", *shares.values()],
            [[str(row["gpus"]), str(row["nodes"]), f"{row['maps_per_s']:.0f}", f"{row['hours_per_pass']:.1f}",
              f"{row['cores']:.0f}", *(f"{100 * row[name]:.0f} %" for name in shares)] for row in rows],
        ),
        "",
        "The last three columns are shares of what such machines have. What saturates first: the "
        f"{shares[first]}, {100 * last[first]:.0f} % of what there is at {last['gpus']} GPUs.",
    ]  # fmt: skip
