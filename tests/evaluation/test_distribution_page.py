"""The projection's laws, and a page that says which part saturates first."""

import pytest

from raymap.evaluation.distribution_page import ASSUMED, page, projection

LARGE = {"flop_per_map": 1e11, "parameters": 3e7, "batch_size": 64, "side": 256, "one_process_maps_per_s": 5.0,
         "bytes_per_map": 1e5}  # fmt: skip
FOUND = {
    "command": "python jobs/benchmark.py --what distribution", "commit": "abc", "hardware": "2 cores", "num_steps": 200,
    "step_ms": {"plain": 300.0, "ray": 309.0}, "spread_ms": {"plain": [290.0, 310.0], "ray": [300.0, 320.0]},
    "data_wait_share": 0.012, "cluster_start_s": 4.0, "start_s": 15.0, "checkpoint_mb": 20.0, "checkpoint_s": 0.2,
    "scaling": [{"kind": "strong", "workers": 1, "batch_size": 24, "loss": 1.0, "val_loss": 1.1, "maps_per_s": 70.0}],
    "ingest": {"maps_per_s": 160.0, "one_process_maps_per_s": 90.0, "bytes_per_map": 4096.0}, "large": LARGE,
}  # fmt: skip


def test_twice_the_gpus_take_twice_the_maps_and_half_the_time():
    few, many = projection(LARGE, 8), projection(LARGE, 16)
    assert many["maps_per_s"] == pytest.approx(2 * few["maps_per_s"])
    assert many["hours_per_pass"] == pytest.approx(few["hours_per_pass"] / 2)
    assert many["cores_share"] == pytest.approx(few["cores_share"]), "cores come with the GPUs"


def test_one_node_exchanges_nothing_over_the_network():
    assert projection(LARGE, 8)["network_share"] == 0
    shares = [projection(LARGE, num)["network_share"] for num in (16, 32, 64)]
    assert shares == sorted(shares) and shares[0] > 0
    ring = 2 * 4 * LARGE["parameters"] / ASSUMED["network_bytes_per_s"][0]
    step_s = LARGE["batch_size"] * LARGE["flop_per_map"] / ASSUMED["gpu_flop_per_s"][0]
    assert shares[-1] < ring / step_s, "never more than the ring's limit"


def test_a_gpu_is_as_fast_as_is_assumed():
    assert projection(LARGE, 1)["maps_per_s"] * LARGE["flop_per_map"] == pytest.approx(ASSUMED["gpu_flop_per_s"][0])


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"one_process_maps_per_s": 1.0, "bytes_per_map": 1.0}, "first: the cores that prepare data"),
        ({"one_process_maps_per_s": 1e6, "parameters": 1e10, "bytes_per_map": 1.0}, "first: the network"),
        ({"one_process_maps_per_s": 1e6, "bytes_per_map": 1e9}, "first: the storage"),
    ],
)
def test_the_page_names_what_saturates_first(change, first):
    assert first in page({**FOUND, "large": {**LARGE, **change}})


def test_the_page_says_what_ray_costs():
    text = page(FOUND)
    assert "Ray takes +3.0 % a step" in text
    assert "Waiting for data is 1.2 % of it" in text
    assert "a worker takes 78 maps/s" in text
