import numpy as np
import pytest

from raymap.physics import edges

SHAPE = (24, 24)


def step_map(low_db=-120.0, high_db=-70.0):
    """Bright to the left, dark to the right, all outdoors."""
    gain_db = np.full(SHAPE, low_db, np.float32)
    gain_db[:, :12] = high_db
    return gain_db, np.ones(SHAPE, bool)


def test_canny_marks_the_step_and_nothing_else():
    marked = edges.canny(*step_map())
    assert set(np.unique(marked)) == {0.0, 1.0}
    columns = np.flatnonzero(marked[4:-4].any(axis=0))
    assert set(columns) <= {11, 12} and (marked[4:-4].sum(axis=1) == 1).all()
    assert not edges.canny(*step_map(-90.0, -90.0)).any()


def test_walls_are_no_edges_for_canny_and_never_read():
    gain_db, valid = np.full(SHAPE, -90.0, np.float32), np.ones(SHAPE, bool)
    valid[8:16, 8:16] = False
    gain_db[~valid] = np.nan
    assert not edges.canny(gain_db, valid).any()


def test_local_binary_pattern_of_known_neighbourhoods():
    gain_db, valid = np.full(SHAPE, -90.0, np.float32), np.ones(SHAPE, bool)
    gain_db[10, 10], gain_db[18, 18] = -60.0, -120.0
    marked = edges.local_binary_pattern(gain_db, valid)
    # A peak has no neighbour as bright; flat ground and a pit have all eight.
    assert marked[10, 10] == 0.0
    assert marked[4, 4] == marked[18, 18] == pytest.approx(8 / 9)


@pytest.mark.parametrize("detect", [edges.canny, edges.local_binary_pattern])
class TestEveryDetector:
    def test_maps_of_a_stack_are_independent(self, detect):
        gain_db = np.random.default_rng(0).uniform(-140, -50, (3, *SHAPE)).astype(np.float32)
        valid = np.random.default_rng(1).random((3, *SHAPE)) > 0.2
        stacked = detect(gain_db, valid)
        assert stacked.shape == gain_db.shape and stacked.dtype == np.float32
        for index in range(3):
            assert (stacked[index] == detect(gain_db[index], valid[index])).all()
        assert stacked.min() >= 0.0 and stacked.max() <= 1.0 and not stacked[~valid].any()

    def test_bad_input_is_named(self, detect):
        gain_db, valid = step_map()
        with pytest.raises(ValueError, match=r"\(24, 24\) and \(24, 23\)"):
            detect(gain_db, valid[:, :-1])
        gain_db[3, 3] = np.nan
        with pytest.raises(ValueError, match="1 are not"):
            detect(gain_db, valid)
