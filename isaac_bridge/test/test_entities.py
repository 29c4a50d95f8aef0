"""Entities, resets and digests of a world, in process."""

import dataclasses
import math

import pytest

from isaac_bridge.crowd import BOX, PERSON
from isaac_bridge.engines import create
from isaac_bridge.entities import Category, EntityError, Fault, Pose, Resource, Scope, State
from isaac_bridge.world import START_NS


@pytest.fixture
def world(aisle, robot):
    made = create('mujoco', camera='off', odometry_error=0.01)
    made.load(aisle, robot, 3)
    yield made
    made.close()


def drive(world, scans=40):
    for _ in range(scans):
        world.command(0.8, 0.2)
        world.step(5)


def test_what_there_is(world):
    assert [(one.name, one.category) for one in world.entities()] == [
        ('amr', Category.ROBOT), ('picker', Category.HUMAN), ('clerk', Category.HUMAN)]
    drive(world)
    assert world.state('amr').pose.position[:2] == world.frame().robot[:2]
    assert world.state('amr').pose.yaw == pytest.approx(world.frame().robot[2])
    assert math.hypot(*world.state('amr').linear[:2]) == pytest.approx(world.frame().twist[0])
    assert world.state('picker').pose.position[:2] == tuple(world.frame().people[0, :2])
    assert world.bounds('amr').upper == (0.4, 0.3, 0.35)
    with pytest.raises(EntityError, match="no entity named 'nobody'") as told:
        world.state('nobody')
    assert told.value.fault is Fault.NOT_FOUND


def test_people_with_the_robots_or_each_others_name_get_one_of_their_own(aisle, robot):
    named = [dataclasses.replace(aisle.people[0], name=name) for name in ('amr', 'x', 'x')]
    world = create('mujoco', camera='off')
    world.load(dataclasses.replace(aisle, people=tuple(named)), robot, 0)
    assert [one.name for one in world.entities()] == ['amr', 'amr_2', 'x', 'x_2']


def test_a_spawned_box_is_seen_and_stops_the_robot(world):
    drive(world, 10)
    before = world.digest(), world.frame().ranges[360]
    world.spawn('crate', BOX, Pose.flat(3.0, 0.0))
    world.delete('crate')
    assert (world.digest(), world.frame().ranges[360]) == before, 'as if it had never been there'
    world.spawn('crate', Resource('box', (1.0, 2.0, 1.0)), Pose.flat(3.0, 0.0))
    x, _, yaw = world.frame().robot
    assert world.frame().ranges[360] == pytest.approx((2.5 - x) / math.cos(yaw), abs=0.1)
    for _ in range(400):
        world.command(0.8, 0.0)
        world.step(5)
    assert world.frame().robot[0] < 2.5 - 0.4 + 0.05
    assert world.state('crate').pose == Pose.flat(3.0, 0.0)


def test_a_spawned_person_is_in_the_truth_and_can_be_touched(world):
    world.spawn('guest', PERSON, Pose.flat(1.2, 0.0))
    assert world.frame().people[2].tolist() == [1.2, 0.0, 0.0, 0.0]
    assert world.frame().clearance_m == pytest.approx(0.6)
    for _ in range(80):
        world.command(0.8, 0.0)
        world.step(5)
    assert world.frame().contact == 2


def test_a_set_person_leaves_the_walk_and_goes_straight_on(world):
    world.set_state('clerk', State(Pose.flat(5.0, 0.5, 0.3), (0.5, -0.25, 0.0)))
    assert world.state('clerk').pose == Pose.flat(5.0, 0.5, 0.3)
    world.step(400)
    assert world.state('clerk').pose.position == pytest.approx((6.0, 0.0, 0.0))
    assert world.frame().people[1].tolist() == pytest.approx([6.0, 0.0, 0.5, -0.25])


def test_a_set_robot_goes_on_from_there(world):
    world.set_state('amr', State(Pose.flat(6.0, 1.0, math.pi / 2), (0.0, 0.5, 0.0)))
    frame = world.frame()
    assert frame.robot == pytest.approx((6.0, 1.0, math.pi / 2))
    assert frame.twist == pytest.approx((0.5, 0.0))
    assert frame.odometry.pose == frame.robot
    world.step(200)
    # No command: the drives brake it from there.
    assert world.frame().robot[1] == pytest.approx(1.0 + 0.5 ** 2 / (2 * 1.5), abs=0.005)
    assert world.frame().twist[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(('name', 'state', 'fault'), [
    ('amr', State(Pose((0.0, 0.0, 0.5))), Fault.POSE_INVALID),
    ('amr', State(Pose.flat(900.0, 0.0)), Fault.POSE_INVALID),
    ('amr', State(Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))), Fault.POSE_INVALID),
    ('amr', State(Pose((0.0, 0.0, 0.0), (0.7071, 0.0, 0.0, 0.7071))), Fault.POSE_INVALID),
    ('amr', State(Pose.flat(math.nan, 0.0)), Fault.POSE_INVALID),
    ('amr', State(Pose(), (0.0, 0.0, 1.0)), Fault.REFUSED),
    ('amr', State(Pose(), (math.inf, 0.0, 0.0)), Fault.REFUSED),
    ('picker', State(Pose(), (0.0, 0.0, 0.0), (0.0, 0.0, 99.0)), Fault.REFUSED),
    ('crate', State(Pose(), (0.1, 0.0, 0.0)), Fault.REFUSED),
    ('nobody', State(), Fault.NOT_FOUND)])
def test_impossible_states_change_nothing(world, name, state, fault):
    world.spawn('crate', BOX, Pose.flat(9.0, 0.0))
    before = world.digest()
    with pytest.raises(EntityError) as told:
        world.set_state(name, state)
    assert told.value.fault is fault
    assert world.digest() == before


@pytest.mark.parametrize(('name', 'resource', 'pose', 'fault'), [
    ('amr', BOX, Pose(), Fault.NAME_TAKEN), ('a b', BOX, Pose(), Fault.NAME_INVALID),
    ('', BOX, Pose(), Fault.NAME_INVALID), ('x' * 65, BOX, Pose(), Fault.NAME_INVALID),
    ('b', Resource('rocket', (1.0, 1.0, 1.0)), Pose(), Fault.RESOURCE),
    ('b', Resource('box', (1.0, 1.0, 0.0)), Pose(), Fault.RESOURCE),
    ('b', Resource('box', (1.0, math.nan, 1.0)), Pose(), Fault.RESOURCE),
    ('b', Resource('cylinder', (1.0, 2.0, 1.0)), Pose(), Fault.RESOURCE),
    ('b', Resource('person', (1.0, 1.0, 1.0)), Pose(), Fault.RESOURCE),
    ('b', BOX, Pose.flat(0.0, 99.0), Fault.POSE_INVALID),
    ('b', PERSON, Pose((0.0, 0.0, 1.0)), Fault.POSE_INVALID)])
def test_impossible_spawns_change_nothing(world, name, resource, pose, fault):
    before = world.digest()
    with pytest.raises(EntityError) as told:
        world.spawn(name, resource, pose)
    assert told.value.fault is fault
    assert world.digest() == before


def test_the_robot_cannot_be_deleted_and_people_can(world):
    with pytest.raises(EntityError, match='cannot be deleted'):
        world.delete('amr')
    world.delete('picker')
    assert [one.name for one in world.entities()] == ['amr', 'clerk']
    assert world.frame().people.shape == (1, 4)
    world.reset(3, Scope.SPAWNED)
    assert len(world.entities()) == 2
    world.reset(3, Scope.STATE)
    assert [one.name for one in world.entities()] == ['amr', 'picker', 'clerk']


def changed(world):
    drive(world)
    world.spawn('crate', BOX, Pose.flat(12.0, 1.0))
    world.spawn('guest', PERSON, Pose.flat(5.0, 1.5))
    world.set_state('guest', State(Pose.flat(5.0, 1.5), (0.1, 0.0, 0.0)))
    drive(world, 10)


def test_time_alone(world):
    changed(world)
    states = {one.name: world.state(one.name) for one in world.entities()}
    ranges = world.frame().ranges
    world.reset(99, Scope.TIME)
    assert world.t_ns == world.frame().t_ns == START_NS
    assert {one.name: world.state(one.name) for one in world.entities()} == states
    assert (world.frame().ranges == ranges).all()


def test_time_alone_changes_no_future(aisle, robot):
    def run(scope):
        world = create('mujoco', camera='off')
        world.load(aisle, robot, 3)
        changed(world)
        if scope:
            world.reset(3, scope)
        drive(world, 100)
        return dataclasses.replace(world.frame(), t_ns=0).digest()
    assert run(Scope(0)) == run(Scope.TIME)


def test_state_alone(world):
    changed(world)
    now = world.t_ns
    world.reset(3, Scope.STATE)
    assert world.t_ns == now
    assert world.frame().robot == (0.0, 0.0, 0.0)
    assert world.frame().joint_positions == (0.0, 0.0)
    assert world.state('guest') == State(Pose.flat(5.0, 1.5)), 'where it was spawned, at rest'
    world.step(1)
    assert world.t_ns == now + world.step_ns


def test_spawned_alone(world):
    changed(world)
    now, robot = world.t_ns, world.state('amr')
    world.reset(3, Scope.SPAWNED)
    assert [one.name for one in world.entities()] == ['amr', 'picker', 'clerk']
    assert (world.t_ns, world.state('amr')) == (now, robot)


@pytest.mark.parametrize(('scope', 'times'), [
    (Scope.ALL, 100), (Scope.TIME | Scope.STATE | Scope.SPAWNED, 10)])
def test_everything_is_as_newly_loaded_a_hundred_times(world, scope, times):
    def future():
        begin = world.digest()
        drive(world, 20)
        return begin, world.digest(), world.frame().digest()

    first = future()
    for i in range(times):
        drive(world, 3)
        if i % 10 == 0:
            changed(world)
            world.delete('clerk')
        world.reset(3, scope)
        assert future() == first


def test_a_digest_tells_any_two_states_apart_and_asking_is_free(world):
    seen = [world.digest()]

    def unlike_all_before():
        seen.append(world.digest())
        assert len(set(seen)) == len(seen)

    world.command(0.5, 0.0)
    unlike_all_before()
    world.step()
    unlike_all_before()
    world.set_state('picker', State(Pose.flat(7.0, 0.0)))
    unlike_all_before()
    world.spawn('crate', BOX, Pose.flat(9.0, 0.0))
    unlike_all_before()
    world.set_state('crate', State(Pose.flat(9.0, 0.1)))
    unlike_all_before()
    world.reset(3, Scope.TIME)
    unlike_all_before()
    world.reset(4)
    unlike_all_before()
    world.frame(render=True)
    assert world.digest() == seen[-1]


def test_frames_change_no_future(aisle, robot):
    digests = []
    for asked in (True, False):
        world = create('mujoco', camera='off')
        world.load(aisle, robot, 3)
        for _ in range(60):
            world.command(0.8, 0.1)
            world.step(5)
            if asked:
                world.frame()
        digests.append(world.digest())
    assert digests[0] == digests[1]


def test_k_steps_are_k_times_one(aisle, robot):
    """Time and state; ./dev bench cosim --long has every k up to 1000, over ROS."""
    together, singly = (create('mujoco', camera='off') for _ in range(2))
    for world in (together, singly):
        world.load(aisle, robot, 3)
        world.set_state('clerk', State(Pose.flat(20.0, 0.0), (0.0, 0.001, 0.0)))
    for k in (*range(1, 41), *range(50, 1001, 50)):
        before = together.t_ns
        for world in (together, singly):
            world.command(0.3, 0.01 * (k % 7 - 3))
        together.step(k)
        assert together.t_ns - before == k * together.step_ns
        for _ in range(k):
            singly.step()
        assert singly.digest() == together.digest()
