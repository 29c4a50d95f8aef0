"""Drives of the whole robot over ROS in lock-step are those of an episode in one process.

Same world, seed and model; over ROS with a real Triton and a recorder. A start is a few ticks
earlier or later, so drives are compared by place.
"""

import os

import lockstep_stack
import numpy as np
import pytest
from lockstep_stack import CONFIG, ROOT

from isaac_bridge.engines import open_world
from isaac_bridge.episode.drive import Robot, run
from policy_client.policies.onnx import OnnxPolicy

AISLE = CONFIG / 'scenarios/aisle.yaml'
MODEL = ROOT / 'docker/triton/model_repository/amr/1/model.onnx'
DOMAIN = 146
SEEDS = range(5) if os.environ.get('SPINAL_LONG') else range(2)


@pytest.fixture(scope='module')
def endpoint():
    with lockstep_stack.triton() as found:
        yield found


@pytest.fixture(scope='module')
def world():
    alone = open_world(AISLE, CONFIG / 'robots/amr.yaml', camera='off')
    yield alone
    alone.close()


def rests(rows):
    """Where it came to rest on the way, x in m."""
    still = (rows[1:, 4] < 0.01) & (rows[:-1, 4] >= 0.01)
    places = rows[1:, 1][still]
    return places[(places > 1.0) & (places < 23.0)]


@pytest.mark.parametrize('seed', SEEDS)
def test_over_ros_it_is_the_same_drive(endpoint, world, seed):
    there = lockstep_stack.episode(AISLE, seed, DOMAIN, endpoint)
    here = run(world, Robot.read(CONFIG), world.scenario, seed, OnnxPolicy(MODEL),
               OnnxPolicy(MODEL))
    print(f'seed {seed}: {there.real_time_factor:.1f} times real time; rests at '
          f'{rests(there.rows)} and {rests(here.rows)} m; '
          f'{there.rows[-1, 0] - there.rows[0, 0]:.2f} and {here.seconds:.2f} s; clearance '
          f'{there.min_clearance_m:.3f} and {here.min_clearance_m:.3f} m')
    assert (there.arrived, there.stops, there.contacts) == (True, here.stops, 0)
    assert here.arrived
    assert rests(there.rows) == pytest.approx(rests(here.rows), abs=0.05)
    assert there.rows[-1, 0] - there.rows[0, 0] == pytest.approx(here.seconds, abs=1.0)
    assert there.min_clearance_m == pytest.approx(here.min_clearance_m, abs=0.1)
    across = np.interp(here.rows[:, 1], there.rows[:, 1], there.rows[:, 2])
    assert np.abs(across - here.rows[:, 2]).max() < 0.02
    assert 'triton:desk' in there.sources
    # Each stop became a case; so does a reply that is drawn too late, when the board leads.
    assert there.cases >= there.stops


@pytest.mark.skipif(not os.environ.get('SPINAL_LONG'), reason='SPINAL_LONG=1 drives slowly, too')
def test_the_verdict_is_the_same_at_any_real_time_factor(endpoint):
    slow, quick = (lockstep_stack.episode(AISLE, 1, DOMAIN, endpoint, factor=factor)
                   for factor in (1.5, 0.0))
    assert slow.real_time_factor < 1.6 < quick.real_time_factor
    assert (slow.arrived, slow.stops, slow.contacts) == (quick.arrived, quick.stops, 0)
    assert rests(slow.rows) == pytest.approx(rests(quick.rows), abs=0.05)
