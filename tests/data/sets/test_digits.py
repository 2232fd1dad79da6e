from lowland.data.sets.digits import Digits


def test_the_split_is_the_same_every_time_and_depends_on_the_seed():
    first, again, other = (Digits(seed=seed).load().train.y for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


def test_every_class_has_a_third_of_its_digits_in_the_test_part():
    data = Digits().load()
    train, test = (part.y.bincount(minlength=10) for part in (data.train, data.test))
    assert test.equal((train + test) // 3)
    assert int((train + test).sum()) == 1797


def test_no_digit_is_in_both_parts_more_often_than_it_was_drawn_twice():
    data = Digits().load()
    train, test = ({tuple(x.flatten().tolist()) for x in part.x} for part in (data.train, data.test))
    assert len(train & test) == 0


def test_classes_are_mixed_so_that_a_hundred_images_have_all():
    assert len(Digits(train=100).load().train.y.unique()) == 10
