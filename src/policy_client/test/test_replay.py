"""Bags of a client on a virtual clock, replayed bit for bit."""

import json

import numpy as np
import pytest
import test_pilot
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_scene import AMR, CONFIG, MS, model
from replay_arm import ARM, COMMAND, ArmWorld
from replay_scene import RosWorld, exchanges_of, refusal, told, write_bag
from test_pilot import CLOUD, STAMPS, good

from policy_client import embodiment_file, feedback, messages
from policy_client.chunks import QueueSettings
from policy_client.embodiment import JOINTS
from policy_client.exchange import Exchange, embodiment_sha256
from policy_client.handshake import TensorSpec
from policy_client.journal import RecordedQueue
from policy_client.replay.comparison import compare
from policy_client.replay.playback import play_back
from policy_client.replay.recording import Told
from policy_client.reply import checked

INPUTS = {'video.front', 'state.velocity', 'state.goal', 'annotation.human.task_description'}


def test_the_whole_bag_is_equal_bit_for_bit(world, replayed):
    status, found, _ = replayed(world.recorded())
    commands = found['commands']['policy/cmd_vel']
    assert status == 0
    assert commands['equal'] == found['ticks'] > len(world.steps) - 20
    assert commands['different'] == commands['without_message'] == 0
    assert found['ticks_not_replayed'] == 0
    assert found['begins'] == ['from exchange 0 (without a chunk)']


def test_observations_are_rebuilt_from_the_bags_own_messages(world, replayed):
    _, found, _ = replayed(world.recorded())
    asked = sum(bool(one.inputs_crc32) for one in world.exchanges)
    assert set(found['observations']) == INPUTS | {'held.base_velocity'}
    for name in INPUTS:
        tally = found['observations'][name]
        assert (tally['equal'], tally['different'], tally['lacking']) == (asked, 0, 0)
    assert found['observations']['held.base_velocity']['equal'] == sum(
        one.source == 'hold' for one in world.exchanges)


@pytest.mark.parametrize('share', [0.2, 0.5, 0.8])
def test_it_may_begin_in_the_middle(world, replayed, share):
    recorded = world.recorded()
    status, found, _ = replayed(recorded[int(share * len(recorded)):])
    commands = found['commands']['policy/cmd_vel']
    assert status == 0
    assert commands['equal'] > 0.9 * (1 - share) * len(world.steps) - 20
    assert commands['different'] == 0


@given(lost=st.sets(st.integers(0, 200)), first=st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_whatever_exchanges_are_lost_no_tick_is_wrong(world, lost, first):
    some = [one for index, one in enumerate(exchanges_of(world))
            if index >= first and index not in lost]
    went = {at + STAMPS: step.action.tobytes() for at, step in world.steps}
    playback = play_back(some, AMR)
    assert playback.problems == []
    assert all(tick.action.tobytes() == went[tick.stamp_ns] for tick in playback.ticks)
    assert len(playback.ticks) + len(playback.missed) == sum(
        int(np.isin(one.exchange.record.entries[:, 0], (0, 1)).sum()) for one in some)


def test_a_lost_exchange_is_named_and_the_rest_is_equal(world, replayed):
    lost = [one for one in world.exchanges if one.outcome == 'accepted'][30]
    recorded = [entry for entry in world.recorded() if not (
        entry[1] == 'policy/exchange' and entry[0] == lost.received_ns + STAMPS)]
    status, found, printed = replayed(recorded)
    commands = found['commands']['policy/cmd_vel']
    assert status == 0
    assert len(found['begins']) == 2
    assert 'exchanges are missing) from exchange' in printed
    assert found['ticks_not_replayed'] > 0
    assert commands['equal'] == found['ticks']
    assert commands['without_tick'] > 0  # the ticks that only the lost exchange told


def test_a_lost_command_is_counted_and_a_changed_one_is_different(world, replayed):
    recorded = world.recorded()
    places = [index for index, entry in enumerate(recorded) if entry[1] == 'policy/cmd_vel']
    lost = recorded[:places[50]] + recorded[places[50] + 1:]
    status, found, _ = replayed(lost)
    assert status == 0
    assert found['commands']['policy/cmd_vel']['without_message'] == 1
    message = recorded[places[60]][2]
    before = message.twist.linear.x
    message.twist.linear.x = float(np.nextafter(before, 2.0))  # one bit
    status, found, printed = replayed(recorded)
    message.twist.linear.x = before
    assert status == 1
    assert found['commands']['policy/cmd_vel']['different'] == 1
    assert 'linear.x is' in printed


def test_namespaces_are_found_and_two_robots_are_told_apart(world, replayed, tmp_path):
    assert replayed(world.recorded(), namespace='/amr_1/')[0] == 0
    folder = tmp_path / 'two'
    folder.mkdir()
    write_bag(folder / 'two_0.mcap', world.recorded(), '/amr_1/')
    write_bag(folder / 'two_1.mcap', world.recorded(), '/fleet/amr_2/')
    assert '--namespace: /amr_1/, /fleet/amr_2/' in refusal(replayed((), bag=folder))
    assert replayed((), '--namespace', 'fleet/amr_2', bag=folder)[0] == 0
    assert 'holds no /amr_3/policy/exchange' in refusal(
        replayed((), '--namespace', 'amr_3', bag=folder))


@pytest.mark.parametrize('left_out', [True, False], ids=['left_out', 'blurred'])
def test_a_case_with_redacted_pictures_is_replayed_from_its_replies(world, replayed, tmp_path,
                                                                    left_out):
    folder = tmp_path / 'case'
    folder.mkdir()
    recorded = []
    for at, topic, message in world.recorded():
        if topic.startswith('camera'):
            if left_out:
                continue
            blurred = type(message)(header=message.header, height=240, width=320, step=960,
                                    encoding='bgr8', data=bytes(240 * 960))
            message = blurred
        recorded.append((at, topic, message))
    write_bag(folder / 'case_0.mcap', recorded)
    (folder / 'manifest.json').write_text(json.dumps({'redaction': {'faces': 'blurred'}}))
    status, found, printed = replayed((), bag=folder)
    assert status == 0
    assert found['observations']['video.front']['redacted'] > 20
    assert found['observations']['state.goal']['different'] == 0
    assert 'is replayed from its recorded replies' in ' '.join(printed.split())


def test_a_running_plan_that_was_sent_along_is_rebuilt(replayed):
    prefix = (TensorSpec('rtc.prefix.base_velocity', 'FP32', (1, -1, 2), optional=True),
              TensorSpec('rtc.prefix_length', 'INT32', (1,), optional=True))
    world = RosWorld()
    world.models[CLOUD] = model(inputs=(*model().inputs, *prefix))
    world.answers[CLOUD] = good(0.5, 0.1, after_ms=70)
    world.go().run(3000)
    status, found, _ = replayed(world.recorded())
    assert status == 0
    for name in ('rtc.prefix.base_velocity', 'rtc.prefix_length'):
        tally = found['observations'][name]
        assert tally['equal'] > 10
        assert tally['different'] == tally['lacking'] == 0


def test_an_arm_is_replayed_from_where_its_joints_were_seen(replayed, monkeypatch):
    """Nothing goes out before the joints were seen, and again after a stop."""
    monkeypatch.setattr(test_pilot, 'AMR', ARM)
    world = ArmWorld().go().run(3000)
    world.safety = 'STOPPED'
    world.run(500)
    world.safety = 'RUNNING'
    world.run(2000)
    recorded = sorted([*world.recorded(), *told(world)], key=lambda entry: entry[0])
    status, found, _ = replayed(recorded, '--embodiment', str(CONFIG / 'so100.yaml'))
    commands = found['commands'][COMMAND]
    assert status == 0
    assert commands['nothing_due'] > 15
    assert commands['equal'] + commands['nothing_due'] == found['ticks'] > len(world.steps) - 20
    assert set(found['observations']) >= {'video.webcam', 'state.single_arm', 'state.gripper',
                                          'annotation.human.task_description'}
    for tally in found['observations'].values():
        assert tally['equal'] > 0
        assert tally['different'] == tally['lacking'] == 0


def test_joints_are_compared_by_name_and_bit():
    robot = embodiment_file.load(CONFIG / 'so100.yaml')
    part = next(part for part in robot.commands if part.interface == JOINTS)
    low = np.array([column.minimum for column in robot.columns])
    high = np.array([column.maximum for column in robot.columns])
    middle = (low + high) / 2
    queue = RecordedQueue(QueueSettings(robot.action_period_ns, 1000 * MS, 150 * MS,
                                        feedback.limits(robot)), 'test')
    settings_of = {'embodiment': robot.name, 'embodiment_sha256': embodiment_sha256(robot),
                   'max_age_ns': 1000 * MS, 'blend_ns': 150 * MS, 'limit_tolerance': 0.05}
    sent = {}

    def step(now_ns):
        queue.stamp_ns = now_ns
        action = queue.step(now_ns).action
        message = messages.command(robot, part, action, messages.stamp_of(now_ns), 33 * MS)
        if message is not None:
            sent[now_ns] = [message]

    step(10 * MS)  # nobody knows where the joints are
    queue.found(middle)
    rows = np.linspace(middle, middle + 0.1 * (high - middle), 16)
    actions = feedback.in_network_units(robot, rows, lambda name: name)
    ticket = queue.issue(20 * MS, 20 * MS)
    queue.adopt(queue.close(ticket.request_id), checked(actions, robot, 16, 0.05), 'triton:x',
                30 * MS)
    for tick in range(40, 400, 20):
        step(tick * MS)
    one = [Told(0, Exchange(
        request_id=ticket.request_id, epoch=0, sequence=1, source='triton:x', model='x',
        version='1', outcome='accepted', detail='', sent_ns=0, received_ns=0, observed_ns=20 * MS,
        executed_ns=ticket.executed_ns, robot=settings_of, record=queue.take(), actions=actions))]
    playback = play_back(one, robot)
    found = compare(robot, playback.ticks, playback.missed, {part.topic: sent})[part.topic]
    assert (found.equal, found.nothing_due, found.different) == (18, 1, 0)
    message = sent[200 * MS][0]
    message.points[0].positions[1] = float(np.nextafter(message.points[0].positions[1], 9.0))
    found = compare(robot, playback.ticks, playback.missed, {part.topic: sent})[part.topic]
    assert (found.equal, found.different) == (17, 1)
    assert f'{robot.columns[part.columns[1]].drives} is ' in found.first
