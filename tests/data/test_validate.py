"""A sound dataset passes; one that is transposed, inverted, doubled or leaky is called what it is."""

import numpy as np
import pytest

from raymap.data import generated, schema, shards, sites, validate
from raymap.data.schema import DatasetCard
from raymap.propagation import dominant_path
from raymap.scene import Grid, RadioMap, Scene, Transmitter

GRID = Grid((32, 32), 8.0)


def a_town(seed):
    return generated.city(seed, GRID)


@pytest.fixture(scope="module")
def solved():
    """Scene, transmitter, radio map of eight towns."""
    found = []
    for seed in range(8):
        scene = a_town(seed)
        transmitter = sites.place(scene, 1, seed=seed)[0]
        found.append((scene, transmitter, dominant_path.solve(scene, transmitter)))
    return found


def write(folder, solved, spoil=lambda scene, transmitter, radio_map: (scene, transmitter, radio_map), splits=None):
    splits = splits or {"train": solved[:6], "test": solved[6:]}
    rows = {
        split: [schema.row(scene, index, *rest) for index, (scene, *rest) in enumerate(spoil(*item) for item in items)]
        for split, items in splits.items()
    }
    about = dict(name="t", kind="srm", shape=GRID.shape, cell_m=GRID.cell_m, sources=("made up",), attribution="")
    shards.write(rows, folder, **about)
    return validate.validate(folder)


def whats(found):
    return {(finding.severity, finding.what.split(": ")[-1]) for finding in found.findings}


def test_a_sound_dataset_has_no_findings_and_its_facts_are_its_numbers(tmp_path, solved):
    found = write(tmp_path, solved)
    assert found.findings == () and found.sound
    facts = found.facts["train"]
    assert (facts.num_scenes, facts.num_maps) == (6, 6)
    built = np.mean([(scene.building_m > 0).mean() for scene, _, _ in solved[:6]])
    above = np.mean([(m.gain_db[m.valid] > -100).mean() for _, _, m in solved[:6]])
    assert facts.share_built == pytest.approx(built) and facts.coverage == pytest.approx(above)
    assert facts.gain_db[0] == pytest.approx(min(m.gain_db[m.valid].min() for _, _, m in solved[:6]), abs=3)


def test_swapped_axes_are_named(tmp_path, solved):
    def swap(scene, transmitter, radio_map):
        """The pictures transposed, the transmitter not: what a loader with (x, y) for (row, column) makes."""
        turned = Scene(scene.name, GRID, scene.building_m.T)
        row, column = transmitter.cell(GRID)
        if turned.building_m[row, column] > 0:
            turned.building_m[row, column] = 0
        return turned, transmitter, RadioMap(radio_map.gain_db.T, radio_map.valid.T & turned.outdoor)

    found = write(tmp_path, solved, swap)
    reasons = [f.reason for f in found.findings if "axis order" in f.what]
    assert not found.sound and reasons and all("swapped" in reason for reason in reasons)


def test_an_inverted_scale_is_named(tmp_path, solved):
    def invert(scene, transmitter, radio_map):
        return scene, transmitter, RadioMap(-190 - radio_map.gain_db, radio_map.valid)

    found = write(tmp_path, solved, invert)
    assert any("inverted" in f.reason for f in found.findings if "polarity" in f.what) and not found.sound


def test_linear_gains_are_not_taken_for_db(tmp_path, solved):
    def linear(scene, transmitter, radio_map):
        return scene, transmitter, RadioMap(-1 + 10 ** (radio_map.gain_db / 10), radio_map.valid)

    found = write(tmp_path, solved, linear)
    assert any("linear" in f.reason for f in found.findings)


def test_a_city_in_two_splits_is_a_leak_even_renamed_and_turned(tmp_path, solved):
    scene, transmitter, radio_map = solved[0]
    x_m, y_m, height_m = transmitter.xyz_m
    turned = (
        Scene("another name", GRID, scene.building_m.T),
        Transmitter((y_m, x_m, height_m)),
        RadioMap(radio_map.gain_db.T, radio_map.valid.T),
    )
    found = write(tmp_path, solved, splits={"train": solved[:6], "test": [*solved[6:], turned]})
    assert [f.what for f in found.findings] == [scene.name] and "test, train" in found.findings[0].reason


def test_a_map_that_comes_twice_is_listed(tmp_path, solved):
    renamed = (Scene("renamed", GRID, solved[0][0].building_m), *solved[0][1:])
    found = write(tmp_path / "scene", solved, splits={"train": [*solved[:6], renamed], "test": solved[6:]})
    assert found.sound, "one city under two names in one split is odd, but no leak"
    row = schema.row(solved[0][0], 0, *solved[0][1:])
    about = dict(name="t", kind="srm", shape=GRID.shape, cell_m=GRID.cell_m, sources=("made up",), attribution="")
    shards.write({"train": [row, row]}, tmp_path / "row", **about)
    (finding,) = validate.validate(tmp_path / "row").findings
    assert finding.severity == "error" and "also in train" in finding.reason


def test_rows_that_cannot_be_read_are_counted_and_the_rest_is_checked(tmp_path, solved):
    write(tmp_path, solved)
    (tmp_path / "test/00000.parquet").write_bytes(b"PAR1")
    found = validate.validate(tmp_path)
    (finding,) = found.findings
    assert finding[:2] == ("error", "test/00000.parquet, all rows") and finding.reason
    assert not found.sound and not list(tmp_path.glob("*aside*")), "a dataset is read, not written to"
    assert set(found.facts) == {"train"}


def test_a_card_with_another_range_is_caught(tmp_path, solved):
    write(tmp_path, solved)
    card = DatasetCard.load(tmp_path)
    card.model_copy(update={"gain_range_db": (-90.0, card.gain_range_db[1])}).save(tmp_path)
    assert ("error", "range") in whats(validate.validate(tmp_path))
