"""The demo's aisle without middleware, over seeds: people who step out stop the robot in time."""

import pytest
from closed_loop import drive, open_aisle


@pytest.fixture(scope='module')
def aisle():
    world = open_aisle()
    yield world
    world.close()


@pytest.mark.parametrize('seed', range(1, 9))
def test_every_seed_has_a_stop_no_contact_and_an_arrival(aisle, seed):
    shown = drive(aisle, seed)
    assert shown.contacts == []
    assert shown.stops >= 1
    assert shown.arrived
    assert shown.min_gap_moving_m > 0.5


def test_nobody_in_the_aisle_means_no_stop():
    world = open_aisle('empty.yaml')
    shown = drive(world, 1)
    world.close()
    assert shown.arrived
    assert shown.stops == 0
    assert shown.seconds < 24 / 0.8 + 4


def test_without_a_reflex_the_same_people_are_touched(aisle):
    """The test's own test: the aisle is dangerous, so no contact is the reflex's doing."""
    touched = 0
    for seed in range(1, 5):
        aisle.reset(seed)
        for _ in range(40 * 36):
            aisle.command(0.8, 0.0)
            aisle.step(5)
            if aisle.frame().contact >= 0:
                touched += 1
                break
    assert touched >= 3
