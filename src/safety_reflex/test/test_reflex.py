"""The whole reflex without ROS."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from driving import CONFIG, MS, PROFILE, Bench
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safety_reflex.fields import FieldSet
from safety_reflex.profile import ProfileError, load_profile
from safety_reflex.reasons import Reason
from safety_reflex.shapes import grown
from safety_reflex.states import State

TRUE = serialize_message(Bool(data=True))


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


def drawn():
    return Bench(load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr_dock.fields.yaml'))


def test_teleoperation_beats_the_policy_and_the_policy_comes_back_through_neutral():
    bench = Bench().started(0.6)
    bench.teleop = (0.2, 0.0)
    bench.steps(1.5)
    assert bench.v == pytest.approx(0.2)
    assert bench.status['command_source'] == 'teleop/cmd_vel'
    bench.teleop = None
    bench.steps(2.0)
    assert bench.v == 0.0                      # the policy still sends 0.6
    assert bench.status['command_source'] == ''
    bench.wish = (0.0, 0.0)
    bench.steps(0.5)
    bench.wish = (0.6, 0.0)
    bench.steps(2.0)
    assert bench.v == pytest.approx(0.6)


def blocked_ahead(gap=0.15, **settings):
    """A robot that an object in front holds in STOPPED."""
    bench = Bench(**settings).started(0.8)
    bench.person = (bench.x + 0.4 + gap + 0.2 + 0.9, bench.y)
    while bench.state is not State.STOPPED or bench.v:
        bench.step()
    bench.person = (bench.x + 0.4 + gap + 0.2, bench.y)
    bench.steps(1.0)
    assert bench.state is State.STOPPED
    return bench


def test_an_operator_creeps_out_of_a_field_only_where_clearance_grows():
    bench = blocked_ahead()
    for teleop in ((0.5, 0.0), (0.0, 0.8)):
        bench.teleop = teleop
        bench.steps(0.5)
        assert (bench.v, bench.w) == (0.0, 0.0)
    bench.teleop = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == pytest.approx(-0.1)
    assert bench.state is State.STOPPED
    assert Reason.ESCAPING in bench.reasons
    bench.teleop = None                        # the deadman is let go
    bench.steps(0.6)
    assert bench.v == 0.0
    bench.teleop = (-0.2, 0.0)
    bench.steps(12.0)
    assert bench.state in (State.RUNNING, State.SLOWED)


def test_the_policy_never_escapes_and_nobody_does_under_another_cause():
    bench = blocked_ahead()
    bench.wish = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == 0.0
    bench.teleop = (-0.2, 0.0)
    bench.steps(0.5)
    assert bench.v < 0.0
    bench.steps(0.6, odometry=False)
    assert bench.v == 0.0


@pytest.mark.parametrize('limit', [0.0, 0.05])
def test_a_profile_may_slow_or_forbid_the_escape(limit):
    bench = blocked_ahead(escape_speed_mps=limit)
    bench.teleop = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == pytest.approx(-limit)


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


def test_muting_lets_it_dock_slowly_and_for_a_time():
    bench = drawn()
    timer = bench.reflex.mutings[0]
    bench.steps(0.3)
    bench.reset()
    bench.wish = (0.3, 0.0)
    bench.steps(0.5)
    bench.person = (bench.x + 0.85, bench.y)          # the dock, 0.25 m before the bumper
    bench.steps(0.5)
    assert bench.state is State.STOPPED

    def hold(seconds):
        for _ in range(round(seconds * 40)):
            timer.flag.take(TRUE, bench.now_ns)
            bench.step()
    hold(3.0)
    assert bench.state is State.SLOWED
    assert Reason.MUTED in bench.reasons
    assert bench.status['muting'] == 'dock'
    assert 0.0 < bench.v <= 0.1 + 1e-9
    bench.wish = (0.0, 0.0)
    hold(25.0)
    assert bench.state is State.STOPPED
    assert bench.status['muting'] == ''


def test_muting_blinds_nothing_before_the_robot_is_slow():
    bench = drawn()
    bench.steps(0.3)
    bench.reset()
    bench.wish = (0.5, 0.0)
    bench.steps(2.0)
    bench.person = (bench.x + 1.2, bench.y)
    bench.reflex.mutings[0].flag.take(TRUE, bench.now_ns)
    bench.steps(0.1)
    assert bench.state is State.STOPPED
    assert Reason.PROTECTIVE_FIELD in bench.reasons


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


def test_a_reset_beside_an_object_ends_in_stopped_from_where_it_is_led_away():
    bench = Bench()
    bench.person = (0.8, 0.0)                  # 0.2 m before the bumper since the start
    assert bench.steps(0.5) is State.LATCHED
    assert bench.reset()[0]
    bench.steps(0.5)
    assert bench.state is State.STOPPED
    assert bench.v == 0.0
    bench.teleop = (-0.2, 0.0)
    bench.steps(15.0)
    assert bench.x < -0.3
    assert bench.state in (State.RUNNING, State.SLOWED)


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


def test_between_two_walls_the_way_back_is_open_and_the_others_are_not():
    def corridor(scan):
        """Walls 0.35 m beside the robot's sides."""
        angles = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
        with np.errstate(divide='ignore'):
            walls = 0.65 / np.abs(np.sin(angles))
        scan.ranges = np.minimum(np.array(scan.ranges), walls).astype(np.float32)
        return scan
    bench = blocked_ahead()
    bench.scan_change = corridor
    bench.steps(0.5)
    for teleop, moves in (((0.2, 0.0), False), ((0.0, 0.5), False), ((-0.2, 0.0), True)):
        bench.teleop = teleop
        bench.steps(0.5)
        assert (bench.v != 0.0 or bench.w != 0.0) == moves, teleop


def test_an_escape_keeps_every_cap():
    bench = blocked_ahead(escape_speed_mps=0.25)
    bench.reflex._cap_mps = 0.05
    bench.teleop = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == pytest.approx(-0.05)


def test_a_slow_world_brakes_as_hard():
    bench = Bench(source_timeout_ns=150 * MS, logical_time=True).started(0.8)
    bench.reflex.arbiter.policy.fault(Reason.COMMAND_MALFORMED, bench.now_ns)
    bench.now_ns += 100 * MS
    _, v, _ = bench.reflex.decide(bench.at)
    assert v == pytest.approx(0.8 - 1.5 * 0.1)


def test_a_robot_that_waits_for_its_policy_says_so():
    bench = Bench().started(0.5)
    bench.teleop = (0.1, 0.0)
    bench.steps(0.5)
    bench.teleop = None
    bench.steps(1.0)
    assert bench.state is State.RUNNING
    assert bench.reasons == [Reason.AWAITING_NEUTRAL]


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


class Armed(Bench):
    """The robot with its arm, whose policy asks for motion all the time."""

    def __init__(self, **settings):
        profile = load_profile(CONFIG / 'robots/amr_so100.yaml', CONFIG / 'robots/amr.fields.yaml')
        super().__init__(profile, **settings)
        self.names = list(profile.arm.names)
        self.arm, self.goal = np.zeros(len(self.names)), 1.0
        self.speeds = np.zeros(len(self.names))

    def step(self, **kind):
        joints = JointState(name=self.names, position=self.arm.tolist())
        point = JointTrajectoryPoint(positions=[self.goal] * len(self.names))
        point.time_from_start.sec = 1
        trajectory = JointTrajectory(joint_names=self.names, points=[point])
        self.now_ns += 1
        for message in (joints, trajectory):
            message.header.stamp = self.stamp()
        self.reflex.joints.on_joint_state(serialize_message(joints), self.at)
        if self.reflex.machine.may_move:
            self.reflex.joints.on_command(serialize_message(trajectory), self.at)
        state = super().step(**kind)
        if (out := self.reflex.decide_joints(self.at)) is not None:
            self.arm, self.speeds = out[0].copy(), out[1].copy()
        return state


def test_an_arm_moves_with_the_policy_and_stops_with_the_robot():
    bench = Armed().started(0.0)
    assert np.all(bench.arm > 0.5)
    bench.goal = -0.1
    bench.steps(0.5)
    assert np.all(bench.speeds < 0.0)
    bench.person = (bench.x + 0.7, 0.0)
    bench.steps(0.5)
    assert bench.state is State.STOPPED
    held = bench.arm
    bench.steps(1.0)
    assert np.array_equal(bench.arm, held)


def test_an_arm_rests_while_an_operator_drives_and_creeps_while_somebody_is_near():
    bench = Armed().started(0.0)
    bench.goal = -0.1
    bench.teleop = (0.1, 0.0)
    bench.steps(0.5)
    assert np.all(bench.speeds == 0.0)
    bench = Armed().started(0.0)
    bench.goal = -0.1
    bench.person = (bench.x + 1.3, 0.0)        # in a slow field, not in the one in use
    bench.steps(0.3)
    assert Reason.PROTECTIVE_FIELD not in bench.reasons
    assert np.all(np.abs(bench.speeds) < 0.2)


def test_trajectories_of_a_policy_that_is_not_heard_stop_nobody():
    bench = Armed().started(0.3)
    bench.goal = math.nan
    bench.teleop = (0.1, 0.0)
    bench.steps(1.5)
    assert bench.state is State.RUNNING
    assert bench.v == pytest.approx(0.1)
    bench.teleop = None
    bench.wish = (0.0, 0.0)
    seen = set()
    for _ in range(40):
        bench.step()
        seen |= set(bench.reasons)
    assert Reason.COMMAND_NOT_FINITE in seen
