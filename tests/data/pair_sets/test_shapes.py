import torch

from lowland.data.pair_sets.shapes import Shapes


def test_every_shape_is_drawn_differently_in_every_style():
    pictures = Shapes().read().images.flatten(0, 1).flatten(1)
    assert len(pictures.unique(dim=0)) == len(pictures) == 3 * 192


def test_outlines_and_stripes_are_parts_of_what_is_filled():
    images = Shapes().read().images
    painted = (images != 255).any(-1)
    assert (painted[:, 1:] <= painted[:, :1]).all()
    assert (painted.flatten(2).sum(2) > 10).all()


def test_it_is_the_same_every_time_and_needs_no_files():
    assert torch.equal(Shapes().load().images, Shapes().load().images)
    assert Shapes.where() == "drawn by the program"
