"""The drives of an arm: limits whatever is asked, a smooth stream, and what a silence does."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isaac_bridge.arm import Arm, Joint, Servo
from isaac_bridge.arm_drive import ArmDrive, approach

STEP_NS = 5_000_000
STEP_S = STEP_NS * 1e-9
TIMEOUT_S = 0.15
TICK = 4            # steps between two set points, as the reflex streams them


def drive_of(joint=None, rest=0.0):
    joint = joint or Joint('j', -1.5, 1.5, 2.0, 6.0, 10.0)
    return ArmDrive(Arm((0.0, 0.0, 0.0), (joint,), (), (rest,), Servo(1, 1, 1, 1)), TIMEOUT_S)


def run(drive, steps, now_ns):
    """(position, velocity) after each step."""
    seen = []
    for _ in range(steps):
        drive.next(now_ns, STEP_S)
        now_ns += STEP_NS
        seen.append((drive.positions[0], drive.velocities[0]))
    return seen


@given(st.lists(st.tuples(st.floats(-3.0, 3.0), st.floats(-5.0, 5.0), st.integers(1, 60)),
                min_size=1, max_size=12))
def test_limits_hold_whatever_is_asked(asked):
    joint = Joint('j', -1.5, 1.5, 2.0, 6.0, 10.0)
    drive, seen, now_ns = drive_of(joint), [(0.0, 0.0)], 0
    for position, velocity, steps in asked:
        drive.command([position], [velocity], 0.02, now_ns)
        seen += run(drive, steps, now_ns)
        now_ns += steps * STEP_NS
    seen += run(drive, 200, now_ns)
    for (_, before), (_, after) in itertools.pairwise(seen):
        bound = joint.max_acceleration if abs(after) > abs(before) else joint.braking
        assert abs(after - before) <= bound * STEP_S + 1e-9
        assert abs(after) <= joint.max_velocity
    assert seen[-1][1] == 0.0


@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_a_goal_at_rest_is_reached_without_swinging_past_it(start, goal):
    drive, now_ns, seen = drive_of(rest=start), 0, []
    for _ in range(150):
        drive.command([goal], [0.0], 0.02, now_ns)
        seen += run(drive, TICK, now_ns)
        now_ns += TICK * STEP_NS
    assert seen[-1][0] == pytest.approx(goal, abs=1e-4)
    past = max((position - goal) * math.copysign(1.0, goal - start) for position, _ in seen)
    assert past < 2e-3


@pytest.mark.parametrize('jitter', [(0,), (0, 1, -1), (2, -2)])
def test_a_stream_is_followed_closely(jitter):
    def wave(t_s):
        return 0.8 * math.sin(1.5 * t_s), 1.2 * math.cos(1.5 * t_s)

    drive, now_ns, errors = drive_of(), 0, []
    for late in itertools.islice(itertools.cycle(jitter), 300):
        position, velocity = wave(now_ns * 1e-9 + 0.02)
        drive.command([position], [velocity], 0.02, now_ns)
        for state in run(drive, TICK + late, now_ns):
            now_ns += STEP_NS
            errors.append(np.abs(np.subtract(state, wave(now_ns * 1e-9))))
    # Positions followed as steps of 0.024 rad would swing the velocity by as much as 0.24 rad/s.
    assert np.all(np.max(errors[200:], axis=0) < (0.002, 0.06))


def test_silence_brakes_and_holds():
    drive, now_ns, position = drive_of(rest=-1.0), 0, -1.0
    for _ in range(20):
        position += 0.02
        drive.command([position], [1.0], 0.02, now_ns)
        run(drive, TICK, now_ns)
        now_ns += TICK * STEP_NS
    seen = run(drive, 100, now_ns)
    assert seen[-1] == (seen[60][0], 0.0)
    # On for a tick beyond the last one, which lay a tick ahead; then the braking distance.
    assert seen[-1][0] - position == pytest.approx(0.02 + 0.005 + 1.0 / 20.0, abs=0.006)


def test_hold_brakes_at_once():
    drive = drive_of()
    for tick in range(25):
        drive.command([1.5], [0.0], 0.02, tick * TICK * STEP_NS)
        run(drive, TICK, tick * TICK * STEP_NS)
    position, velocity = drive.positions[0], drive.velocities[0]
    assert velocity > 1.0
    drive.hold()
    seen = run(drive, 100, 25 * TICK * STEP_NS)
    assert seen[-1][1] == 0.0
    assert seen[-1][0] - position == pytest.approx(velocity ** 2 / 20.0, abs=velocity * STEP_S)


@pytest.mark.parametrize(('positions', 'velocities', 'ahead_s', 'message'), [
    ([0.0, 0.0], [0.0], 0.02, '2 positions and 1 velocities is not for 1 joints'),
    ([math.nan], [0.0], 0.02, 'not finite'),
    ([0.0], [math.inf], 0.02, 'not finite'),
    ([0.0], [0.0], -0.1, 'in the past'),
])
def test_what_is_no_set_point_is_refused(positions, velocities, ahead_s, message):
    with pytest.raises(ValueError, match=message):
        drive_of().command(positions, velocities, ahead_s, 0)


def test_approach_has_no_step_where_its_halves_meet():
    near = 10.0 / 100.0
    below, above = approach(near - 1e-9, 10.0), approach(near + 1e-9, 10.0)
    assert above - below == pytest.approx(2e-8, rel=0.01)
    assert approach(-0.5, 10.0) == -approach(0.5, 10.0)
