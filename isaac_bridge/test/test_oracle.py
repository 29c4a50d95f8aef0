"""The oracle on cases made by hand, then on the demo's aisle with and without a braking robot."""

import cmath
import math
from pathlib import Path

import pytest

from isaac_bridge.engines import open_world
from isaac_bridge.layout import Box, Sight
from isaac_bridge.oracle import Row, contacts
from isaac_bridge.visibility import sight_of

CONFIG = Path(__file__).resolve().parents[2] / 'config'
ROBOT_FILE = CONFIG / 'robots/amr.yaml'
SCENARIOS = CONFIG / 'scenarios'

OPEN = Sight((), 20.0)
DT_NS = 25_000_000


def rows(seconds, robot_at, person_at):
    """robot_at(t) -> x, v; person_at(t) -> x, y; the robot stays on y = 0 facing +x."""
    made = []
    for i in range(round(seconds / 0.025) + 1):
        t = i * 0.025
        x, v = robot_at(t)
        made.append(Row(i * DT_NS, (x, 0.0, 0.0, v, 0.0), ((*person_at(t), 0.0, 0.0),)))
    return made


def test_driving_into_somebody_in_full_view_is_moving_and_avoidable(robot):
    (contact,) = contacts(rows(3.0, lambda t: (0.8 * t, 0.8), lambda t: (2.4, 0.0)), robot, OPEN)
    # The front is at 0.4 and the person begins at 2.2: 1.8 m at 0.8 m/s.
    assert contact.t_ns == pytest.approx(2.25e9, abs=DT_NS)
    assert contact.moving
    assert contact.avoidable
    assert contact.speed_mps == 0.8
    assert contact.sighted_ns == 0
    assert contact.rest_ns == pytest.approx(0.1e9 + 0.8 / 1.5 * 1e9, abs=2)


def test_stepping_out_from_behind_a_rack_at_the_last_moment_is_unavoidable(robot):
    rack = Sight((Box(0.0, 0.55, 2.05, 2.0),), 20.0)
    history = rows(3.0, lambda t: (0.8 * t, 0.8), lambda t: (2.2, 2.75 - 1.2 * t))
    (contact,) = contacts(history, robot, rack)
    assert contact.moving
    assert not contact.avoidable
    assert contact.t_ns - contact.sighted_ns < 0.3e9
    (seen,) = contacts(history, robot, OPEN)
    assert seen.avoidable, 'the same walk without the rack'


def test_somebody_who_walks_into_a_resting_robot(robot):
    (contact,) = contacts(
        rows(3.0, lambda t: (0.0, 0.0), lambda t: (0.0, 2.0 - t)), robot, OPEN)
    assert not contact.moving
    assert contact.avoidable


@pytest.mark.parametrize(('v', 'moving'), [(0.05, False), (0.051, True), (-0.051, True)])
def test_five_centimetres_a_second_is_where_resting_ends(robot, v, moving):
    (contact,) = contacts(rows(1.0, lambda t: (0.0, v), lambda t: (1.0 - t, 0.0)), robot, OPEN)
    assert contact.moving is moving


def test_turning_on_the_spot_is_moving(robot):
    history = [Row(i * DT_NS, (0.0, 0.0, 0.0, 0.0, 0.5), ((1.0 - 0.025 * i, 0.0, -1.0, 0.0),))
               for i in range(30)]
    (contact,) = contacts(history, robot, OPEN)
    assert contact.moving
    assert contact.speed_mps == pytest.approx(0.25)


@pytest.mark.parametrize(('hidden_s', 'avoidable'), [(0.35, True), (0.40, False)])
def test_the_boundary_is_reaction_plus_braking_time(robot, hidden_s, avoidable):
    """At 0.8 m/s it takes 0.1 + 0.533 s: contact comes at 1.0 s, sight begins at hidden_s."""
    def person_at(t):
        return (1.4, 0.0) if t >= hidden_s - 1e-9 else (1.4 + 30.0, 0.0)

    (contact,) = contacts(rows(1.5, lambda t: (0.8 * t, 0.8), person_at), robot, OPEN)
    assert contact.t_ns == 1_000_000_000
    assert contact.sighted_ns == round(hidden_s * 1e9)
    assert contact.avoidable is avoidable


def test_sight_must_be_unbroken(robot):
    """Seen early, hidden, seen again too late: the early look does not count."""
    def person_at(t):
        return (1.4, 0.0) if t < 0.2 or t > 0.8 else (40.0, 0.0)

    (contact,) = contacts(rows(1.5, lambda t: (0.8 * t, 0.8), person_at), robot, OPEN)
    assert not contact.avoidable


def test_one_contact_lasts_and_a_second_one_counts_again(robot):
    history = rows(8.0, lambda t: (0.0, 0.0),
                   lambda t: (0.0, 1.0 - math.sin(math.pi * t / 4)))
    assert len(contacts(history, robot, OPEN)) == 1
    history = rows(8.0, lambda t: (0.0, 0.0), lambda t: (0.0, 0.7 + 0.6 * math.cos(math.pi * t)))
    assert len(contacts(history, robot, OPEN)) == 4


def test_a_touch_that_only_the_world_saw_counts(robot):
    history = [Row(i * DT_NS, (0.0,) * 5, ((1.0, 0.0, 0.0, 0.0),), 0 if i == 3 else -1)
               for i in range(6)]
    (contact,) = contacts(history, robot, OPEN)
    assert contact.t_ns == 3 * DT_NS


def test_nobody_and_nothing(robot):
    assert contacts([], robot, OPEN) == []
    assert contacts([Row(0, (0.0,) * 5, ())], robot, OPEN) == []


def record(seed, braking, scenario='aisle.yaml', seconds=45.0):
    """Truth of a drive at 0.8 m/s, with or without a simple stop in front of whatever is near."""
    world = open_world(SCENARIOS / scenario, ROBOT_FILE, seed, camera='off')
    history, held_until_ns = [], 0
    while world.t_ns < seconds * 1e9 and world.frame().robot[0] < 24.0:
        frame = world.frame()
        history.append(Row.of(frame.truth(camera=False)))
        if braking and _something_near(frame.ranges):
            held_until_ns = frame.t_ns + 2_000_000_000
        world.command(0.0 if frame.t_ns < held_until_ns else 0.8, 0.0)
        world.step(5)
    return world, history


def _something_near(ranges):
    near = (ranges[i] * cmath.rect(1.0, math.radians(i * 0.5 - 180.0))
            for i in range(180, 541) if ranges[i] < 2.0)
    return any(point.real < 1.7 and abs(point.imag) < 1.2 for point in near)


@pytest.mark.parametrize('seed', range(3))
def test_a_robot_that_brakes_gets_through_the_aisle_without_contact(seed):
    world, history = record(seed, braking=True)
    assert world.frame().robot[0] >= 24.0
    judged = contacts(history, world.robot, sight_of(world.scenario, world.robot))
    assert [contact for contact in judged if contact.moving] == []
    assert any(row.robot[3] == 0.0 and row.robot[0] > 5.0 for row in history), 'it had to stop'


def test_a_robot_that_never_brakes_meets_people_avoidably():
    judged = []
    for seed in range(3):
        world, history = record(seed, braking=False)
        judged += contacts(history, world.robot, sight_of(world.scenario, world.robot))
    assert len(judged) >= 2
    assert all(contact.moving and contact.avoidable for contact in judged)
