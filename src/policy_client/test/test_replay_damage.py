"""What spoils a replay: tampered, damaged, foreign and hostile bags."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_scene import AMR, CONFIG, changed
from rclpy.serialization import serialize_message
from replay_scene import exchanges_of, refusal, tampered, write_bag
from std_msgs.msg import UInt8MultiArray
from test_pilot import STAMPS

from policy_client.chunks import Snapshot
from policy_client.exchange import encode
from policy_client.journal import Record
from policy_client.replay.comparison import compare
from policy_client.replay.playback import play_back

VELOCITY = 'action.base_velocity'


def test_a_field_that_the_policy_does_not_drive_counts_too(world, replayed):
    recorded = world.recorded()
    message = next(entry for entry in recorded if entry[1] == 'policy/cmd_vel')[2]
    message.twist.linear.y = 0.1
    status, _, printed = replayed(recorded)
    message.twist.linear.y = 0.0
    assert status == 1
    assert 'does not drive' in printed


def test_a_tampered_reply_is_different(world, replayed):
    chosen = [one for one in world.exchanges if one.outcome == 'accepted'][-8]
    changed_one = tampered(chosen, VELOCITY, 2, 0.3)
    recorded = [(at, topic, UInt8MultiArray(data=encode(changed_one)) if topic == 'policy/exchange'
                 and at == chosen.received_ns + STAMPS else message)
                for at, topic, message in world.recorded()]
    status, found, _ = replayed(recorded)
    assert status == 1
    assert found['commands']['policy/cmd_vel']['different'] > 0
    assert found['commands']['policy/cmd_vel']['first'].startswith('policy/cmd_vel at ')
    assert found['problems']  # the state that comes after it is not the recorded one


def test_a_damaged_exchange_is_named(world, replayed):
    recorded = world.recorded()
    places = [index for index, entry in enumerate(recorded) if entry[1] == 'policy/exchange']
    at, topic, message = recorded[places[40]]
    data = bytearray(bytes(message.data))
    data[-20] ^= 1
    recorded[places[40]] = (at, topic, UInt8MultiArray(data=bytes(data)))
    status, found, printed = replayed(recorded)
    assert status == 1
    assert found['unreadable'] == ['the checksum is wrong']
    assert found['commands']['policy/cmd_vel']['different'] == 0
    assert 'cannot be read: the checksum is wrong' in printed


@pytest.mark.parametrize(('document', 'words'), [
    (changed(action__base_velocity__components__0__maximum=0.5), 'is not what'),
    (changed(embodiment='other'), "the bag is of a robot 'amr'"),
])
def test_another_embodiment_is_refused_in_one_sentence(world, replayed, tmp_path, document, words):
    file = tmp_path / 'robot.yaml'
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    sentence = refusal(replayed(world.recorded(), '--embodiment', str(file), '--vocabulary',
                                str(CONFIG / 'vocabulary.txt')))
    assert words in sentence


def test_settings_that_cannot_be_are_refused(world, replayed):
    robot = {**world.exchanges[0].robot, 'blend_ns': 'long'}
    recorded = [(0, 'policy/exchange', UInt8MultiArray(data=encode(
        replace(world.exchanges[0], robot=robot))))]
    assert 'does not say what its queue was set to' in refusal(replayed(recorded))


def test_what_is_no_bag_is_refused_in_one_sentence(world, replayed, tmp_path):
    assert 'there is no' in refusal(replayed((), bag=tmp_path / 'none'))
    (tmp_path / 'empty').mkdir()
    assert 'holds no .mcap file' in refusal(replayed((), bag=tmp_path / 'empty'))
    (tmp_path / 'sealed').mkdir()
    (tmp_path / 'sealed' / 'case_0.mcap.sealed').write_bytes(b'SPSEAL')
    assert 'is sealed; unseal it with' in refusal(replayed((), bag=tmp_path / 'sealed'))
    whole = write_bag(tmp_path / 'whole.mcap', world.recorded()).read_bytes()
    broken = tmp_path / 'broken.mcap'
    for data in (b'', b'no bag', whole[:-100], whole[:5000], whole[:len(whole) // 2] + bytes(64)
                 + whole[len(whole) // 2 + 64:]):
        broken.write_bytes(data)
        assert 'broken.mcap: is not a' in refusal(replayed((), bag=broken))
    assert 'holds no policy/exchange' in refusal(replayed(
        [entry for entry in world.recorded() if entry[1] != 'policy/exchange']))


@pytest.mark.parametrize('length', [0, 3, 11, 40])
@pytest.mark.parametrize('topic', ['policy/exchange', 'policy/cmd_vel', 'odom'])
def test_messages_that_are_cut_off_spoil_only_themselves(world, replayed, topic, length):
    recorded = world.recorded()
    places = [index for index, entry in enumerate(recorded) if entry[1] == topic]
    for place in places[20:]:
        at, _, message = recorded[place]
        recorded[place] = (at, topic, serialize_message(message)[:length])
    status, found, _ = replayed(recorded)
    commands, odom = found['commands']['policy/cmd_vel'], found['observations']['state.velocity']
    has_stamp = length >= 12
    assert commands['equal'] >= 20
    match topic:
        case 'policy/exchange':
            assert status == 1
            assert len(found['unreadable']) == 20  # the first so many are named
        case 'policy/cmd_vel':
            assert status == has_stamp
            assert commands['different' if has_stamp else 'without_message'] > 100
            assert commands['first'].endswith('is damaged') == has_stamp
        case 'odom':
            assert status == 0
            assert odom['lacking'] > 20
            assert ('is damaged' in odom['first']) == has_stamp


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_journal_does_more_than_not_fit(world, data):
    """Numbers that pass the checksum and are nonsense all the same."""
    some = exchanges_of(world)[:12]
    index = data.draw(st.integers(0, 11))
    record = some[index].exchange.record
    number = st.one_of(st.integers(-2**63, 2**63 - 1), st.integers(-3, 6))
    entries, counts, moments = record.entries.copy(), record.snapshot.counts.copy(), (
        record.snapshot.moments.copy())
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(['entries', 'counts', 'moments']))
        if kind == 'entries' and len(entries):
            entries[data.draw(st.integers(0, len(entries) - 1)), data.draw(
                st.integers(0, 3))] = data.draw(number)
        elif kind == 'counts':
            counts[data.draw(st.integers(0, 10))] = data.draw(number)
        else:
            moments[data.draw(st.integers(0, 6)), 0] = data.draw(st.floats())
    some[index] = replace(some[index], exchange=replace(some[index].exchange, record=Record(
        Snapshot(counts, moments), entries, record.positions)))
    playback = play_back(some, AMR)
    compare(AMR, playback.ticks, playback.missed, {})


def test_without_commands_nothing_can_be_compared(world, replayed):
    status, found, printed = replayed(
        [entry for entry in world.recorded() if entry[1] != 'policy/cmd_vel'])
    assert status == 2
    assert found['ticks'] > 100
    assert 'no recorded command' in printed


def test_pictures_that_differ_without_a_word_are_different(world, replayed):
    recorded = [(at, topic, type(message)(
        header=message.header, height=240, width=320, step=960, encoding='bgr8',
        data=bytes(240 * 960)) if topic.startswith('camera') else message)
        for at, topic, message in world.recorded()]
    status, found, _ = replayed(recorded)
    assert status == 1
    assert found['observations']['video.front']['different'] > 20
    assert found['commands']['policy/cmd_vel']['different'] == 0
