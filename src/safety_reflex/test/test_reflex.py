"""The whole reflex without ROS."""

import dataclasses
import itertools
import math

import pytest
from driving import MS, PROFILE, TRUE, Bench, drawn

from safety_reflex.fields import FieldSet
from safety_reflex.profile import ProfileError
from safety_reflex.reasons import Reason
from safety_reflex.shapes import grown
from safety_reflex.states import State


def test_it_starts_latched_and_publishes_zero():
    bench = Bench()
    assert bench.steps(2.0) is State.LATCHED
    assert bench.v == 0.0


def test_a_person_in_front_stops_it_before_contact_and_it_resumes():
    bench = Bench().started()
    bench.person = [bench.x + 2.5, 0.0]
    while bench.v > 0:
        bench.step()
    assert bench.reflex.machine.state in (State.STOPPED, State.SLOWED)
    assert bench.person[0] - 0.2 - (bench.x + 0.4) > 0.2
    bench.person = None
    bench.steps(2.5)
    assert bench.v > 0


@pytest.mark.parametrize('angle_deg', range(0, 360, 30))
@pytest.mark.parametrize('speed', [0.3, 0.8])
def test_a_walker_from_any_side_never_meets_a_moving_robot(angle_deg, speed):
    """A person comes straight at the robot with 1.6 m/s; at the touch the robot must be at rest."""
    bench = Bench().started(speed)
    angle = math.radians(angle_deg)
    start = (bench.x, 0.0)
    bench.person = [start[0] + 5 * math.cos(angle), 5 * math.sin(angle)]
    for _ in range(300):
        dx, dy = bench.x - bench.person[0], -bench.person[1]
        gap_x = max(abs(dx) - 0.4, 0.0)
        gap_y = max(abs(dy) - 0.3, 0.0)
        if math.hypot(gap_x, gap_y) <= 0.2:
            assert bench.v <= 0.05
            return
        reach = math.hypot(dx, dy)
        bench.person[0] += 1.6 * 0.025 * dx / reach
        bench.person[1] += 1.6 * 0.025 * dy / reach
        bench.step()
    pytest.fail('the person never arrived')


def test_a_first_look_stops_before_the_reasons_are_known():
    bench = Bench().started()
    assert bench.glimpsed is None
    bench.person = (bench.x + 1.2, 0.0)
    before = bench.v
    bench.step()
    _, v, _ = bench.glimpsed
    assert v == bench.v == pytest.approx(before - 1.5 * 0.025)
    assert bench.state is State.STOPPED


def test_a_first_look_leaves_what_is_unusual_to_the_verdict():
    bench = Bench().started()
    bench.person = (bench.x + 1.2, 0.0)

    def change(scan):
        scan.header.frame_id = 'elsewhere'
        return scan
    bench.scan_change = change
    bench.step()
    assert bench.glimpsed is None
    assert bench.state is State.STOPPED


def test_an_object_beside_the_path_slows_it_before_it_stops():
    bench = Bench().started()
    bench.person = [bench.x + 6.0, 0.0]
    seen = []
    for _ in range(400):
        seen.append(bench.step())
        if bench.v == 0:
            break
    assert State.SLOWED in seen
    assert seen.index(State.SLOWED) < len(seen) - 1


@pytest.mark.parametrize(('kind', 'reason'), [
    ({'scan': False}, Reason.SCAN_LOST), ({'odometry': False}, Reason.ODOM_LOST)])
def test_a_lost_source_stops_then_latches(kind, reason):
    bench = Bench().started()
    bench.steps(0.15, **kind)
    assert bench.reflex.machine.state is State.STOPPED
    bench.steps(1.2, **kind)
    assert bench.v == 0.0
    assert bench.reflex.machine.state is State.LATCHED
    assert reason in bench.reasons


def test_silence_of_the_commander_is_a_soft_stop_without_a_trip():
    bench = Bench().started()
    bench.steps(1.5, command=False)
    assert bench.v == 0.0
    assert bench.reflex.machine.state is State.RUNNING
    assert Reason.COMMAND_STALE in bench.reasons
    bench.steps(1.0)
    assert bench.v > 0.5


def all_set(value):
    def change(scan):
        scan.ranges = [value] * len(scan.ranges)
        return scan
    return change


@pytest.mark.parametrize(('change', 'reason'), [
    (all_set(math.nan), Reason.SCAN_INVALID), (all_set(math.inf), Reason.SCAN_EMPTY),
    (all_set(-math.inf), Reason.PROTECTIVE_FIELD), (all_set(0.01), Reason.PROTECTIVE_FIELD),
    (all_set(6.0), Reason.SCAN_FROZEN)])
def test_scans_that_prove_nothing_stop_it(change, reason):
    bench = Bench().started()
    bench.scan_change = change
    bench.steps(1.0)
    assert bench.v == 0.0
    assert not bench.reflex.machine.may_move
    assert reason in bench.reasons


def test_a_rogue_command_stops_latches_and_is_reset():
    bench = Bench().started()
    bench.send(bench.twist((math.nan, 0.0)))
    assert bench.step() is State.STOPPED
    assert Reason.COMMAND_NOT_FINITE in bench.reasons
    for _ in range(60):
        bench.send(bench.twist((math.nan, 0.0)))
        bench.step()
    assert bench.reflex.machine.state is State.LATCHED
    assert not bench.reset()[0]
    bench.steps(0.6)
    assert bench.reset()[0]
    bench.steps(1.0)
    assert bench.v > 0


def test_a_pause_of_its_own_loop_latches():
    bench = Bench().started()
    bench.now_ns += 400 * MS
    assert bench.step() is State.LATCHED
    assert Reason.LOOP_GAP in bench.reasons


def test_a_second_publisher_latches():
    bench = Bench().started()
    bench.reflex.publishers.input('scan', [b'a' * 16, b'b' * 16])
    assert bench.step() is State.LATCHED
    assert bench.status['second_publisher_on'] == 'scan'


def test_a_field_that_is_shorter_than_the_blind_time_is_refused():
    with pytest.raises(ProfileError, match='reaction_s'):
        Bench(source_timeout_ns=200 * MS)


def two_scanners():
    """One at the front left corner, one at the rear right: each sees three quarters."""
    lidar = PROFILE.lidars[0]
    turn = 1.5 * math.pi / (lidar.beams - 1)
    corner = dataclasses.replace(lidar, name='front_left', topic='scan_front',
                                 pose=(0.4, 0.3, math.pi / 4), angle_min_rad=-0.75 * math.pi,
                                 angle_increment_rad=turn)
    other = dataclasses.replace(corner, name='rear_right', topic='scan_rear',
                                pose=(-0.4, -0.3, -0.75 * math.pi))
    return Bench(dataclasses.replace(PROFILE, lidars=(corner, other)))


@pytest.mark.parametrize(('aside', 'source'), [
    ((0.9, 0.9), 'front_left'), ((-0.9, -0.9), 'rear_right')])
def test_of_two_scanners_either_stops_it_and_is_named(aside, source):
    bench = two_scanners().started(0.5)
    bench.person = (bench.x + aside[0], aside[1])
    assert bench.step() is State.STOPPED
    assert bench.status['source'] == source
    assert 0.3 < float(bench.status['distance_m']) < 0.8


@pytest.mark.parametrize('index', [0, 1])
def test_of_two_scanners_neither_may_fall_silent(index):
    bench = two_scanners().started(0.5)
    bench.silent = {index}
    bench.steps(0.2)
    assert bench.state is State.STOPPED
    assert Reason.SCAN_LOST in bench.reasons


def test_an_estop_latches_pressed_or_silent():
    bench = Bench(estop_topics=('safety/estop/front',))
    bench.press('safety/estop/front', False)
    bench.steps(0.2)
    assert bench.reset()[0]
    for _ in range(120):
        bench.press('safety/estop/front', False)
        bench.step()
    assert bench.v > 0.5
    bench.press('safety/estop/front', True)
    assert bench.step() is State.LATCHED
    assert Reason.ESTOP in bench.reasons
    bench.steps(0.5)
    assert Reason.ESTOP_LOST in bench.reasons
    assert not bench.reset()[0]


def test_enable_is_wanted_and_its_loss_latches():
    bench = Bench(require_enable=True)
    assert bench.steps(0.5) is State.STARTING
    bench.reflex.enable.take(TRUE, bench.now_ns)
    assert bench.step() is State.LATCHED
    assert bench.reset()[0]
    for _ in range(100):
        bench.reflex.enable.take(TRUE, bench.now_ns)
        bench.step()
    assert bench.v > 0.5
    bench.steps(0.2)
    assert bench.state is State.LATCHED
    assert Reason.ENABLE_LOST in bench.reasons


def test_odometry_that_contradicts_latches():
    bench = Bench().started(0.6)
    bench.measured = lambda v, w: (0.0, 0.0)
    assert bench.steps(0.7) is State.LATCHED
    assert Reason.ODOM_CONTRADICTS in bench.reasons


def test_a_cap_holds_the_speed():
    bench = Bench(speed_cap_mps=0.3).started(0.8)
    assert bench.v == pytest.approx(0.3)
    assert bench.state is State.SLOWED
    assert Reason.SPEED_CAPPED in bench.reasons


def test_a_profile_may_latch_on_its_field():
    bench = Bench(field_latches=True).started(0.8)
    bench.person = (bench.x + 1.5, 0.0)
    bench.step()
    assert bench.state is State.LATCHED
    assert Reason.PROTECTIVE_FIELD in bench.reasons


def test_drawn_fields_are_switched_by_the_turn():
    bench = drawn().started(0.25)
    assert bench.status['zone'] == 'straight'
    bench.wish = (0.15, 0.5)
    bench.steps(1.0)
    assert bench.status['zone'] == 'turn_left'
    bench.wish = (0.05, 0.0)
    bench.steps(1.0)
    assert bench.status['zone'] == 'creep'


def test_an_uncovered_motion_is_guarded_by_every_field():
    bench = drawn().started(0.25)
    bench.measured = lambda v, w: (0.75, 0.0)
    bench.person = (bench.x + 0.5, bench.y + 1.2)     # only in the field of a left turn
    bench.step()
    assert bench.step() is State.STOPPED              # the second distinct scan


def test_the_way_that_is_asked_for_slows_before_it_meets_something():
    near = FieldSet('near', grown(PROFILE.footprint, 0.2, 0.2, 0.2))
    bench = Bench(dataclasses.replace(PROFILE, sets=(near,), slow=(), collision_time_s=2.0))
    bench.started(0.8)
    bench.person = (bench.x + 3.2, bench.y)
    seen, speeds = set(), []
    while bench.reflex.machine.may_move and bench.v > 0.02:
        bench.step()
        seen |= set(bench.reasons)
        speeds.append(bench.v)
    assert Reason.APPROACH_FIELD in seen
    assert Reason.PROTECTIVE_FIELD not in seen or speeds[-2] < 0.3
    assert max(abs(b - a) for a, b in itertools.pairwise(speeds)) <= 1.5 * 0.025 + 1e-9


def test_an_hour_s_jump_of_the_clock_latches_and_can_be_reset():
    bench = Bench().started()
    times = bench.reflex.times
    times.read(bench.now_ns, bench.now_ns)
    times.read(bench.now_ns + 3_600_000 * MS, bench.now_ns)
    assert bench.step() is State.LATCHED
    assert Reason.CLOCK_JUMPED in bench.reasons
    bench.steps(0.5)
    assert bench.reset()[0]
    bench.steps(1.0)
    assert bench.v > 0.0


def test_with_a_latch_on_the_field_an_object_that_leaves_still_wants_a_reset():
    bench = Bench(field_latches=True).started(0.8)
    bench.person = (bench.x + 1.2, 0.0)
    bench.steps(1.5)
    assert bench.state is State.LATCHED
    assert bench.reset()[0]
    bench.steps(0.5)
    assert bench.state is State.STOPPED
    bench.person = None
    bench.steps(1.0)
    assert bench.state is State.LATCHED
    assert bench.v == 0.0


def test_a_slow_world_brakes_as_hard():
    bench = Bench(source_timeout_ns=150 * MS, logical_time=True).started(0.8)
    bench.reflex.arbiter.policy.fault(Reason.COMMAND_MALFORMED, bench.now_ns)
    bench.now_ns += 100 * MS
    _, v, _ = bench.reflex.decide(bench.at)
    assert v == pytest.approx(0.8 - 1.5 * 0.1)


def test_what_is_faulty_is_named():
    bench = two_scanners().started(0.5)
    bench.silent = {1}
    bench.steps(0.2)
    assert bench.status['faulty'] == 'rear_right'
    bench.reflex.publishers.input('odom', [b'a' * 16, b'b' * 16])
    bench.steps(0.2)
    bench.reflex.publishers.input('odom', [b'a' * 16])
    bench.steps(0.2)
    assert bench.status['second_publisher_on'] == 'odom'


def test_a_base_that_disobeys_loses_the_heartbeat():
    bench = Bench().started(0.6)
    assert not bench.reflex.disobeyed
    bench.measured = lambda v, w: (0.6, 0.0)
    bench.reflex.publishers.input('odom', [b'a' * 16, b'b' * 16])    # a reason to stop
    bench.steps(1.8)
    assert bench.v == 0.0
    assert bench.reflex.disobeyed
