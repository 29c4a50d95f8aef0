"""Episodes: the robot's own reflex and policy client in a world, on simulated time."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from episode_scene import MODEL, ROBOT, blind, drive, open_aisle

from isaac_bridge.episode.careful import CarefulPolicy
from isaac_bridge.scenario import Criteria, Faults, Task
from policy_client.policies.base import Failure, Reply
from policy_client.policies.onnx import OnnxPolicy

SHORT = Task(limit_s=8.0)


@pytest.fixture(scope='module')
def world():
    with_people = open_aisle()
    yield with_people
    with_people.close()


def test_the_reflex_stops_a_blind_policy_and_it_arrives(world):
    shown = drive(world, blind())
    assert shown.arrived
    assert shown.stops == 1
    assert 'protective_field' in shown.stop_reasons[0]
    assert not shown.contacts
    assert shown.min_clearance_m > 0.3
    assert shown.success
    assert shown.path_m == pytest.approx(24.0 - 0.5, abs=0.6)
    assert shown.rows[-1, 0] == pytest.approx(shown.seconds, abs=0.05)


def test_who_sees_people_needs_no_reflex(world):
    shown = drive(world, CarefulPolicy(blind()), criteria=Criteria(max_stops=0))
    assert (shown.arrived, shown.stops, shown.broken) == (True, 0, [])


@pytest.mark.parametrize(('criteria', 'sentence'), [
    (Criteria(max_stops=0), '1 stops of the reflex, 0 allowed'),
    (Criteria(min_clearance_m=3.0), '3 m are asked for')])
def test_what_a_scenario_asks_for_is_judged(world, criteria, sentence):
    shown = drive(world, blind(), criteria=criteria)
    assert not shown.success
    assert sentence in shown.broken[0]


def test_out_of_time(world):
    assert drive(world, blind(), task=SHORT).broken == ['not at the goal within 8 s']


def test_an_unknown_instruction_is_no_drive(world):
    shown = drive(world, blind(), task=Task('fly to the moon', 5.0))
    assert shown.path_m == 0.0


def test_the_same_seed_is_the_same_drive_in_every_process(world):
    here = [drive(world, blind(), task=SHORT, seed=seed).digest for seed in (1, 2, 1)]
    assert here[0] == here[2] != here[1]
    program = ('import dataclasses, episode_scene as s; from isaac_bridge.scenario import Task\n'
               'w = s.open_aisle(); print(s.drive(w, s.blind(), task=Task(limit_s=8.0)).digest)')
    there = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                           check=True, cwd=__file__.rpartition('/')[0])
    assert there.stdout.strip() == here[0]


def test_a_server_that_is_silent_hands_over_to_the_board_and_comes_back(world):
    faults = Faults(policy_outages_s=((3.0, 6.0),))
    shown = drive(world, blind(), faults=faults, task=Task(limit_s=12.0))
    assert 0.15 < shown.fallback_share < 0.5
    assert shown.rows[-1, 4] > 0.5, 'it goes on'
    slow = drive(world, blind(), faults=Faults(policy_delay_ms=(60.0, 79.0)), task=SHORT)
    assert slow.rows[-1, 4] > 0.5
    late = drive(world, blind(), faults=Faults(policy_delay_ms=(300.0, 400.0)), task=SHORT)
    assert late.fallback_share > 0.5, 'every reply comes after the deadline'


def test_a_latch_in_motion_ends_the_drive(world):
    """Numbers that no base should obey: the client refuses them, and drives on the board's."""
    class Mad(OnnxPolicy):
        def infer(self, request):
            reply = super().infer(request).result()
            rows = {name: np.full_like(array, np.nan) for name, array in reply.actions.items()}
            future = super().infer(request)
            future.result()
            changed = type(future)()
            changed.set_result(dataclasses.replace(reply, actions=rows))
            return changed
    shown = drive(world, Mad(MODEL), task=SHORT)
    assert shown.fallback_share > 0.5
    assert not shown.latched


def test_a_policy_that_fails_stands_without_a_board(world):
    class Dead(OnnxPolicy):
        def infer(self, request):
            future = super().infer(request)
            future.result()
            changed = type(future)()
            changed.set_result(Reply(request.request_id, failure=Failure.MODEL_ERROR))
            return changed
    from isaac_bridge.episode.drive import run
    shown = run(world, ROBOT, dataclasses.replace(world.scenario, task=SHORT), 1, Dead(MODEL))
    assert shown.path_m == 0.0
    assert not shown.success


def test_with_a_camera_it_sees(world):
    seeing = open_aisle('auto')
    if not seeing.has_camera:
        pytest.skip('no EGL here: nothing can be rendered')
    blindfolded = drive(seeing, blind(), task=SHORT, faults=Faults(camera=False))
    assert blindfolded.digest == drive(world, blind(), task=SHORT).digest
    assert drive(seeing, blind(), task=SHORT).digest != blindfolded.digest
    seeing.close()
