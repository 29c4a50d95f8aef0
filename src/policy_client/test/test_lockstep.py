"""A pilot in lock-step: the same drive whatever this computer does, and however long it takes."""

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from policy_scene import AMR, MS, VOCABULARY, goal, image, model, odometry, rows, task

from node_kit import ParameterError
from policy_client.lockstep import Delays, Lockstep
from policy_client.observation import Sample
from policy_client.parameters import ONNX, Parameters, check
from policy_client.pilot import Pilot
from policy_client.policies.base import Reply
from policy_client.policies.hold import HoldPolicy
from policy_client.routing import HOLD
from policy_client.settings import pilot_settings

SERVER = 'triton:cloud'
PARAMETERS = Parameters(output_rate_hz=40.0)
PERIOD_NS = 25 * MS


class Policy:
    """Replies with one speed, after wall_s of the real clock."""

    def __init__(self, v, wall_s=0.0):
        self.v, self.wall_s, self.asked = v, wall_s, 0

    def handshake(self, timeout_s):
        return model()

    def infer(self, request):
        self.asked += 1
        future = Future()
        reply = Reply(request.request_id, {'action.base_velocity': rows(self.v)}, version='1')
        if self.wall_s:
            threading.Timer(self.wall_s, future.set_result, [reply]).start()
        else:
            future.set_result(reply)
        return future


def drive(server, board=None, delays=None, ticks=200):
    """The speeds that go out, and the chunks' sources as they come to lead."""
    delays = delays or Delays(seed=3)
    policies = {SERVER: server, ONNX: board or Policy(0.3), HOLD: HoldPolicy(AMR)}
    pilot = Pilot(AMR, VOCABULARY, list(policies), pilot_settings(PARAMETERS, [SERVER]), 'test')
    lockstep = Lockstep(pilot, policies, PARAMETERS, delays)
    speeds, sources = [], []
    for tick in range(ticks):
        now_ns = 1_000_000_000 + tick * PERIOD_NS
        if tick == 0:
            lockstep.hear('task', Sample(task(), now_ns), now_ns)
            lockstep.hear('goal_pose', Sample(goal(20.0, 0.0), now_ns, now_ns), now_ns)
        if tick % 4 == 0:
            lockstep.hear_reflex('RUNNING', 1.0, now_ns)
            lockstep.hear('camera/front/image_raw', Sample(image(), now_ns, now_ns), now_ns)
        lockstep.hear('odom', Sample(odometry(), now_ns, now_ns), now_ns)
        done = lockstep.tick(now_ns)
        assert done.step is not None, 'one command for each instant'
        speeds.append(float(done.step.action[0]))
        sources += [handled.chunk.source for handled in done.handled if handled.chunk]
    return np.array(speeds), sources


def test_it_drives_on_the_server():
    speeds, sources = drive(Policy(0.5))
    assert speeds[-1] == pytest.approx(0.5)
    assert sources[-1] == SERVER


def test_a_slow_computer_changes_nothing():
    quick, _ = drive(Policy(0.5), ticks=80)
    began = time.monotonic()
    slow, _ = drive(Policy(0.5, wall_s=0.02), ticks=80)
    assert time.monotonic() - began > 0.2, 'it was slow indeed'
    assert slow.tolist() == quick.tolist()


def test_the_seed_draws_the_delays():
    def once(seed):
        return drive(Policy(0.5), delays=Delays(60.0, 79.0, seed=seed))
    (speeds, sources), (again, _), (others, other_sources) = once(1), once(1), once(2)
    assert speeds.tolist() == again.tolist()
    assert (speeds.tolist(), sources) != (others.tolist(), other_sources)


def test_what_comes_after_the_deadline_is_the_boards_turn():
    server = Policy(0.5)
    speeds, sources = drive(server, delays=Delays(300.0, 300.1, seed=1))
    assert SERVER not in sources
    assert sources[-1] == ONNX
    assert server.asked == 0, 'a reply that is drawn too late is not even asked for'
    assert speeds[-1] == pytest.approx(0.3)


def test_an_outage_ends_and_the_server_leads_again():
    _, sources = drive(Policy(0.5), delays=Delays(outages_s=((1.0, 2.0),), seed=1), ticks=240)
    during = sources.index(ONNX)
    assert SERVER in sources[:during] or during == 0
    assert sources[-1] == SERVER


@pytest.mark.parametrize(('changes', 'sentence'), [
    ({'lockstep': True}, 'lockstep: needs clock = sim'),
    ({'lockstep_delay_ms': (20.0,)}, r'must be \[p50, p95\]'),
    ({'lockstep_delay_ms': (20.0, 10.0)}, r'must be \[p50, p95\]'),
    ({'lockstep_delay_ms': (0.0, 10.0)}, r'must be \[p50, p95\]')])
def test_parameters_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(ParameterError, match=sentence):
        check(Parameters(**changes))
