"""The client with a virtual clock and policies that answer as a test says."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from policy_scene import AMR, MS, VOCABULARY, goal, image, model, odometry, rows, task

from policy_client.chunks import ActionQueue, QueueSettings, Ticket
from policy_client.exchange import decode, encode
from policy_client.feedback import limits
from policy_client.flights import Cancel, FlightSettings, Handshake, Times
from policy_client.handshake import TensorSpec
from policy_client.journal import play
from policy_client.observation import Sample
from policy_client.pilot import Pilot, PilotSettings
from policy_client.policies.base import Failure, Reply
from policy_client.policies.hold import HoldPolicy
from policy_client.reply import checked
from policy_client.routing import HOLD, RouterSettings

CLOUD, ONNX = 'triton:cloud', 'onnx'
FLIGHTS = FlightSettings(deadline_ns=80 * MS, model_version='', strict=frozenset({CLOUD}),
                         pinned=frozenset({CLOUD}), router=RouterSettings())
SETTINGS = PilotSettings(
    max_age_ns=1000 * MS, blend_ns=150 * MS, goal_tolerance_m=0.3, safety_timeout_ns=500 * MS,
    limit_tolerance=0.05, model_name='amr', flights=FLIGHTS)

# ROS time is another clock than the one that ages count in.
STAMPS = 1_700_000_000_000_000_000

Answer = Callable[[], tuple[int, dict]]


def good(v=0.5, w=0.0, after_ms=5):
    return lambda: (after_ms, {'actions': {'action.base_velocity': rows(v, w)}, 'version': '1'})


def fails(failure, after_ms=1):
    return lambda: (after_ms, {'failure': failure, 'detail': 'as the test says'})


def silent():
    return None


class World:
    """Runs a Pilot as the node does: 30 Hz out, 10 Hz inference, 20 Hz health; time is counted."""

    def __init__(self, routes=(CLOUD, ONNX, HOLD), settings=SETTINGS):
        self.pilot = Pilot(AMR, VOCABULARY, routes, settings, 'test')
        self.cancelled = []
        self.now_ns = 1_000_000 * MS
        self.answers = {CLOUD: good(0.5), ONNX: good(0.4), HOLD: None}
        self.models = {CLOUD: model(), ONNX: model(parameters={}),
                       HOLD: HoldPolicy(AMR).handshake(1.0)}
        self.safety = 'RUNNING'
        self.odom = odometry()
        self.camera = image(height=224, width=224)
        self.pending = []
        self.steps, self.asked, self.exchanges, self.chunks = [], [], [], []

    @property
    def now(self):
        return Times(self.now_ns, self.now_ns, self.now_ns + STAMPS)

    def say(self, topic, message):
        stamp = None if topic == 'task' else self.now_ns
        if self.pilot.heard(topic, Sample(message, self.now_ns, stamp)):
            self.do(self.pilot.plan(self.now))

    def go(self):
        self.say('task', task())
        self.say('goal_pose', goal(20.0, 0.0))
        return self

    def do(self, jobs):
        for job in jobs:
            if isinstance(job, Cancel):
                self.cancelled.append(job.request_id)
                continue
            if isinstance(job, Handshake):
                description = self.models[job.route]
                if description is None:
                    self.pilot.handshake_failed(job.route, 'nobody listens', self.now)
                else:
                    self.do(self.pilot.handshaken(job.route, description, self.now))
                continue
            self.asked.append((job.route, job.probe, job.request))
            if job.route == HOLD:
                reply, after = HoldPolicy(AMR).infer(job.request).result(), 0
            else:
                answer = self.answers[job.route]()
                if answer is None:
                    continue
                after, fields = answer
                reply = Reply(job.request.request_id, **fields)
                if after > 80:  # as a policy does it
                    after, reply = 80, Reply(job.request.request_id, failure=Failure.DEADLINE)
            self.pending.append((self.now_ns + after * MS, job.route, reply))

    def deliver(self):
        due = [entry for entry in self.pending if entry[0] <= self.now_ns]
        self.pending = [entry for entry in self.pending if entry[0] > self.now_ns]
        for _, route, reply in due:
            handled = self.pilot.replied(route, reply, self.now)
            self.do(handled.jobs)
            self.exchanges += handled.exchanges
            if handled.chunk:
                self.chunks.append((self.now_ns, handled.chunk))

    def run(self, ms):
        for _ in range(ms):
            self.now_ns += MS
            tick = self.now_ns // MS
            if tick % 25 == 0 and self.odom:
                self.say('odom', self.odom)
            if tick % 100 == 0 and self.camera:
                self.say('camera/front/image_raw', self.camera)
            if tick % 100 == 0 and self.safety is not None and self.pilot.safety(
                    self.safety, self.now_ns):
                self.do(self.pilot.plan(self.now))
            self.deliver()
            due = self.pilot.hedge_due_ns
            if due is not None and self.now_ns >= due:
                self.do(self.pilot.hedge(self.now))
            if tick % 50 == 0:
                self.do(self.pilot.probes(self.now))
            if tick % 100 == 7:
                self.do(self.pilot.plan(self.now))
            if tick % 33 == 0:
                self.steps.append((self.now_ns, self.pilot.step(self.now)))
            if tick % 200 == 0:
                self.exchanges += self.pilot.records(self.now)
        return self

    @property
    def status(self):
        return self.pilot.status(self.now)

    @property
    def v(self):
        return float(self.steps[-1][1].action[0])


@pytest.fixture
def world():
    return World().go().run(2500)


def test_the_best_route_leads_once_it_has_proved_itself(world):
    assert world.status['state'] == 'driving'
    assert world.status['source'] == CLOUD
    assert world.v == pytest.approx(0.5, abs=1e-3)
    assert world.status['fallback_s'] == '0.00'
    assert world.status['version'] == '1'
    assert world.status['camera'] == 'live'
    assert int(world.status['staleness_ms']) < 250
    assert int(world.status['requests']) >= int(world.status['replies']) > 10


@pytest.mark.parametrize('answer', [
    fails(Failure.UNREACHABLE), silent, good(after_ms=400), fails(Failure.MODEL_ERROR),
    fails(Failure.QUEUE_FULL), fails(Failure.INVALID), good(v=np.nan), good(v=25.0),
    lambda: (3, {'actions': {}, 'version': '1'}),
    lambda: (3, {'actions': {'action.base_velocity': rows(horizon=3)}, 'version': '1'}),
], ids=['dead', 'hung', 'slow', 'error', 'full', 'invalid', 'nan', 'over_limit', 'empty', 'shape'])
def test_the_fallback_leads_within_two_inference_periods(world, answer):
    fault_ns = world.now_ns
    world.answers[CLOUD] = answer
    world.chunks.clear()
    world.run(2000)
    first = next(at for at, chunk in world.chunks if chunk.source == ONNX)
    # A policy that never comes back at all is found 100 ms after its deadline.
    assert first - fault_ns <= (300 if answer is silent else 200) * MS
    assert all(chunk.source == ONNX for _, chunk in world.chunks)
    assert world.status['source'] == ONNX
    assert world.status['state'] == 'driving'
    assert float(world.status['fallback_s']) > 1.5
    assert min(step.action[0] for _, step in world.steps[-60:]) > 0.38  # never stood
    assert world.v == pytest.approx(0.4)


def test_it_leads_again_after_good_probes_and_without_a_jump(world):
    world.answers[CLOUD] = fails(Failure.UNREACHABLE)
    world.run(3000)
    world.answers[CLOUD] = good(0.5)
    world.steps.clear()
    world.run(4000)
    assert world.status['source'] == CLOUD
    speeds = [step.action[0] for _, step in world.steps]
    assert speeds[0] == pytest.approx(0.4)
    assert speeds[-1] == pytest.approx(0.5)
    assert max(np.diff(speeds)) <= 0.8 * 0.034


def test_a_server_that_answers_now_and_then_never_leads(world):
    world.answers[CLOUD] = fails(Failure.DEADLINE)
    world.run(1000)
    turn = iter(range(10**6))
    world.answers[CLOUD] = lambda: (
        good()() if next(turn) % 3 else fails(Failure.DEADLINE)())
    world.chunks.clear()
    world.run(8000)
    assert {chunk.source for _, chunk in world.chunks} == {ONNX}


def test_a_bad_chunk_is_counted_named_and_never_goes_out(world):
    world.answers[CLOUD] = good(v=np.nan)
    world.run(1500)
    assert int(world.status['rejected_chunks']) >= 2
    assert world.status['reject_reason'] == 'not_finite'
    assert world.status['reject_detail'].startswith(f'{CLOUD}: action.base_velocity v is nan')
    assert f'{CLOUD}: not_finite: action' in world.status['route_errors']
    assert all(np.isfinite(step.action).all() for _, step in world.steps)
    rejected = [record for record in world.exchanges if record.outcome == 'not_finite']
    assert np.isnan(decode(encode(rejected[0])).actions['action.base_velocity']).any()


def test_another_version_of_the_model_needs_a_handshake_of_its_own(world):
    handshakes = int(world.status['requests'])
    world.answers[CLOUD] = lambda: (
        3, {'actions': {'action.base_velocity': rows(0.3)}, 'version': '2'})
    world.run(500)
    assert world.status['source'] == ONNX
    world.models[CLOUD] = model(version='2')
    world.run(4000)
    assert world.status['source'] == CLOUD
    assert world.status['version'] == '2'
    assert int(world.status['requests']) > handshakes


def test_a_model_for_another_robot_is_refused_and_named():
    world = World()
    world.models[CLOUD] = model(parameters={'embodiment': 'gr1', 'action_period_ms': '100',
                                            'modality_sha256': '0'})
    world.go().run(1000)
    assert 'embodiment: the model has gr1, this robot amr' in world.status['route_errors']
    assert world.status['source'] == ONNX
    assert not any(route == CLOUD for route, _, _ in world.asked)


@pytest.mark.parametrize('state', ['STOPPED', 'LATCHED', 'STARTING', ''])
def test_a_stop_drops_the_chunks_and_is_neutral_at_once(world, state):
    epoch = int(world.status['epoch'])
    world.safety = state
    world.run(150)
    world.steps.clear()
    world.asked.clear()
    world.run(1000)
    assert all(step.action.tolist() == [0.0, 0.0] for _, step in world.steps)
    assert len(world.steps) >= 29  # the stream does not cease
    assert world.status['state'] == 'neutral'
    assert int(world.status['epoch']) == epoch + 1
    assert not any(not probe for _, probe, _ in world.asked)
    world.safety = 'RUNNING'
    world.run(1500)
    assert world.status['state'] == 'driving'
    assert world.v == pytest.approx(0.5, abs=1e-3)


def test_a_reply_from_before_the_stop_never_runs(world):
    world.answers[CLOUD] = good(0.9, after_ms=60)
    world.asked.clear()
    while not any(route == CLOUD and not probe for route, probe, _ in world.asked[-1:]):
        world.run(1)
    world.pilot.safety('STOPPED', world.now_ns)
    world.chunks.clear()
    world.safety = 'STOPPED'
    world.run(200)
    assert world.chunks == []
    assert 'epoch' in [one.outcome for one in world.exchanges[-2:]]


def test_a_silent_reflex_means_neutral(world):
    world.safety = None
    world.run(700)
    assert world.status['state'] == 'neutral'
    assert 'silent' in world.status['why']
    assert world.v == 0.0


def test_without_task_goal_or_reflex_it_holds():
    world = World()
    world.safety = None
    world.run(1000)
    assert world.status['why'] == 'safety/state was never heard'
    world.safety = 'RUNNING'
    assert world.run(1000).status['state'] == 'no_task'
    world.say('task', task())
    assert world.run(100).status['state'] == 'no_goal'
    world.say('goal_pose', goal(20.0, 0.0))
    assert world.run(1500).status['state'] == 'driving'
    world.say('task', task(''))
    assert world.run(2000).status['state'] == 'no_task'
    assert world.v == 0.0


def test_unknown_words_and_a_lost_base_are_no_observation(world):
    world.say('task', task('drive backwards into the goal'))
    world.run(1500)
    assert world.status['state'] == 'no_observation'
    assert "unknown word 'backwards'" in world.status['why']
    assert world.v == 0.0
    world.say('task', task())
    world.run(1000)
    world.odom = None
    world.run(600)
    assert world.status['state'] == 'driving'  # on a chunk that is young enough
    world.run(2000)
    assert world.status['state'] == 'no_observation'
    assert 'stale: odom' in world.status['why']
    assert world.v == 0.0


def test_a_new_task_drops_the_actions_of_the_old_one(world):
    epoch = int(world.status['epoch'])
    world.say('task', task('wait here'))
    assert int(world.status['epoch']) == epoch + 1
    assert world.status['queue'] == '0'
    world.say('task', task('wait here'))
    assert int(world.status['epoch']) == epoch + 1


def test_a_new_goal_ends_the_actions_for_the_old_one(world):
    world.answers[CLOUD] = good(0.9, after_ms=60)
    while not any(route == CLOUD and not probe for route, probe, _ in world.asked[-1:]):
        world.run(1)
    epoch = int(world.status['epoch'])
    world.say('goal_pose', goal(20.2, 0.0))  # the same place, told a little differently
    assert int(world.status['epoch']) == epoch
    world.say('goal_pose', goal(-20.0, 0.0))
    assert int(world.status['epoch']) == epoch + 1
    assert world.status['queue'] == '0'
    world.run(100)
    assert 'epoch' in [one.outcome for one in world.exchanges]  # the reply for the old goal
    world.run(500)
    assert world.status['state'] == 'driving'


def test_a_stop_between_two_ticks_is_a_stop(world):
    epoch = int(world.status['epoch'])
    world.pilot.safety('STOPPED', world.now_ns)
    world.pilot.safety('RUNNING', world.now_ns + 5 * MS)
    assert int(world.status['epoch']) == epoch + 1
    assert world.status['queue'] == '0'


def test_a_reply_under_an_older_handshake_blames_and_proves_nothing(world):
    """Version 1 answers late, after the handshake with version 2 was held."""
    world.answers[CLOUD] = lambda: (70, {'actions': {'action.base_velocity': rows(0.5)},
                                         'version': '1'})
    while not any(route == CLOUD and not probe for route, probe, _ in world.asked[-1:]):
        world.run(1)
    world.pilot.handshaken(CLOUD, model(version='2'), world.now)
    world.answers[CLOUD] = lambda: (5, {'actions': {'action.base_velocity': rows(0.5)},
                                        'version': '2'})
    world.run(1000)
    assert f'{CLOUD}:closed' in world.status['routes']
    assert world.status['version'] == '2'
    assert world.status['route_errors'] == ''


def test_a_lead_without_a_handshake_does_not_end_the_asking():
    world = World(settings=replace(SETTINGS, flights=replace(
        FLIGHTS, router=RouterSettings(probes_to_close=1)))).go().run(2500)
    turn = iter(range(10**6))
    world.answers[CLOUD] = lambda: (
        (good(after_ms=70) if next(turn) % 2 else fails(Failure.UNREACHABLE, after_ms=75))())
    for _ in range(20):
        world.run(500)
        world.asked.clear()
        world.run(500)
        assert any(not probe for _, probe, _ in world.asked)


def test_what_never_came_back_is_told_with_all_its_ticks(world):
    world.answers[CLOUD] = silent
    world.run(3000)
    assert Failure.DEADLINE in [one.outcome for one in world.exchanges]
    entries = np.concatenate([one.record.entries for one in world.exchanges])
    ticks = entries[np.isin(entries[:, 0], (0, 1))]
    assert len(ticks) >= len(world.steps) - 12
    assert (np.diff(ticks[:, 1]) > 0).all()


def test_a_huge_reply_is_refused_and_its_content_is_not_kept(world):
    huge = {'action.base_velocity': np.zeros((1, 16, 200_000), np.float32)}
    world.answers[CLOUD] = lambda: (3, {'actions': huge, 'version': '1'})
    world.run(300)
    record = next(one for one in world.exchanges if one.outcome == 'shape')
    assert len(encode(record)) < 100_000
    assert 'too large' in record.detail


def test_near_the_goal_it_has_arrived_and_holds(world):
    world.odom = odometry(x=19.8)
    world.run(1500)
    assert world.status['state'] == 'arrived'
    assert (world.v, world.status['source']) == (0.0, HOLD)
    world.odom = odometry(x=19.5)  # drifted, inside the hysteresis
    assert world.run(200).status['state'] == 'arrived'
    world.say('goal_pose', goal(20.0, 0.0))
    assert world.run(200).status['state'] == 'arrived'  # the same goal said again
    world.say('goal_pose', goal(25.0, 0.0))
    assert world.run(1000).status['state'] == 'driving'


def test_without_any_policy_the_robot_stands():
    world = World()
    world.models[CLOUD] = None
    world.answers[ONNX] = fails(Failure.MODEL_ERROR)
    world.go().run(3000)
    assert world.status['state'] == 'no_policy'
    assert (world.v, world.status['source']) == (0.0, HOLD)


def test_when_all_is_lost_the_queue_runs_out_before_the_hold(world):
    world.answers[CLOUD] = world.answers[ONNX] = fails(Failure.DEADLINE)
    lost = world.now_ns
    world.steps.clear()
    world.run(3000)
    held = next(at for at, step in world.steps if step.chunk is None or step.chunk.source == HOLD)
    assert 700 * MS < held - lost <= 1040 * MS
    assert world.v == 0.0


def slow_at_times(every):
    turn = iter(range(10**6))
    return lambda: good(after_ms=10 if next(turn) % every else 60)()


def test_what_takes_unusually_long_is_asked_twice_and_the_first_answer_counts():
    hedging = replace(SETTINGS, flights=replace(FLIGHTS, hedge=True))
    world = World(settings=hedging).go()
    world.run(6000)  # all replies as usual: nothing to hedge
    assert world.status['hedges'] == '0,0'
    world.answers[CLOUD] = slow_at_times(33)
    world.asked.clear()
    world.run(60_000)
    hedges, won = map(int, world.status['hedges'].split(','))
    first = [request for _, probe, request in world.asked
             if not probe and not request.request_id.endswith('/hedge')]
    assert 0.5 * len(first) / 33 < hedges <= 0.05 * len(first) + 3
    assert hedges - 2 <= won <= hedges == len(world.cancelled)
    slow = [chunk for _, chunk in world.chunks]
    assert len({chunk.ticket.request_id for chunk in slow}) == len(slow)  # none ran twice
    assert world.status['source'] == CLOUD


def test_a_hedge_that_fails_leaves_the_first_request_alone():
    world = World(settings=replace(SETTINGS, flights=replace(FLIGHTS, hedge=True))).go()
    world.run(6000)
    turn = iter(range(10**6))
    world.answers[CLOUD] = lambda: (good(after_ms=60) if not next(turn) % 2 else fails(
        Failure.QUEUE_FULL))()
    world.chunks.clear()
    world.run(100)
    assert world.status['hedges'] == '1,0'
    assert [chunk.source for _, chunk in world.chunks] == [CLOUD]


def test_a_model_that_takes_a_prefix_gets_the_rows_that_go_out_meanwhile():
    """Real-time chunking: what will have been executed when the reply comes is frozen."""
    prefix = (TensorSpec('rtc.prefix.base_velocity', 'FP32', (1, -1, 2), optional=True),
              TensorSpec('rtc.prefix_length', 'INT32', (1,), optional=True))
    world = World()
    world.models[CLOUD] = model(inputs=(*model().inputs, *prefix))
    world.answers[CLOUD] = good(0.5, after_ms=70)
    world.go().run(4000)
    assert world.status['real_time_chunking'] == 'true'
    sent = [request.inputs for route, probe, request in world.asked
            if route == CLOUD and not probe][-1]
    rows_sent = sent['rtc.prefix.base_velocity']
    assert (rows_sent.shape[0], rows_sent.shape[2]) == (1, 2)
    assert rows_sent[0] == pytest.approx(np.tile([0.5, 0.0], (rows_sent.shape[1], 1)), abs=1e-3)
    assert sent['rtc.prefix_length'].tolist() == [1]  # 70 ms of rows of 100 ms
    assert not any('rtc.prefix_length' in request.inputs for _, probe, request in world.asked
                   if probe)


def test_a_masked_camera_is_told(world):
    world.camera = None
    world.run(1000)
    assert world.status['camera'] == 'masked'
    assert world.status['state'] == 'driving'
    accepted = [one for one in world.exchanges if one.outcome == 'accepted']
    assert accepted[-1].masked == ('video.front',)


def test_exchanges_tell_every_tick_once_and_replay_to_the_same_output(world):
    """Bit for bit: over a start, a fallback, a stop and a restart."""
    world.answers[CLOUD] = fails(Failure.UNREACHABLE)
    world.run(900)
    world.safety = 'STOPPED'
    world.run(300)
    world.safety, world.answers[CLOUD] = 'RUNNING', good(0.6, 0.2, after_ms=33)
    world.run(3000)
    records = [decode(encode(exchange)) for exchange in world.exchanges]
    replies = {one.sequence: one for one in records if one.sequence}

    def reply(sequence):
        one = replies[sequence]
        ticket = Ticket(one.request_id, sequence, one.epoch, one.observed_ns, one.executed_ns)
        return ticket, one.source, checked(one.actions, AMR, 16, 0.05)

    queue = ActionQueue(QueueSettings(100 * MS, 1000 * MS, 150 * MS, limits(AMR)), 'test')
    played = [(stamp, step.action) for one in records for stamp, step in play(
        queue, one.record, reply)]
    went = [(at + STAMPS, step.action) for at, step in world.steps[:len(played)]]
    assert len(played) > len(world.steps) - 20
    assert [stamp for stamp, _ in played] == [stamp for stamp, _ in went]
    assert all(a.tobytes() == b.tobytes() for (_, a), (_, b) in zip(played, went, strict=True))


def test_a_replay_may_begin_in_the_middle(world):
    world.run(1000)
    records = world.exchanges[-6:]
    replies = {one.sequence: one for one in world.exchanges}
    first = next(one for one in records if one.record.snapshot.sequence)

    def reply(sequence):
        one = replies[sequence]
        ticket = Ticket(one.request_id, sequence, one.epoch, one.observed_ns, one.executed_ns)
        return ticket, one.source, checked(one.actions, AMR, 16, 0.05)

    queue = ActionQueue(QueueSettings(100 * MS, 1000 * MS, 150 * MS, limits(AMR)), 'test')
    _, source, chunk = reply(first.record.snapshot.sequence)
    queue.restore(first.record.snapshot, source, chunk)
    steps = {at + STAMPS: step.action for at, step in world.steps}
    played = [pair for one in records[records.index(first):]
              for pair in play(queue, one.record, reply)]
    assert len(played) > 10
    assert all(step.action.tobytes() == steps[stamp].tobytes() for stamp, step in played)


def test_one_request_is_in_flight_at_a_time(world):
    world.answers[CLOUD] = good(after_ms=79)
    world.asked.clear()
    world.run(1000)
    assert 8 <= len([1 for _, probe, _ in world.asked if not probe]) <= 11


def test_a_world_that_begins_anew_finds_no_chunk_of_the_old_one(world):
    epoch = int(world.status['epoch'])
    step = world.pilot.step(Times(world.now_ns - 60_000 * MS, world.now_ns))
    assert step.chunk is None
    assert int(world.status['epoch']) == epoch + 1
