"""The published splits: computed as published, fingerprinted, and their overlaps known."""

import numpy as np
import pytest

from raymap.data import radiomapseer_splits as splits


def test_the_shuffle_is_the_published_one():
    """The loaders seed numpy's global generator and shuffle int16 in place; the result is pinned by its hash."""
    ids = np.arange(0, 700, 1, dtype=np.int16)
    np.random.RandomState(42).shuffle(ids)
    published = splits.split("radiounet")
    joined = published["train"] + published["val"] + published["test"]
    assert list(joined) == (ids + 1).tolist()
    assert splits.fingerprint(joined) == splits.FINGERPRINT
    assert joined[:5] == (159, 501, 397, 156, 322) and joined[601:606] == (419, 392, 593, 499, 139)


def test_radiounets_parts_are_apart_and_leave_out_map_0():
    parts = splits.split("radiounet")
    assert {name: len(ids) for name, ids in parts.items()} == {"train": 501, "val": 100, "test": 99}
    assert splits.overlaps(parts) == {} and splits.disjoint(parts) == parts
    assert {map_id for ids in parts.values() for map_id in ids} == set(range(1, 701))


def test_overlaps_of_the_other_splits_are_told_and_undone():
    parts = splits.split("radiodiff")
    assert {name: len(ids) for name, ids in parts.items()} == {"train": 601, "val": 51, "test": 100}
    shared = splits.overlaps(parts)
    assert {pair: len(ids) for pair, ids in shared.items()} == {
        ("train", "val"): 1, ("train", "test"): 1, ("val", "test"): 51,
    }  # fmt: skip
    assert shared["train", "test"] == (parts["test"][0],) == (parts["train"][-1],)
    apart = splits.disjoint(parts)
    assert splits.overlaps(apart) == {}
    assert apart["test"] == parts["test"] and apart["val"] == () and apart["train"] == parts["train"][:-1]
    assert splits.overlaps(splits.split("radiodiff-k")) == {("val", "test"): tuple(sorted(parts["val"]))}


def test_asking_changes_nobodys_random_numbers():
    np.random.seed(7)
    wanted = np.random.random(3)
    np.random.seed(7)
    splits.split()
    assert np.array_equal(np.random.random(3), wanted)


def test_unknown_splits_are_refused():
    with pytest.raises(ValueError, match=r"unknown split 'mine'; published are radiounet, radiodiff"):
        splits.split("mine")
