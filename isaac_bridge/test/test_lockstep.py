"""Lock-step over ROS: stamps, answers, the watchdog, and the same drive in every process."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROBOT_FILE, SCENARIOS
from lockstep_rig import CAMERA, FIVE, PERIOD_NS, Brain, world
from simulation_interfaces import srv
from simulation_interfaces.msg import SimulationState

from isaac_bridge.conformance.client import Client

DOMAIN = int(os.environ.get('ROS_DOMAIN_ID') or 138)
BASE = {'scenario_file': SCENARIOS / 'aisle.yaml', 'robot_file': ROBOT_FILE, 'camera': 'off',
        'mode': 'lockstep', 'seed': 3}


@pytest.fixture
def brain():
    made = Brain(DOMAIN)
    yield made
    made.close()


def speed_at(brain, stamp):
    return json.loads(brain.heard['world/truth'][stamp][8:].rstrip(b'\0'))['robot'][3]


def newest(brain):
    return max(brain.heard['world/truth'], default=0)


def test_every_instant_is_whole_and_answered(brain):
    with world(DOMAIN, **BASE):
        brain.until(lambda: len(brain.whole) > 1100)
    stamps = brain.whole[50:1050]
    assert {b - a for a, b in itertools.pairwise(stamps)} == {PERIOD_NS}
    for topic in FIVE:
        assert set(stamps) <= set(brain.heard[topic]), topic
    # The world waited for each: nothing is out that was not answered, but the last.
    assert set(stamps) <= set(brain.commands)


def test_images_belong_to_their_scan():
    brain = Brain(DOMAIN, camera=True)
    try:
        with world(DOMAIN, **BASE | {'camera': 'auto'}):
            brain.until(lambda: len(brain.whole) > 100)
            if b'"camera": true' not in brain.heard['world/truth'][newest(brain)]:
                pytest.skip('nothing can be rendered here')
            brain.until(lambda: len(brain.heard['camera/front/image_raw']) > 10)
        for topic in CAMERA:
            stamps = sorted(brain.heard[topic])
            assert {b - a for a, b in itertools.pairwise(stamps[3:-1])} == {100_000_000}
            assert set(stamps) <= set(brain.heard['/clock'])
            assert all((stamp - 1_000_000_000) % 100_000_000 == 0 for stamp in stamps)
    finally:
        brain.close()


def test_stale_answers_do_not_count(brain):
    """Commands that answer the scan before: the world waits in vain, and says for whom."""
    with world(DOMAIN, **BASE | {'answer_timeout_s': 0.2}):
        brain.until(lambda: len(brain.whole) > 20)
        brain.lag_ns = PERIOD_NS
        seen = len(brain.diagnostics)
        brain.until(lambda: any(int(one['unanswered cmd_vel']) > 2
                                for one in brain.diagnostics[seen:]))
        warned = [one for one in brain.diagnostics[seen:] if one['level'] != '0']
        assert warned
        assert warned[0]['message'] == 'no answer from cmd_vel'


def test_a_base_that_is_no_longer_commanded_stops_while_the_world_goes_on(brain):
    with world(DOMAIN, **BASE | {'answer_timeout_s': 0.05}):
        brain.until(lambda: newest(brain) and speed_at(brain, newest(brain)) > 0.49)
        brain.speed = lambda _: None
        silent = newest(brain)
        brain.until(lambda: newest(brain) >= silent + 1_000_000_000)
    moving = {stamp: speed_at(brain, stamp) for stamp in brain.heard['world/truth']}
    last = max(brain.commands)
    # The last command is held for the base's own 0.15 s, then it brakes at 1.5 m/s2.
    assert moving[last + 125_000_000] == pytest.approx(0.5)
    assert moving[last + 250_000_000] < 0.5
    stopped = 150_000_000 + round(0.5 / 1.5 * 1e9) + 50_000_000
    assert all(abs(speed) < 1e-6 for stamp, speed in moving.items() if stamp > last + stopped)


def test_silence_can_pause_the_world(brain):
    with (world(DOMAIN, **BASE | {'answer_timeout_s': 0.2, 'on_silence': 'pause'}),
          Client(domain_id=DOMAIN) as client):
        client.wait_for(srv.SetSimulationState, 20.0)

        def paused():
            return client.call(srv.GetSimulationState).state.state == SimulationState.STATE_PAUSED

        def play():
            if paused():
                client.call(srv.SetSimulationState,
                            state=SimulationState(state=SimulationState.STATE_PLAYING))

        def going():
            play()      # before the two knew each other, the world may have paused
            return len(brain.whole) > 30
        brain.until(going)
        brain.speed = lambda _: None
        assert client.until(paused, 10.0)
        seen = len(brain.diagnostics)
        brain.until(lambda: len(brain.diagnostics) > seen + 1)
        assert brain.diagnostics[-1]['state'] == 'PAUSED'
        stands, digest = newest(brain), brain.ask()
        brain.until(lambda: len(brain.diagnostics) > seen + 2)
        assert (newest(brain), brain.ask()) == (stands, digest)
        # And on again, from where it was, once somebody answers.
        brain.speed = lambda _: 0.5
        play()
        brain.until(lambda: newest(brain) > stands + 10 * PERIOD_NS)


def test_it_can_be_held_to_a_pace(brain):
    """However fast the answers come, so much simulated time needs at least its real time."""
    with world(DOMAIN, **BASE | {'lockstep_real_time_factor': 2.0}):
        brain.until(lambda: brain.commands)
        begin, begin_s = brain.commands[-1], time.monotonic()
        brain.until(lambda: brain.commands[-1] >= begin + 3_000_000_000)
        simulated_s = (brain.commands[-1] - begin) * 1e-9
        # The first was heard some time after it left, and two cycles may lie between.
        assert simulated_s <= 2.0 * (time.monotonic() - begin_s + 0.1)


def test_a_listed_topic_is_waited_for_too(brain):
    from geometry_msgs.msg import TwistStamped
    policy = brain.node.create_publisher(TwistStamped, 'policy/cmd_vel', 1)
    answers = "['cmd_vel', 'policy/cmd_vel geometry_msgs/msg/TwistStamped']"
    with world(DOMAIN, **BASE | {'answers': answers, 'answer_timeout_s': 3.0}):
        brain.until(lambda: brain.commands)
        # The first may have left before all that it says was heard: the next one is whole.
        first = brain.commands[0]
        brain.until(lambda: brain.commands[-1] > first)
        held = brain.commands[-1]
        brain.until(lambda: brain.diagnostics and brain.diagnostics[-1]['waiting_for']
                    == 'policy/cmd_vel geometry_msgs/msg/TwistStamped')
        assert brain.commands[-1] == held
        message = TwistStamped()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(held, 1_000_000_000)
        policy.publish(message)
        brain.until(lambda: newest(brain) == held + PERIOD_NS)


def test_steps_by_request_can_wait_too(brain):
    """Each of a request's scans is answered before the next step, and the drive moves."""
    with world(DOMAIN, **BASE | {'initial_state': 'paused', 'requests_wait': True,
                                 'answer_timeout_s': 0.5}):
        asked = brain.node.create_client(srv.StepSimulation, 'step_simulation')
        brain.until(asked.service_is_ready)

        def step(count):
            future = asked.call_async(srv.StepSimulation.Request(steps=count))
            brain.until(future.done)
            assert future.result().result.result == 1

        while not brain.commands:       # until the two know each other
            step(5)
        brain.until(lambda: len(brain.diagnostics) > 1)
        unanswered = brain.diagnostics[-1]['unanswered cmd_vel']
        begin = newest(brain)
        step(250)
        end = begin + 50 * PERIOD_NS
        brain.until(lambda: newest(brain) == end and end in brain.commands)
        seen = len(brain.diagnostics)
        brain.until(lambda: len(brain.diagnostics) > seen + 1)
    assert set(range(begin, end + 1, PERIOD_NS)) <= set(brain.commands)
    assert brain.diagnostics[-1]['unanswered cmd_vel'] == unanswered
    assert speed_at(brain, end) > 0.4


@pytest.mark.parametrize('rmw', ['rmw_cyclonedds_cpp', 'rmw_fastrtps_cpp'])
def test_the_same_drive_in_every_process_and_over_both_middlewares(rmw, drives):
    runs = [_drive(rmw) for _ in range(2)]
    drives[rmw] = set(runs)
    assert len(set(runs)) == 1
    assert len(set().union(*drives.values())) == 1


@pytest.fixture(scope='module')
def drives():
    return {}


def _drive(rmw):
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name('lockstep_rig.py'), SCENARIOS / 'aisle.yaml',
         ROBOT_FILE, '5', '400'], check=False, timeout=60, capture_output=True, text=True,
        env=os.environ | {'RMW_IMPLEMENTATION': rmw, 'ROS_DOMAIN_ID': str(DOMAIN)})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(('parameters', 'sentence'), [
    ({'answers': '[elsewhere]'}, "world: parameter answers = 'elsewhere': is none of"),
    ({'answers': "['x std_msgs/msg/String']"}, 'begins with no header'),
    ({'stamp': 'system'}, "world: parameter stamp = 'system': answers in lock-step"),
    ({'answer_timeout_s': 0.0}, 'world: parameter answer_timeout_s = 0.0: must be')])
def test_what_is_wrong_is_one_sentence(parameters, sentence):
    with world(DOMAIN, **BASE | parameters) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert [line for line in errors.splitlines() if sentence in line] == errors.splitlines()
