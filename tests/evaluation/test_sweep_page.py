"""A sweep's page tells the best, and what settings are worth."""

import math
import random

from raymap.evaluation import sweep_page
from raymap.evaluation.sweep_page import SCORE, TIME

SPACE = {
    "outline.model.weight,map.model.weight": {"low": 0.1, "high": 10.0, "log": True, "integer": False},
    "map.model.width": {"low": 8, "high": 64, "log": False, "integer": True},
    "data.outline.kind": {"values": ["k_log", "k_eff"]},
}


def trials(num=24, seed=0):
    """Scores that hang on the weight alone, least at 1; every third trial stopped at the first look."""
    rng = random.Random(seed)
    found = []
    for number in range(1, num + 1):
        weight = math.exp(rng.uniform(math.log(0.1), math.log(10)))
        overrides = dict(zip(SPACE, [weight, rng.randint(8, 64), rng.choice(["k_log", "k_eff"])], strict=True))
        best = 0.02 + 0.01 * math.log(weight) ** 2
        steps = [10] if number % 3 == 0 else [10, 20, 30]
        history = [
            {"step": step, SCORE: best + 0.3 / step, TIME: 50.0 / weight, "overrides": overrides} for step in steps
        ]
        status = "stopped" if len(steps) == 1 else "finished"
        found.append({"number": number, "id": f"t{number}", "history": history, "status": status})
    return found


def about(**changes):
    return {
        "name": "made-up", "command": "python jobs/tune_k2.py", "commit": "0123456789ab", "hardware": "a machine",
        "space": SPACE, "search": "optuna", "scheduler": "asha", "objectives": [SCORE], "num_steps": 30, **changes,
    }  # fmt: skip


def test_the_setting_that_scores_hang_on_is_told():
    shares = sweep_page.importance(SPACE, trials(40))
    assert math.isclose(sum(shares.values()), 1.0, rel_tol=1e-6)
    assert max(shares, key=shares.get) == "outline.model.weight,map.model.weight"
    assert shares["outline.model.weight,map.model.weight"] > 0.6


def test_few_trials_tell_nothing_of_importance():
    assert sweep_page.importance(SPACE, trials(5)) is None
    assert sweep_page.importance(SPACE, []) is None


def test_scores_are_compared_where_all_have_one():
    some = trials(6)
    assert sweep_page.common_step(some) == 10
    assert sweep_page.common_step([trial for trial in some if trial["status"] == "finished"]) == 30


def test_the_front_is_what_nobody_beats_in_both():
    def trial(score, ms):
        return {"history": [{"step": 1, SCORE: score, TIME: ms}]}

    some = [trial(1.0, 5.0), trial(2.0, 4.0), trial(2.0, 6.0), trial(0.5, 9.0), trial(1.0, 5.0)]
    assert sweep_page.front(some, [SCORE, TIME]) == [some[0], some[1], some[3], some[4]]


def test_the_page_holds_the_best_and_its_pictures_and_fetches_nothing(tmp_path):
    page = sweep_page.write(tmp_path / "sweep.html", about(objectives=[SCORE, TIME]), trials())
    text = page.read_text()
    best = min(trials(), key=lambda trial: sweep_page.at_best(trial)[SCORE])
    row = next(
        line for line in (tmp_path / "sweep.md").read_text().splitlines() if line.startswith(f"| {best['number']} |")
    )
    assert f"{sweep_page.at_best(best)[SCORE]:.4g}" in row
    assert text.count("data:image/png;base64,") == 4 and 'src="http' not in text and "url(" not in text
    assert "24 trials (16 finished, 8 stopped)" in text
    assert {path.name for path in (tmp_path / "sweep").glob("*.png")} == {
        "coordinates.png", "curves.png", "front.png", "importance.png"}  # fmt: skip


def test_one_trial_is_a_page_too(tmp_path):
    assert sweep_page.write(tmp_path / "sweep.html", about(), trials(1)).is_file()


def test_what_was_trained_anew_is_told_with_its_verdict(tmp_path):
    scores = {
        "settings found": {"mean": 0.0123, "low": 0.01, "high": 0.014, "num": 80, "by_seed": [0.0121, 0.0125]},
        "settings of the job": {"mean": 0.0234, "low": 0.02, "high": 0.026, "num": 80, "by_seed": [0.0231, 0.0237]},
    }
    split = {"num_maps": 80, "num_scenes": 20, "p": 0.001, "verdict": "better", "methods": scores}
    confirmed = {"overrides": {"map.model.width": 16}, "seeds": 2, "num_steps": 100, "splits": {"test": split}}
    sweep_page.write(tmp_path / "sweep.html", about(confirmed=confirmed), trials())
    page = (tmp_path / "sweep.md").read_text()
    assert "Found: width 16. Trained anew for 100 steps from 2 seeds" in page
    assert "| test (80 maps) | settings found | 0.0123 (0.0100–0.0140) | 0.0121, 0.0125 | better |" in page
