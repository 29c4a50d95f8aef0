"""The conformance suite: this server passes all of it, and each known defect is found by it."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROBOT_FILE, SCENARIOS
from simulation_interfaces import srv
from simulation_interfaces.msg import SimulationState

from isaac_bridge.conformance import suite
from isaac_bridge.conformance.client import Client, Missing
from isaac_bridge.conformance.rig import CHECKS

DOMAIN = int(os.environ.get('ROS_DOMAIN_ID') or 139)
ENGINES = ('mujoco', 'physx')
# What the stock server of Isaac Sim does, done to this one; and the checks that must say so.
DEFECTS = {
    'a single step is refused': ('''
old = Driver.steps
async def steps(self, count, told=None, cancelled=None):
    return (Answer(4, 'use two or more'), 0) if count == 1 else await old(
        self, count, told, cancelled)
Driver.steps = steps
''', {'single_step', 'steps_are_exact'}),
    'a step is a frame, and some are longer': ('''
old = Runner.advance
Runner.advance = lambda self, steps: old(self, steps + (self.steps % 7 == 3))
''', {'steps_are_exact'}),
    'resets ignore their scope': ('''
old = SimulationServices._reset_world
SimulationServices._reset_world = lambda self, scope: old(self, Scope.ALL)
''', {'reset_of_time_alone', 'reset_of_state_alone', 'reset_of_spawned_alone'}),
    'a reset ends playing': ('''
old = SimulationServices._reset
def reset(self, request, response):
    response = old(self, request, response)
    self._machine.state = State.PLAYING
    return response
SimulationServices._reset = reset
''', {'reset_leaves_the_state'}),
    'stopped to paused is only said': ('''
old = Machine.set
def set(self, wanted):
    if self.state == State.STOPPED and wanted == State.PAUSED:
        return machine.Change()
    return old(self, wanted)
Machine.set = set
''', {'stopped_to_paused_is_told_truly'}),
    'already there is OK': ('''
old = Machine.set
Machine.set = lambda self, wanted: machine.Change() if wanted == self.state else old(self, wanted)
''', {'already_in_target_state'}),
    'everything is an object': ('''
old = EntityServices._info
EntityServices._info = lambda self, entity: dataclasses.replace(old(self, entity), category=0)
''', {'categories_mean_something'}),
    'a cancelled action has failed': ('''
old = Driver.steps
async def steps(self, count, told=None, cancelled=None):
    answer, done = await old(self, count, told, cancelled)
    return (answer if done == count else Answer(4, 'it was canceled')), done
Driver.steps = steps
''', {'cancelled_is_no_failure'}),
    'steps while playing are an incorrect state': ('''
old = Machine.may_step
def may_step(self, steps, most):
    return Answer(3, 'it is playing') if self.state == State.PLAYING else old(self, steps, most)
Machine.may_step = may_step
''', {'step_while_playing', 'simulate_steps_while_playing'}),
    'poses are not checked': ('''
crowd.check_pose = common.check_pose = lambda pose, aisle, flat: None
''', {'invalid_poses_are_refused', 'spawn_poses_are_checked'}),
    'bounds do not filter': ('''
EntityServices._within = lambda self, name, bounds: True
''', {'filter_by_bounds'}),
    'what is spawned is not removed': ('''
old = MujocoWorld.reset
MujocoWorld.reset = lambda self, seed, scope=Scope.ALL: old(self, seed, Scope(3) & scope)
''', {'reset_of_everything', 'reset_by_default', 'reset_of_spawned_alone'}),
    'scans carry the time of their sending': ('''
old = Output.sensors
def sensors(self, stamp, frame):
    old(self, messages.time_of(frame.t_ns + 1), frame)
Output.sensors = sensors
''', {'sensors_have_the_clocks_stamps'}),
}
PRELUDE = '''
import dataclasses, sys
from isaac_bridge import crowd, messages, node
from isaac_bridge.engines import common
from isaac_bridge.engines.mujoco_world import MujocoWorld
from isaac_bridge.entities import Scope
from isaac_bridge.frontend import machine
from isaac_bridge.frontend.driver import Driver
from isaac_bridge.frontend.entity_services import EntityServices
from isaac_bridge.frontend.machine import Answer, Machine, State
from isaac_bridge.frontend.output import Output
from isaac_bridge.frontend.runner import Runner
from isaac_bridge.frontend.simulation_services import SimulationServices
'''


@contextlib.contextmanager
def server(code='', **parameters):
    values = {'scenario_file': SCENARIOS / 'aisle.yaml', 'robot_file': ROBOT_FILE,
              'camera': 'off', 'initial_state': 'stopped'} | parameters
    words = [word for name, value in values.items() for word in ('-p', f'{name}:={value}')]
    process = subprocess.Popen(
        [sys.executable, '-c', f'{PRELUDE}{code}\nsys.exit(node.main())', '--ros-args', *words],
        env=os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert 'Traceback' not in errors, errors


def outcomes(only=()):
    with Client(domain_id=DOMAIN, timeout_s=20.0) as client:
        client.wait_for(srv.GetSimulatorFeatures, 20.0)
        return suite.run(client, only)


@pytest.mark.parametrize('engine', ENGINES)
def test_this_server_does_all_of_it(engine):
    if engine == 'physx':
        pytest.importorskip('ovphysx')
    with server(engine=engine):
        found = outcomes()
    assert len(found) == len(CHECKS) >= 50
    assert [one for one in found if one.result != 'passed'] == []


def test_it_does_all_of_it_in_lock_step():
    """With nobody to answer: what is asked for goes on, the watchdog sees to the rest."""
    with server(mode='lockstep', answer_timeout_s=0.1):
        found = outcomes()
    assert [one for one in found if one.result != 'passed'] == []


@pytest.mark.parametrize('defect', DEFECTS)
def test_a_defect_is_found(defect):
    code, checks = DEFECTS[defect]
    with server(code):
        found = {one.check: one for one in outcomes(checks)}
    assert set(found) == checks
    assert {name for name, one in found.items() if one.result == 'failed'} == checks
    assert all(one.detail for one in found.values())


def test_the_command_prints_a_table_and_writes_json(tmp_path):
    file = tmp_path / 'conformance.json'
    command = [sys.executable, '-m', 'isaac_bridge.conformance', '--json', str(file),
               'single_step', 'play_pause_stop']
    environment = os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)}
    with server():
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                              env=environment)
    assert done.returncode == 0, done.stderr
    assert '2 of 2 passed' in done.stdout
    report = json.loads(file.read_text())
    assert report['counts'] == {'passed': 2, 'failed': 0, 'unsupported': 0, 'missing': 0}
    by_name = {one['check']: one for one in report['checks']}
    assert by_name['single_step']['stock'].startswith('failed: ')
    done = subprocess.run([*command, '--wait', '0.2'], capture_output=True, text=True, timeout=60,
                          check=False, env=environment)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith('conformance: no server of GetSimulatorFeatures under / in 0.2')
    done = subprocess.run([*command, 'nonsense'], capture_output=True, text=True, timeout=60,
                          check=False, env=environment)
    assert done.returncode == 2


def test_the_stock_servers_column_names_checks_that_exist():
    assert set(suite.stock()['checks']) <= set(CHECKS)
    assert suite.stock()['source']


def test_quitting_answers_first_and_ends_the_process():
    with server() as process, Client(domain_id=DOMAIN) as client:
        client.wait_for(srv.SetSimulationState, 20.0)
        quitting = SimulationState(state=SimulationState.STATE_QUITTING)
        assert client.call(srv.SetSimulationState, state=quitting).result.result == 1
        assert process.wait(20.0) == 0
        client.until(lambda: client.offers(srv.GetEntities) is None, 20.0)
        with pytest.raises(Missing):
            client.wait_for(srv.GetEntities, 0.1)


def test_a_long_request_leaves_the_rest_responsive_and_refuses_what_would_disturb_it():
    with server(initial_state='paused') as process, Client(domain_id=DOMAIN) as client:
        client.wait_for(srv.StepSimulation, 20.0)
        stepping = client.node.create_client(srv.StepSimulation, 'step_simulation')
        assert client.until(stepping.service_is_ready, 20.0)
        future = stepping.call_async(srv.StepSimulation.Request(steps=1_000_000))
        time_of = [client.call(srv.GetEntitiesStates).states[0].header.stamp for _ in range(3)]
        assert (time_of[0].sec, time_of[0].nanosec) < (time_of[2].sec, time_of[2].nanosec)
        assert client.call(srv.ResetSimulation).result.result == 3
        assert client.call(srv.StepSimulation, steps=1).result.result == 3
        assert client.call(srv.LoadWorld, uri='x.yaml').result.result == 3
        assert client.call(srv.DeleteEntity, entity='clerk').result.result == 3
        playing = SimulationState(state=SimulationState.STATE_PLAYING)
        answer = client.call(srv.SetSimulationState, state=playing).result
        assert (answer.result, answer.error_message) == (
            102, '1000000 steps under way: ask again when they are done')
        assert not future.done()
        process.send_signal(signal.SIGINT)
        assert process.wait(20.0) == 0
