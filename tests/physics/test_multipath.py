"""Laws of the PINN terms: nothing to pay for true paths, something for false ones; gradients, turns, padding."""

import math

import pytest
import torch

from raymap import units
from raymap.physics import multipath
from raymap.physics.multipath import Terms
from raymap.scene import PathKind

FREQUENCY_HZ = 3.5e9
TRANSMITTER_M = torch.tensor([0.0, 0.0, 10.0], dtype=torch.float64)
LOS, REFLECTION, SCATTERING, DIFFRACTION = range(4)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def one_hot(*kinds):
    return torch.nn.functional.one_hot(torch.tensor([kinds]), 4).double()


def free_space_db(length_m):
    return -units.free_space_loss_db(length_m, FREQUENCY_HZ)


def reflected(receiver_m, wall_y_m, loss_db=6.0):
    """(power_db, delay_s, zenith_rad, azimuth_rad) off the wall y = ``wall_y_m``, by the transmitter's image."""
    x, y, z = TRANSMITTER_M.tolist()
    to_image = [x - receiver_m[0], 2 * wall_y_m - y - receiver_m[1], z - receiver_m[2]]
    length_m = math.hypot(*to_image)
    zenith, azimuth = math.acos(to_image[2] / length_m), math.atan2(to_image[1], to_image[0])
    return free_space_db(length_m) - loss_db, length_m / units.SPEED_OF_LIGHT_M_S, zenith, azimuth


def street(receiver_m=(30.0, 40.0, 10.0 - 120.0), wall_y_m=-60.0):
    """The line of sight (130 m, by Pythagoras twice) and the reflection off a wall, as arguments of ``all_terms``."""
    direct = free_space_db(130.0), 130.0 / units.SPEED_OF_LIGHT_M_S, math.acos(120 / 130), math.atan2(-40.0, -30.0)
    values = [row(*pair) for pair in zip(direct, reflected(receiver_m, wall_y_m), strict=True)]
    values += [one_hot(LOS, REFLECTION), row(1.0, 1.0), row(*receiver_m), TRANSMITTER_M]
    return [*values, torch.ones(1, 2, dtype=torch.bool)]


@pytest.fixture
def crowd():
    """Random predictions of 5 paths at 7 receivers, most of which break every rule, as arguments of ``all_terms``."""
    random = torch.Generator().manual_seed(1)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=random, dtype=torch.float64)

    receivers_m = uniform(-100, 100, 7, 3)
    delay_s = receivers_m.norm(dim=1, keepdim=True) / units.SPEED_OF_LIGHT_M_S * uniform(0.5, 2, 7, 5)
    values = [uniform(-95, -70, 7, 5), delay_s, uniform(0, 3.1, 7, 5), uniform(-3.1, 3.1, 7, 5)]
    values += [uniform(-1, 1, 7, 5, 4).softmax(-1), uniform(0, 1, 7, 1), receivers_m, TRANSMITTER_M]
    mask = torch.arange(5) < torch.tensor([5, 5, 4, 3, 2, 1, 0])[:, None]
    return [*values, mask]


def all_terms(power_db, delay_s, zenith_rad, azimuth_rad, probability, reflection, receivers_m, transmitter_m, mask):
    where = receivers_m, transmitter_m
    return Terms(
        multipath.power(power_db, probability, *where, FREQUENCY_HZ, mask),
        multipath.delay(delay_s, probability, *where, mask),
        multipath.angles(zenith_rad, azimuth_rad, probability, reflection, *where, mask),
        multipath.consistency(power_db, delay_s, probability, *where, FREQUENCY_HZ, mask),
    )


def test_types_are_the_kinds_of_the_scene_without_transmission():
    assert list(multipath.TYPES) == [kind for kind in PathKind if kind != PathKind.TRANSMISSION]


def test_geometry_is_that_of_the_straight_line():
    line = multipath.line_of_sight(row(30.0, 40.0, -110.0), TRANSMITTER_M)
    assert float(line.distance_m) == pytest.approx(130.0)
    assert float(line.zenith_rad) == pytest.approx(math.atan2(50, 120))
    assert float(line.azimuth_rad) == pytest.approx(-math.pi + math.atan2(4, 3))
    above = multipath.line_of_sight(row(0.0, 0.0, 35.0), TRANSMITTER_M)
    assert (float(above.zenith_rad), bool(above.has_zenith), bool(above.has_azimuth)) == (math.pi, True, False)


def test_free_space_is_friis_and_never_amplifies():
    distances_m = torch.tensor([0.0, 1e-3, 1.0, 250.0], dtype=torch.float64)
    found = multipath.free_space_gain_db(distances_m, FREQUENCY_HZ)
    assert found.tolist() == pytest.approx([0, 0, free_space_db(1.0), free_space_db(250.0)])


def test_a_line_of_sight_and_a_reflection_off_a_wall_cost_nothing():
    found = all_terms(*street())
    assert [float(term) for term in found] == pytest.approx([0] * 4, abs=1e-15)


def test_scattered_and_diffracted_paths_within_their_limits_cost_nothing():
    receiver_m = row(100.0, 0.0, 10.0)
    delays = [factor * 100.0 / units.SPEED_OF_LIGHT_M_S for factor in (1.41, 1.61)]
    levels = [free_space_db(100.0) - down_db for down_db in (11.0, 12.0)]
    values = [row(*levels), row(*delays), row(0.1, math.pi / 2 + 0.7), row(0.2, math.pi / 2 + 0.1)]
    mask = torch.ones(1, 2, dtype=torch.bool)
    found = all_terms(*values, one_hot(SCATTERING, DIFFRACTION), row(0.0, 0.0), receiver_m, TRANSMITTER_M, mask)
    assert [float(term) for term in found] == [0] * 4


@pytest.mark.parametrize(("kind", "cap"), [(REFLECTION, 0.7), (SCATTERING, 0.3), (DIFFRACTION, 0.1)])
def test_power_beyond_its_cap_costs_the_square_of_tens_of_decibels(kind, cap):
    arguments = one_hot(kind), row(100.0, 0.0, 10.0), TRANSMITTER_M, FREQUENCY_HZ, torch.ones(1, 1, dtype=torch.bool)
    limit_db = free_space_db(100.0) + 10 * math.log10(cap)
    found = [float(multipath.power(row(limit_db + more), *arguments)) for more in (-40.0, -0.01, 5.0, 20.0)]
    assert found == pytest.approx([0, 0, 0.25, 4.0])


def test_a_line_of_sight_pays_for_too_little_power_as_for_too_much():
    arguments = one_hot(LOS), row(100.0, 0.0, 10.0), TRANSMITTER_M, FREQUENCY_HZ, torch.ones(1, 1, dtype=torch.bool)
    found = [float(multipath.power(row(free_space_db(100.0) + off), *arguments)) for off in (-5.0, 5.0)]
    assert found == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(("kind", "factor"), [(LOS, 1.0), (REFLECTION, 1.2), (SCATTERING, 1.4), (DIFFRACTION, 1.6)])
@pytest.mark.parametrize("distance_m", [3.0, 3000.0])
def test_a_path_that_is_early_pays_the_square_of_its_share_of_the_way(kind, factor, distance_m):
    arguments = one_hot(kind), row(distance_m, 0.0, 10.0), TRANSMITTER_M, torch.ones(1, 1, dtype=torch.bool)
    direct_s = distance_m / units.SPEED_OF_LIGHT_M_S
    found = [float(multipath.delay(row((factor + more) * direct_s), *arguments)) for more in (-0.5, 1e-9, 3.0)]
    assert found == pytest.approx([0.25, 0, 0])
    plain = multipath.delay(row(1.0001 * direct_s), *arguments, factors=(1.0, 1.0, 1.0, 1.0))
    assert float(plain) == 0, "with factors of one every path that is not faster than light is free"


@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        (LOS, lambda rise, turn: rise + turn),
        (REFLECTION, lambda rise, turn: max(0, rise - math.pi / 8) ** 2 + max(0, turn - math.pi / 4) ** 2),
        (SCATTERING, lambda rise, turn: 0.0),
        (DIFFRACTION, lambda rise, turn: max(0, rise - math.pi / 4) ** 2 + max(0, turn - math.pi / 2) ** 2),
    ],
)
@pytest.mark.parametrize(("rise", "turn"), [(0.0, 0.0), (0.3, 0.0), (0.0, -2.5), (-1.2, 1.7), (0.5, 0.6)])
def test_each_type_pays_for_its_turn_by_its_own_measure(kind, cost, rise, turn):
    azimuth = math.pi - 0.1 + turn  # the transmitter's is 0.1 rad before the end of the circle
    receiver_m = row(-100 * math.cos(math.pi - 0.1), -100 * math.sin(math.pi - 0.1), 10.0)
    for whole_turns in (0, -2):
        angles = row(math.pi / 2 + rise), row(azimuth + whole_turns * math.pi)
        mask = torch.ones(1, 1, dtype=torch.bool)
        found = multipath.angles(*angles, one_hot(kind), row(0.5), receiver_m, TRANSMITTER_M, mask)
        assert float(found) == pytest.approx(cost(abs(rise), abs(turn)), abs=1e-12)


def test_power_may_rise_with_no_delay_and_pairs_pay_the_product():
    receiver_m, mask = row(100.0, 0.0, 10.0), torch.ones(1, 3, dtype=torch.bool)
    delays_s = row(100.0, 130.0, 200.0) / units.SPEED_OF_LIGHT_M_S
    for levels_db, cost in (((-80, -90, -95), 0), ((-80, -80, -80), 0), ((-80, -75, -95), 0.5 * 0.3 / 3)):
        found = multipath.falling_power(row(*levels_db), delays_s, receiver_m, TRANSMITTER_M, mask)
        assert float(found) == pytest.approx(cost)
        order = torch.tensor([2, 0, 1])
        shuffled = row(*levels_db)[:, order], delays_s[:, order]
        assert float(multipath.falling_power(*shuffled, receiver_m, TRANSMITTER_M, mask)) == pytest.approx(cost)


def test_the_line_of_sight_is_inferred_from_power_and_delay_and_held_against_the_classifier():
    receivers_m = row(100.0, 0.0, 10.0).expand(4, 3)
    power_db = free_space_db(100.0) + row(0.0, -5.0, 0.0, -30.0).T
    delay_s = row(100.0, 100.0, 110.0, 100.0).T / units.SPEED_OF_LIGHT_M_S
    where, mask = (receivers_m, TRANSMITTER_M, FREQUENCY_HZ), torch.ones(4, 1, dtype=torch.bool)
    found = multipath.sight_probability(power_db, delay_s, *where, mask)
    assert found.tolist() == pytest.approx([1.0, 0.5, 0.5, 0.0])
    claims = torch.zeros(4, 1, 4, dtype=torch.float64)
    claims[:, 0, 0], claims[:, 0, 1] = 0.25, 0.75
    cost = multipath.consistency(power_db, delay_s, claims, *where, mask)
    assert float(cost) == pytest.approx((0.75**2 + 3 * 0.25**2) / 4)


@pytest.mark.parametrize("broken", ["power_db", "delay_s", "zenith_rad", "azimuth_rad", "types"])
def test_every_term_rises_when_what_it_asks_is_broken(broken):
    place = {"power_db": 0, "delay_s": 1, "zenith_rad": 2, "azimuth_rad": 3, "types": 4}[broken]
    concerned = {0: {"power", "consistency"}, 1: {"delay", "consistency"}, 2: {"angles"}, 3: {"angles"},
                 4: {"power", "delay", "angles"}}[place]  # fmt: skip
    arguments = street()
    true = arguments[place]
    arguments[place] = [true.flip(1) + 8, 0.9 * true.flip(1), true + 1.0, true + 2.0, one_hot(DIFFRACTION, LOS)][place]
    found = all_terms(*arguments)
    for name, cost in found._asdict().items():
        assert (float(cost) > 1e-4) == (name in concerned), name


def test_a_path_without_a_type_is_asked_for_nothing(crowd):
    crowd[4] = torch.zeros_like(crowd[4])
    found = all_terms(*crowd)
    assert [float(term) for term in found[:3]] == [0, 0, 0]


def test_terms_are_means_over_the_paths_there_are(crowd):
    whole = all_terms(*crowd)[:3]
    mask, parts = crowd[-1], torch.zeros(3, dtype=torch.float64)
    for receiver, path in mask.nonzero().tolist():
        one = [part[receiver : receiver + 1, path : path + 1] for part in crowd[:5]]
        place = [crowd[5][receiver : receiver + 1], crowd[6][receiver : receiver + 1], TRANSMITTER_M]
        parts += torch.stack(all_terms(*one, *place, torch.ones(1, 1, dtype=torch.bool))[:3])
    torch.testing.assert_close(torch.stack(whole), parts / mask.sum())


@pytest.mark.parametrize("turn", [0.7, math.pi, -2.9])
def test_turning_scene_and_azimuths_together_changes_nothing(crowd, turn):
    before = all_terms(*crowd)
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
    crowd[6], crowd[7] = crowd[6] @ matrix, crowd[7] @ matrix
    crowd[3] = multipath.wrapped(crowd[3] + turn)
    torch.testing.assert_close(all_terms(*crowd), before)
    assert all(float(term) > 0.01 for term in before)


def test_what_padding_holds_changes_no_term_and_no_gradient(crowd):
    def with_gradients(arguments):
        leaves = [part.detach().clone().requires_grad_() for part in arguments[:5]]
        total = multipath.physical(all_terms(*leaves, *arguments[5:]))
        return total.detach(), torch.autograd.grad(total, leaves)

    mask = crowd[-1]
    padded = [torch.where(mask if part.ndim == 2 else mask[..., None], part, math.nan) for part in crowd[:5]]
    crowd[5] = crowd[5].expand(mask.shape)
    before, gradients = with_gradients(crowd)
    crowd[5] = torch.where(mask, crowd[5], math.nan)
    after, others = with_gradients([*padded, *crowd[5:]])
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(others, gradients)
    assert all((gradient[~mask] == 0).all() for gradient in gradients)


def test_gradients_are_those_of_finite_differences(crowd):
    length_m = (crowd[1] * units.SPEED_OF_LIGHT_M_S).requires_grad_()  # a step of 1e-6 in seconds would be 300 m

    def everything(power_db, length_m, zenith_rad, azimuth_rad, probability, reflection, receivers_m, transmitter_m):
        delay_s = length_m / units.SPEED_OF_LIGHT_M_S
        values = power_db, delay_s, zenith_rad, azimuth_rad, probability, reflection, receivers_m, transmitter_m
        return all_terms(*values, crowd[-1])

    leaves = [length_m if at == 1 else part.clone().requires_grad_() for at, part in enumerate(crowd[:-1])]
    assert torch.autograd.gradcheck(everything, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_at_the_transmitter_and_straight_below_it(dtype):
    leaves = [torch.zeros(3, 2, dtype=dtype, requires_grad=True) for _ in range(4)]
    leaves += [torch.full((3, 2, 4), 0.25, dtype=dtype, requires_grad=True)]
    leaves += [torch.zeros(3, 1, dtype=dtype, requires_grad=True)]
    receivers_m = torch.tensor([[0.0, 0, 10], [0, 0, 0], [1e-30, 0, 10]], dtype=dtype, requires_grad=True)
    leaves += [receivers_m, TRANSMITTER_M.to(dtype, copy=True).requires_grad_()]
    found = all_terms(*leaves, torch.ones(3, 2, dtype=torch.bool))
    gradients = torch.autograd.grad(sum(found), leaves)
    assert all(torch.isfinite(term) for term in found)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_no_path_at_all_costs_nothing(crowd):
    crowd[-1] = torch.zeros_like(crowd[-1])
    assert [float(term) for term in all_terms(*crowd)] == [0] * 4
    logits = torch.zeros(7, 5, 4)
    assert float(multipath.type_cross_entropy(logits, torch.zeros(7, 5, dtype=torch.long), crowd[-1])) == 0


def test_the_supervised_term_counts_known_numbers_in_their_units_and_azimuths_on_the_circle():
    true = torch.tensor([[[-80.0, 1e-7, 1.0, 3.1], [-90.0, math.nan, 1.0, 0.0], [math.nan] * 4]])
    predicted = torch.tensor([[[-86.0, 3e-7, 1.5, -3.1], [-90.0, 5e-7, 1.0, 0.0], [1.0] * 4]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    found = multipath.supervised(predicted, true, torch.tensor([6.0, 1e-7, 0.5, 0.1]), mask)
    across = (2 * math.pi - 6.2) / 0.1
    assert float(found.detach()) == pytest.approx((1 + 4 + 1 + across**2) / 2, rel=1e-4)
    (gradient,) = torch.autograd.grad(found, predicted)
    assert torch.isfinite(gradient).all() and (gradient[0, 2] == 0).all() and gradient[0, 1, 1] == 0


def test_cross_entropy_is_that_of_the_paths_whose_kind_is_one_of_the_four():
    probability = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().expand(1, 5, 4)
    kind = torch.tensor([[0, 1, -1, PathKind.TRANSMISSION, 3]], dtype=torch.int8)
    mask = torch.tensor([[True, True, True, True, False]])
    found = multipath.type_cross_entropy(probability, kind, mask)
    assert float(found) == pytest.approx((math.log(2) + math.log(4)) / 2)
    sure = torch.tensor([[[0.0, 500.0, 0.0, 0.0]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(multipath.type_cross_entropy(sure, kind[:, :1], mask[:, :1]), sure)
    assert gradient[0, 0].tolist() == [-1, 1, 0, 0], "a type held for impossible is still learnt"


def test_weights_of_physics_and_types_rise_evenly_through_training():
    assert [multipath.physics_weight(share) for share in (0, 0.5, 1)] == pytest.approx([0.05, 0.275, 0.5])
    assert [multipath.type_weight(share) for share in (0, 0.5, 1)] == pytest.approx([0.05, 0.175, 0.3])
    one = torch.tensor(1.0)
    assert float(multipath.composite(one, 2 * one, 3 * one, 1.0)) == pytest.approx(1 + 2 * 0.5 + 3 * 0.3)
    assert float(multipath.physical(Terms(one, one, one, one), (1, 2, 3, 4))) == 10
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1.1"):
        multipath.physics_weight(1.1)


def test_shapes_that_do_not_belong_together_are_refused(crowd):
    with pytest.raises(ValueError, match=r"receivers_m must be \(N, 3\) .* got \(7, 2\)"):
        multipath.line_of_sight(crowd[6][:, :2], TRANSMITTER_M)
    with pytest.raises(ValueError, match=r"type_probability must be \(7, 5, 4\), got \(7, 5, 5\)"):
        multipath.delay(crowd[1], torch.ones(7, 5, 5), crowd[6], TRANSMITTER_M, crowd[-1])
