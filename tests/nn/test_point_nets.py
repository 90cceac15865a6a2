import torch

from raymap.nn.point_nets import CoordinateNet, Sage


def net(num_layers=3):
    torch.manual_seed(0)
    made = Sage(6, 4, width=16, num_layers=num_layers, dropout=0.0)
    torch.nn.init.normal_(made.out.weight)
    return made


def test_a_network_that_has_learned_nothing_adds_nothing():
    made = Sage(6, 4, width=16, num_layers=2, dropout=0.1)
    states = made.measured(torch.randn(5, 6), torch.randint(5, (5, 3)))
    assert torch.equal(made.asked(torch.randn(7, 6), torch.randint(5, (7, 3)), states), torch.zeros(7, 4))


def test_an_answer_does_not_depend_on_what_else_is_asked():
    made, measured, rows = net(), torch.randn(9, 6), torch.randint(9, (9, 3))
    states = made.measured(measured, rows)
    asked, near = torch.randn(5, 6), torch.randint(9, (5, 3))
    alone = made.asked(asked[2:3], near[2:3], states)
    torch.testing.assert_close(made.asked(asked, near, states)[2:3], alone)


def test_every_layer_hears_one_step_further():
    """In a chain of measured points, a point that is asked hears the one that is as many steps off as there are
    layers, and none behind it."""
    num = 8
    chain = torch.arange(num).sub(1).clamp_min(0)[:, None]
    features = torch.randn(num, 6)
    for num_layers in (1, 2, 4):
        made = net(num_layers)
        answers = []
        for changed in range(num):
            other = features.clone()
            other[changed] += 1.0
            states = made.measured(other, chain)
            answers.append(made.asked(torch.zeros(1, 6), torch.tensor([[num - 1]]), states))
        whole = made.asked(torch.zeros(1, 6), torch.tensor([[num - 1]]), made.measured(features, chain))
        heard = [not torch.allclose(answer, whole, atol=1e-7) for answer in answers]
        assert heard == [num - 1 - place < num_layers for place in range(num)]


def test_neighbours_have_no_order():
    made, measured, rows = net(), torch.randn(9, 6), torch.randint(9, (9, 3))
    states, turned = made.measured(measured, rows), made.measured(measured, rows.flip(1))
    for one, other in zip(states, turned, strict=True):
        torch.testing.assert_close(one, other)


def test_what_coordinates_tell_has_the_shapes_of_paths():
    made = CoordinateNet(3, num_paths=5, num_values=5, width=32, env_width=16, dropout=0.0)
    told = made(torch.randn(7, 3))
    assert told.values.shape == (7, 5, 5) and told.kinds.shape == (7, 5, 4) and told.reflection.shape == (7, 1)
    assert ((told.reflection > 0) & (told.reflection < 1)).all()
