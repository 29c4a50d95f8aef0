"""The whole reflex without ROS."""

import math

import pytest
from driving import MS, Bench

from safety_reflex.profile import ProfileError
from safety_reflex.reasons import Reason
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
