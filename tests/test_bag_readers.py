"""Cases of the recorder through readers that nobody here wrote: rosbags, mcap, npm's, and rosbag2.

Each must see the same bytes in the same order at the same times, the counts, types, hashes,
definitions and offers, and they are compared with what went into the ring.
`./dev test -s tests/test_bag_readers.py` prints the table.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import yaml
from bag_readers import readers, recorded
from bag_readers.readers import SHOWN_BYTES, Message, sha256
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / 'tests' / 'bag_readers'
CASES = ('zstd', 'lz4', 'none', 'big', 'recovered')
BIG_BYTES = 1920 * 1080 * 3
by_mcap, by_rosbags, by_npm = (cache(each) for each in (
    readers.by_mcap, readers.by_rosbags, readers.by_npm))   # a bag is read once by each
COMPRESSION = {'zstd': 'zstd', 'lz4': 'lz4', 'none': '', 'big': 'lz4', 'recovered': 'zstd'}


def recovered_case(root):
    t0_ns = time.monotonic_ns()
    done = subprocess.run([sys.executable, recorded.__file__, str(root), str(t0_ns), '7'],
                          env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    spool = recorded.Spool(root, 0)
    spool.open()
    [content] = spool.recover()
    spool.close()
    sent = recorded.feed(recorded.Ring(60_000 * recorded.MS), t0_ns, 7, 20_000)
    return root / content['case_id'], recorded.wanted(sent, t0_ns)


@pytest.fixture(scope='module')
def case(tmp_path_factory):
    @cache
    def made(name):
        root = tmp_path_factory.mktemp(name)
        if name == 'recovered':
            return recovered_case(root)
        return recorded.record(root, time.monotonic_ns(),
                               {'zstd': 'zstd', 'none': 'none'}.get(name, 'lz4'),
                               BIG_BYTES if name == 'big' else 20_000)
    return made


@pytest.fixture(scope='module')
def node_folder():
    """The folder that ./dev test made; a clone without node or its packages has one reader less."""
    folder = Path(os.environ.get('SPINAL_NODE_ENV', ROOT / '.spinal' / 'env' / 'node'))
    if shutil.which('node') is None or not (folder / 'spinal-stamp').exists():
        reason = 'the readers from npm are not installed (./dev doctor says what is missing)'
        (pytest.fail if os.environ.get('CI') else pytest.skip)(reason)
    return folder


def compare(seen, folder, sent, knows_publish=True):
    """A reader's view against what went into the ring."""
    assert seen.messages == [
        Message(each.topic, each.log_ns, each.publish_ns if knows_publish else None,
                len(each.data), sha256(each.data)) for each in sent]
    assert seen.more['messages'] == len(sent)
    is_recovered = yaml.safe_load((folder / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']['custom_data'].get('recovered') == 'true'
    counts = {name: sum(each.topic == name for each in sent) for name in recorded.TOPICS}
    if is_recovered:   # a silent topic is added at the end, which never came
        counts.pop('/goal_pose')
    assert {name: channel.messages for name, channel in seen.channels.items()} == counts
    for name, channel in seen.channels.items():
        topic = recorded.TOPICS[name]
        assert channel.type == topic.type
        assert channel.type_hash == topic.type_hash
        assert channel.definition_sha256 == sha256(topic.definition.encode())
        assert channel.offers == [offer.to_bag() for offer in topic.qos], name


def has_definition(message):
    return bool(recorded.TOPICS[message.topic].definition)


@pytest.mark.parametrize('name', CASES)
def test_mcap(case, name):
    folder, sent = case(name)
    seen = by_mcap(folder)
    compare(seen, folder, sent)
    assert seen.more['profile'] == 'ros2'
    assert seen.more['compressions'] == {COMPRESSION[name]}


@pytest.mark.parametrize('name', CASES)
def test_rosbags(case, name):
    folder, sent = case(name)
    seen = by_rosbags(folder)
    compare(seen, folder, sent, knows_publish=False)
    assert seen.more['hashes'] == {name: channel.type_hash for name, channel
                                   in seen.channels.items() if channel.type_hash}
    # Decoded by the bag's own definitions and encoded again: the same bytes.
    assert seen.encoded == [sha256(each.data) if has_definition(each) else None for each in sent]
    # rosbags gives the end of the last message as one behind its stamp.
    assert seen.more['start_ns'] == sent[0].log_ns
    assert seen.more['end_ns'] == sent[-1].log_ns + 1


@pytest.mark.parametrize('name', CASES)
def test_npm(case, node_folder, name):
    folder, sent = case(name)
    seen = by_npm(folder, node_folder)
    compare(seen, folder, sent)
    # npm's encoder counts UTF-16 units for a string's length, so text beyond ASCII comes back
    # with another length; these topics have such text, and are compared decoded.
    again = [number for number, each in enumerate(sent)
             if has_definition(each) and each.topic not in ('/task', '/joint_states')]
    assert [seen.encoded[number] for number in again] == [
        sha256(sent[number].data) for number in again]
    # Two decoders that share no code agree on every field of every message up to 4 KiB.
    theirs = by_rosbags(folder).decoded
    shown = [number for number, each in enumerate(sent)
             if has_definition(each) and len(each.data) <= SHOWN_BYTES]
    assert len(shown) > 100
    assert [seen.decoded[number] for number in shown] == [theirs[number] for number in shown]


@pytest.mark.parametrize('name', CASES)
def test_what_foxglove_looks_for(case, node_folder, name):
    """It decodes ROS 2 by `cdr` and `ros2msg`, and takes a channel without a schema as unknown."""
    folder, _ = case(name)
    more = by_npm(folder, node_folder).more
    assert more['profile'] == 'ros2'
    assert 'edge_case_recorder' in more['library']
    for topic, encodings in more['encodings'].items():
        assert encodings == ('cdr', 'ros2msg' if recorded.TOPICS[topic].definition else ''), topic


def test_what_is_sent_has_every_kind(case):
    """The comparison means something only if all kinds are there."""
    sent = case('zstd')[1]
    kinds = {each.topic for each in sent}
    assert kinds == set(recorded.TOPICS) - {'/goal_pose'}
    front = [each for each in sent if each.publish_ns < each.log_ns]
    assert [each.topic for each in front] == ['/task', '/tf_static', '/task']
    assert sum(len(each.data) > BIG_BYTES for each in case('big')[1]) > 2
    assert len(recorded.TOPICS['/joint_states'].qos) == 2
    assert by_mcap(case('big')[0]).more['chunks'] > 2


@pytest.mark.parametrize('name', CASES)
def test_metadata_is_what_rosbag2_parses(case, name):
    folder, sent = case(name)
    content = yaml.safe_load((folder / 'metadata.yaml').read_text())
    schema = json.loads((HERE / 'metadata.schema.json').read_text())
    Draft202012Validator.check_schema(schema)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(content)] == []
    info = content['rosbag2_bagfile_information']
    [file] = info['files']
    assert (folder / file['path']).is_file()
    assert info['relative_file_paths'] == [file['path']]
    assert file['starting_time'] == info['starting_time'] == {
        'nanoseconds_since_epoch': sent[0].log_ns}
    assert file['duration'] == info['duration'] == {
        'nanoseconds': sent[-1].log_ns - sent[0].log_ns}
    assert file['message_count'] == info['message_count'] == len(sent) == sum(
        each['message_count'] for each in info['topics_with_message_count'])


@pytest.mark.parametrize('name', CASES)
def test_another_yaml_reader_finds_the_same_metadata(case, node_folder, name):
    """YAML 1.1 and 1.2 differ on `no`, `0o17`, `1:20`; rosbag2's yaml-cpp follows 1.2."""
    folder, _ = case(name)
    ours = yaml.safe_load((folder / 'metadata.yaml').read_text())
    assert by_npm(folder, node_folder).more['metadata'] == whole_numbers_as_text(ours)


def whole_numbers_as_text(value):
    if isinstance(value, dict):
        return {key: whole_numbers_as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [whole_numbers_as_text(each) for each in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@cache
def ros2_with_bag():
    """A system's `ros2` that has `bag`, with its environment; None without one."""
    for command in (*sorted(Path('/opt/ros').glob('*/bin/ros2')), shutil.which('ros2')):
        if command is None:
            continue
        setup = Path(command).parents[1] / 'setup.bash'
        line = f'source "{setup}" >/dev/null 2>&1; exec "{command}" "$@"'
        call = ('bash', '-c', line, 'ros2')
        if subprocess.run([*call, 'bag', 'play', '--help'], capture_output=True, timeout=60,
                          check=False).returncode == 0:
            return call
    return None


needs_rosbag2 = pytest.mark.skipif(
    ros2_with_bag() is None, reason='no ros2 with the verb `bag` here (it comes with a system ROS)')


@needs_rosbag2
@pytest.mark.parametrize('name', CASES)
def test_ros2_bag_info(case, name):
    folder, sent = case(name)
    done = subprocess.run([*ros2_with_bag(), 'bag', 'info', str(folder)], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f'Messages:          {len(sent)}' in done.stdout
    for topic in {each.topic for each in sent}:
        count = sum(each.topic == topic for each in sent)
        assert f'Topic: {topic} | Type: {recorded.TOPICS[topic].type} | Count: {count}' \
            in done.stdout


@needs_rosbag2
@pytest.mark.parametrize('name', ['zstd', 'recovered'])
def test_ros2_bag_play(case, name):
    """Until the bag's end; a type that nobody has must not stop the others."""
    folder, _ = case(name)
    topics = [topic for topic in recorded.TOPICS if topic != '/rocket']
    done = subprocess.run(
        [*ros2_with_bag(), 'bag', 'play', str(folder), '--disable-keyboard-controls', '--topics',
         *topics], env=os.environ | {'ROS_DOMAIN_ID': '115'}, capture_output=True, text=True,
        timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table(case, node_folder):
    """`-s` shows it: what each reader found in each case."""
    print(f'\n{"case":11}{"messages":>9}{"MB":>8}{"topics":>8}{"mcap":>7}{"rosbags":>9}{"npm":>7}')
    for name in CASES:
        folder, sent = case(name)
        equal = [[each.sha256 for each in seen.messages] == [sha256(each.data) for each in sent]
                 for seen in (by_mcap(folder), by_rosbags(folder), by_npm(folder, node_folder))]
        size = sum(len(each.data) for each in sent) / 1e6
        topics = len({each.topic for each in sent})
        marks = ''.join(f'{"equal" if each else "NOT":>{width}}'
                        for each, width in zip(equal, (7, 9, 7), strict=True))
        print(f'{name:11}{len(sent):9}{size:8.1f}{topics:8}{marks}')
        assert all(equal)
