"""The fault campaign: every fault into the real reflex, stopped within the time that it promises.

The promises are safety_reflex.promises; the table of what was seen goes to $SPINAL_REPORT.
"""

import math
import os
import signal
from pathlib import Path

import pytest
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from robot_rig import ARM, BEAMS, COMMAND, CONFIG, SENSOR, SPEED, System, patched
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool

from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import load_profile
from safety_reflex.promises import promised_ms
from safety_reflex.reasons import Reason

PERIOD_MS, HOUR_NS = 25.0, 3_600_000_000_000
BRAKING = load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr.fields.yaml'
                       ).limits['braking_mps2']
RAMP_MS = 1000 * SPEED / BRAKING + 40.0


def ranges(value, where=slice(None)):
    def change(message):
        message.ranges[where] = type(message.ranges)('f', [value] * len(message.ranges[where]))
        return message
    return change


def fields(**values):
    def change(message):
        for key, value in values.items():
            setattr(message, key, value)
        return message
    return change


def scan(change):
    return lambda rig: rig.changes.update(scan=change)


def sent(topic, make):
    """Publish this instead of the healthy message, from now on."""
    return lambda rig: rig.send.update({topic: lambda: make(rig)})


def silent(topic):
    return lambda rig: rig.send.update({topic: None})


def aged(topic, age_ns):
    return lambda rig: rig.changes.update({topic: lambda message: (message, age_ns)})


def frozen(rig):
    message = rig.scan()
    rig.send['scan'] = lambda: message


def replayed(rig):
    """A command of 0.2 s ago between those of now."""
    rig.publish('policy/cmd_vel', rig.twist(SPEED), 200_000_000)


def second(kind, topic, qos):
    def inject(rig):
        rig.intruder = rig.create_publisher(kind, topic, qos)
    return inject


def replaced(rig):
    rig.destroy_publisher(rig.outputs['scan'])
    rig.outputs['scan'] = rig.create_publisher(LaserScan, 'scan', SENSOR)


def side_ways(rig):
    message = rig.twist(0.1)
    message.twist.linear.y = 0.1
    return message


def odometry(v):
    def make(rig):
        message = Odometry()
        message.twist.twist.linear.x = v
        return message
    return make


def joints(positions, names=ARM):
    return lambda rig: JointState(name=list(names), position=[positions] * len(names))


AMR = {
    'a person steps in': (lambda rig: setattr(rig, 'distance', 0.9), Reason.PROTECTIVE_FIELD),
    'every beam NaN': (scan(ranges(math.nan)), Reason.SCAN_INVALID),
    'every beam +inf': (scan(ranges(math.inf)), Reason.SCAN_EMPTY),
    'every beam -inf': (scan(ranges(-math.inf)), Reason.PROTECTIVE_FIELD),
    'every beam below the minimum': (scan(ranges(0.01)), Reason.PROTECTIVE_FIELD),
    'no beams': (scan(fields(ranges=[])), Reason.SCAN_GEOMETRY),
    'one beam less': (scan(fields(ranges=[5.0] * (BEAMS - 1))), Reason.SCAN_GEOMETRY),
    'another first angle': (scan(fields(angle_min=-3.0)), Reason.SCAN_GEOMETRY),
    'an endless range': (scan(fields(range_max=math.inf)), Reason.SCAN_GEOMETRY),
    'too few valid beams': (scan(ranges(math.nan, slice(0, BEAMS, 4))), Reason.SCAN_INVALID),
    'a blocked sector': (scan(ranges(math.nan, slice(100, 120))), Reason.SECTOR_BLOCKED),
    'frozen ranges': (frozen, Reason.SCAN_FROZEN),
    'scans of the future': (aged('scan', -HOUR_NS), Reason.SCAN_STAMP),
    'scans of an hour ago': (aged('scan', HOUR_NS), Reason.SCAN_STAMP),
    'scans at a third of the rate': (lambda rig: setattr(rig, 'every', 3), Reason.SCAN_SLOW),
    'scans lost': (silent('scan'), Reason.SCAN_LOST),
    'a scan cut short': (sent('scan', lambda rig: patched(rig.scan(), 4, '<i', 1)[:-900]),
                         Reason.SCAN_MALFORMED),
    'a scan that claims 2^31 beams': (sent('scan', lambda rig: patched(
        rig.scan(), 48, '<I', 2 ** 31)), Reason.SCAN_MALFORMED),
    'a scan of 4 MB': (sent('scan', lambda rig: b'\x00\x01\x00\x00' + b'\xff' * 4_000_000),
                       Reason.SCAN_MALFORMED),
    'odometry lost': (silent('odom'), Reason.ODOM_LOST),
    'odometry NaN': (sent('odom', odometry(math.nan)), Reason.ODOM_NOT_FINITE),
    'odometry of an hour ago': (aged('odom', HOUR_NS), Reason.ODOM_STAMP),
    'odometry cut short': (sent('odom', lambda rig: b'\x00\x01\x00\x00' + bytes(40)),
                           Reason.ODOM_MALFORMED),
    'odometry says it stands': (sent('odom', odometry(0.0)), Reason.ODOM_CONTRADICTS),
    'odometry says it reverses': (sent('odom', odometry(-SPEED)), Reason.ODOM_CONTRADICTS),
    'a command of NaN': (sent('policy/cmd_vel', lambda rig: rig.twist(math.nan)),
                         Reason.COMMAND_NOT_FINITE),
    'a command of inf': (sent('policy/cmd_vel', lambda rig: rig.twist(0.5, math.inf)),
                         Reason.COMMAND_NOT_FINITE),
    'a command too fast': (sent('policy/cmd_vel', lambda rig: rig.twist(3.0)),
                           Reason.COMMAND_OVER_LIMIT),
    'a command to reverse too fast': (sent('policy/cmd_vel', lambda rig: rig.twist(-0.5)),
                                      Reason.COMMAND_OVER_LIMIT),
    'a command sideways': (sent('policy/cmd_vel', side_ways), Reason.COMMAND_OVER_LIMIT),
    'a command cut short': (sent('policy/cmd_vel', lambda rig: b'\x00\x01\x00\x00' + bytes(20)),
                            Reason.COMMAND_MALFORMED),
    'a command replayed': (replayed, Reason.COMMAND_STAMP),
    'commands of an hour ago': (aged('policy/cmd_vel', HOUR_NS), Reason.COMMAND_STAMP),
    'commands of the future': (aged('policy/cmd_vel', -HOUR_NS), Reason.COMMAND_STAMP),
    'no commands': (silent('policy/cmd_vel'), Reason.COMMAND_STALE),
    'an operator sends NaN': (lambda rig: (setattr(rig, 'teleop', 0.2), sent(
        'teleop/cmd_vel', lambda rig: rig.twist(math.nan))(rig)), Reason.COMMAND_NOT_FINITE),
    'an e-stop is pressed': (sent('safety/estop/button', lambda rig: Bool(data=True)),
                             Reason.ESTOP),
    'an e-stop falls silent': (silent('safety/estop/button'), Reason.ESTOP_LOST),
    'an e-stop says neither': (sent('safety/estop/button', lambda rig: b'\x00\x01\x00\x00\x07'),
                               Reason.ESTOP),
    'the enable is withdrawn': (sent('safety/enable', lambda rig: Bool(data=False)),
                                Reason.ENABLE_LOST),
    'the enable falls silent': (silent('safety/enable'), Reason.ENABLE_LOST),
    'a second publisher of cmd_vel': (second(TwistStamped, 'cmd_vel', COMMAND),
                                      Reason.SECOND_PUBLISHER),
    'a second publisher of scan': (second(LaserScan, 'scan', SENSOR), Reason.SECOND_PUBLISHER),
    'a second publisher of odom': (second(Odometry, 'odom', SENSOR), Reason.SECOND_PUBLISHER),
    'a second publisher of an e-stop': (second(Bool, 'safety/estop/button', COMMAND),
                                        Reason.SECOND_PUBLISHER),
    'a second publisher of the enable': (second(Bool, 'safety/enable', COMMAND),
                                         Reason.SECOND_PUBLISHER),
    'another publisher of scan': (replaced, Reason.PUBLISHER_REPLACED),
}
WITH_ARM = {
    'joint states lost': (silent('joint_states'), Reason.JOINTS_LOST),
    'joint states of NaN': (sent('joint_states', joints(math.nan)), Reason.JOINTS_NOT_FINITE),
    'joint states of the future': (aged('joint_states', -HOUR_NS), Reason.JOINTS_STAMP),
    'the arm does not follow': (sent('joint_states', joints(-0.9)), Reason.JOINTS_CONTRADICT),
    'a joint is missing': (sent('joint_states', joints(0.0, ARM[1:])), Reason.JOINTS_MALFORMED),
    'a second publisher of joint_states': (second(JointState, 'joint_states', SENSOR),
                                           Reason.SECOND_PUBLISHER),
    'a trajectory of NaN': (sent('policy/joint_trajectory',
                                 lambda rig: rig.trajectory(math.nan)), Reason.COMMAND_NOT_FINITE),
    'a trajectory beyond a limit': (sent('policy/joint_trajectory',
                                         lambda rig: rig.trajectory(1.9)),
                                    Reason.COMMAND_OVER_LIMIT),
    'a trajectory of unknown joints': (sent('policy/joint_trajectory', lambda rig: rig.trajectory(
        0.0, ('tail', *ARM[1:]))), Reason.COMMAND_JOINTS),
    'a trajectory in another order': (sent('policy/joint_trajectory', lambda rig: rig.trajectory(
        0.0, ARM[::-1])), Reason.COMMAND_JOINTS),
}
SIMULATED = {
    '/clock stands still': (silent('/clock'), Reason.CLOCK_FROZEN),
    '/clock jumps an hour ahead': (lambda rig: setattr(rig, 'sim_ns', rig.sim_ns + HOUR_NS),
                                   Reason.CLOCK_JUMPED),
    '/clock jumps an hour back': (lambda rig: setattr(rig, 'sim_ns', rig.sim_ns - HOUR_NS),
                                  Reason.CLOCK_JUMPED),
}
# A trajectory comes every 0.2 s, and a discovery takes what the middleware takes.
LATER_MS = {Reason.SECOND_PUBLISHER: 300.0, Reason.PUBLISHER_REPLACED: 300.0,
            Reason.COMMAND_JOINTS: 200.0}
FOUND = []


@pytest.fixture(scope='module')
def amr(tmp_path_factory):
    system = System(61, tmp_path_factory.mktemp('amr'))
    yield system
    system.close()


@pytest.fixture(scope='module')
def with_arm(tmp_path_factory):
    system = System(62, tmp_path_factory.mktemp('arm'), arm=True)
    yield system
    system.close()


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    system = System(63, tmp_path_factory.mktemp('sim'), clock='sim')
    yield system
    system.close()


@pytest.fixture(scope='module', autouse=True)
def report():
    yield
    if folder := os.environ.get('SPINAL_REPORT'):
        rows = ['| injected | reason shown | promised, ms | ramp begins, ms | at zero, ms |',
                '|---|---|---|---|---|', *FOUND]
        Path(folder, 'faults.md').write_text('\n'.join(rows) + '\n')


def hold(system, name, inject, reason):
    system.drive()
    seen = system.stopwatch(inject)
    promised = promised_ms(reason, ReflexParameters(), PERIOD_MS) + PERIOD_MS + LATER_MS.get(
        reason, 200.0 if 'trajectory' in name else 0.0)
    begin, zero = (math.nan if ms is None else ms for ms in (seen.begin_ms, seen.zero_ms))
    FOUND.append(f'| {name} | {", ".join(sorted(seen.reasons))} | {promised:.0f} | {begin:.0f} | '
                 f'{zero:.0f} |')
    if getattr(system.rig, 'intruder', None) is not None:
        system.rig.destroy_publisher(system.rig.intruder)
        system.rig.intruder = None
    assert reason in seen.reasons, FOUND[-1]
    assert begin <= promised, FOUND[-1]
    assert zero <= promised + RAMP_MS, FOUND[-1]


@pytest.mark.parametrize('name', AMR)
def test_a_fault_stops_the_robot_in_time(amr, name):
    hold(amr, name, *AMR[name])


@pytest.mark.parametrize('name', WITH_ARM)
def test_a_fault_of_the_arm_stops_the_robot_in_time(with_arm, name):
    hold(with_arm, name, *WITH_ARM[name])


@pytest.mark.parametrize('name', SIMULATED)
def test_a_fault_of_the_clock_stops_the_robot_in_time(simulated, name):
    hold(simulated, name, *SIMULATED[name])


def test_a_pause_of_the_reflex_itself_latches(amr):
    """Only its own side: in the meantime the watchdog and the base's time-out stop the robot."""
    amr.drive()
    amr.signal(signal.SIGSTOP)
    amr.run(0.6)
    seen = amr.stopwatch(lambda rig: amr.signal(signal.SIGCONT))
    FOUND.append(f'| the reflex is paused | {", ".join(sorted(seen.reasons))} | '
                 f'{promised_ms(Reason.LOOP_GAP, ReflexParameters(), PERIOD_MS):.0f} | '
                 f'{seen.begin_ms:.0f} | {seen.zero_ms:.0f} |')
    assert Reason.LOOP_GAP in seen.reasons
    assert seen.begin_ms <= promised_ms(Reason.LOOP_GAP, ReflexParameters(), PERIOD_MS)


def test_a_restarted_reflex_is_latched(amr):
    amr.drive()
    amr.signal(signal.SIGKILL)
    amr.process.wait()
    amr.rig.states.clear()
    amr.start()
    amr.until(lambda: amr.rig.state == 'LATCHED')
    amr.run(1.0)
    assert amr.rig.state == 'LATCHED'
    assert amr.rig.speed == 0.0
