"""What a sweep found is better only if maps and seeds say so."""

import pandas as pd
import pytest

from raymap.runtime.sweep_confirm import BEFORE, FOUND, KEY, _compared


def rows(found, before, num_scenes=10):
    """NMSE of one map of every scene by seed: a number for each seed, and scenes that differ."""
    return pd.DataFrame([
        {"method": method, "seed": seed, "scene": f"s{scene}", "tx_id": 0, KEY: value * (1 + 0.1 * scene)}
        for method, values in ((FOUND, found), (BEFORE, before))
        for seed, value in enumerate(values) for scene in range(num_scenes)
    ])  # fmt: skip


def test_less_error_from_every_seed_is_better():
    told = _compared(rows([0.010, 0.011, 0.012], [0.020, 0.021, 0.022]))
    assert told["verdict"] == "better" and told["num_maps"] == 10
    assert told["methods"][FOUND]["by_seed"] == pytest.approx([0.0145, 0.01595, 0.0174])
    assert _compared(rows([0.020, 0.021, 0.022], [0.010, 0.011, 0.012]))["verdict"] == "worse"


def test_less_error_on_the_mean_alone_is_luck():
    assert _compared(rows([0.021, 0.011, 0.012], [0.020, 0.021, 0.022]))["verdict"] == "seeds disagree"


def test_few_scenes_tell_nothing():
    assert _compared(rows([0.01], [0.02], num_scenes=3))["verdict"].startswith("not told: too few scenes")
