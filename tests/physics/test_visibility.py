"""Laws of visibility: one rule by two computations, brute force, the symmetries of the square, reciprocity."""

import numpy as np
import pytest

from raymap.physics import visibility

SYMMETRIES = [(turns, flip) for turns in range(4) for flip in (False, True)]


def turned(mask, turns, flip):
    return np.ascontiguousarray(np.rot90(mask[:, ::-1] if flip else mask, turns))


def turned_position(row_col, shape, turns, flip):
    (row, column), (height, width) = row_col, shape
    if flip:
        column = width - column
    for _ in range(turns):  # np.rot90: column c becomes row W-c
        row, column, height, width = width - column, row, width, height
    return row, column


def random_mask(rng, shape=(23, 31), density=0.15):
    mask = rng.random(shape) < density
    mask[rng.integers(shape[0] - 6) :, rng.integers(shape[1])] |= rng.random() < 0.5
    return mask


def free_position(rng, mask, at_centre):
    rows, columns = np.nonzero(~mask)
    pick = rng.integers(len(rows))
    offset = (0.5, 0.5) if at_centre else rng.integers(1, 1024, 2) / 1024
    return rows[pick] + offset[0], columns[pick] + offset[1]


@pytest.mark.parametrize("seed", range(20))
def test_sweep_and_walk_agree_on_every_cell(seed):
    rng = np.random.default_rng(seed)
    mask = random_mask(rng, density=rng.uniform(0.01, 0.4))
    position = free_position(rng, mask, at_centre=seed % 2 == 0)
    if seed % 5 == 0:  # a transmitter on a grid line
        position = max(np.floor(position[0]), 1.0), position[1]
    seen = visibility.line_of_sight(mask, position)
    for (row, column), blocked in np.ndenumerate(mask):
        walked = visibility.segment_clear(mask, *map(float, position), row + 0.5, column + 0.5)
        assert seen[row, column] == (walked and not blocked)


@pytest.mark.parametrize("seed", range(6))
def test_against_dense_sampling(seed):
    rng = np.random.default_rng(100 + seed)
    mask = random_mask(rng)
    position = free_position(rng, mask, at_centre=False)
    seen = visibility.line_of_sight(mask, position)
    steps = np.linspace(0.0, 1.0, 4001)
    for (row, column), blocked in np.ndenumerate(mask):
        if blocked:
            assert not seen[row, column]
            continue
        rows = position[0] + steps * (row + 0.5 - position[0])
        columns = position[1] + steps * (column + 0.5 - position[1])
        met = mask[np.floor(rows).astype(int), np.floor(columns).astype(int)]
        # samples may step over a clipped corner: sampled blocked => not seen; not seen => a blocked cell within 0.01
        if met.any():
            assert not seen[row, column]
        elif not seen[row, column]:
            near = [mask[np.clip(np.floor(rows + a), 0, mask.shape[0] - 1).astype(int),
                         np.clip(np.floor(columns + b), 0, mask.shape[1] - 1).astype(int)].any()
                    for a in (-0.01, 0.01) for b in (-0.01, 0.01)]  # fmt: skip
            assert any(near)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("at_centre", [True, False])
def test_eight_symmetries_are_exact(seed, at_centre):
    rng = np.random.default_rng(200 + seed)
    mask = random_mask(rng, shape=(24, 24) if seed % 2 else (19, 28))
    position = free_position(rng, mask, at_centre)
    seen = visibility.line_of_sight(mask, position)
    for turns, flip in SYMMETRIES:
        image = visibility.line_of_sight(turned(mask, turns, flip), turned_position(position, mask.shape, turns, flip))
        np.testing.assert_array_equal(image, turned(seen, turns, flip))


@pytest.mark.parametrize("seed", range(4))
def test_reciprocity(seed):
    rng = np.random.default_rng(300 + seed)
    mask = random_mask(rng, shape=(16, 21), density=0.2)
    cells = np.argwhere(~mask)
    seen = np.array([visibility.line_of_sight(mask, cell + 0.5)[tuple(cells.T)] for cell in cells])
    np.testing.assert_array_equal(seen, seen.T)
    assert seen.diagonal().all() and 0.05 < seen.mean() < 0.95


def test_squeezing_between_two_blocked_cells_is_blocked_and_grazing_one_is_not():
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    assert visibility.line_of_sight(mask, (1.5, 1.5))[2, 2] and visibility.line_of_sight(mask, (0.5, 0.5))[3, 3]
    mask[2, 1] = True
    assert not visibility.line_of_sight(mask, (0.5, 0.5))[3, 3]
    assert not visibility.line_of_sight(mask, (1.5, 1.5))[2, 2]


def test_adding_a_blocked_cell_never_reveals_anything():
    rng = np.random.default_rng(7)
    mask = random_mask(rng, density=0.05)
    position = free_position(rng, mask, at_centre=True)
    seen = visibility.line_of_sight(mask, position)
    for _ in range(20):
        row, column = rng.integers(mask.shape)
        if (row, column) == (int(position[0]), int(position[1])):
            continue
        mask[row, column] = True
        fewer = visibility.line_of_sight(mask, position)
        assert not (fewer & ~seen).any()
        seen = fewer


def test_batch_is_the_single_call_repeated():
    rng = np.random.default_rng(8)
    masks = np.stack([random_mask(rng) for _ in range(3)])
    positions = np.array([free_position(rng, mask, at_centre=False) for mask in masks])
    seen = visibility.line_of_sight_batch(masks, positions)
    for index in range(3):
        np.testing.assert_array_equal(seen[index], visibility.line_of_sight(masks[index], positions[index]))


def test_a_position_outside_is_refused():
    with pytest.raises(ValueError, match="outside"):
        visibility.line_of_sight(np.zeros((4, 5), bool), (4.0, 1.0))
    with pytest.raises(ValueError, match="2 masks but 1"):
        visibility.line_of_sight_batch(np.zeros((2, 4, 5), bool), np.zeros((1, 2)))
