"""Bags, read by readers that this package did not write: mcap's, and rosbags."""

import hashlib

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import LATCHED, NOON_NS, ODOM, SCAN, SENSOR, TASK, fill, string_cdr
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.definitions import DefinitionError, find_definition
from edge_case_recorder.qos import Qos, distinct, request


def written_bag(folder, compression='zstd', count=3000):
    writer = BagWriter(folder, 'case', compression)
    written = fill(writer, count, size=64)
    summary = writer.close({'cause': 'protective_field'})
    return written, summary


def with_mcap(folder):
    with open(folder / 'case_0.mcap', 'rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        return [(channel.topic, message.log_time, message.data)
                for _, channel, message in reader.iter_messages()], reader.get_summary()


def with_rosbags(folder):
    with Reader(folder) as reader:
        return [(connection.topic, stamp, bytes(data))
                for connection, stamp, data in reader.messages()], list(reader.connections)


@pytest.mark.parametrize('compression', ['zstd', 'lz4', 'none'])
def test_two_readers_find_the_same_bytes_in_the_same_order(tmp_path, compression):
    written, summary = written_bag(tmp_path, compression)
    assert summary.messages == 3000
    mcap_messages, mcap_summary = with_mcap(tmp_path)
    assert mcap_messages == written
    assert mcap_summary.statistics.message_count == 3000
    assert len(mcap_summary.chunk_indexes) >= 1
    rosbags_messages, connections = with_rosbags(tmp_path)
    assert rosbags_messages == written
    assert {c.topic: c.msgcount for c in connections} == {
        '/scan': 1000, '/task': 1000, '/odom': 1000}
    assert {c.topic: c.digest for c in connections} == {
        each.name: each.type_hash for each in (SCAN, TASK, ODOM)}


def test_a_message_can_be_decoded_with_the_definition_in_the_bag_alone(tmp_path):
    written_bag(tmp_path, count=9)
    with Reader(tmp_path) as reader:
        task = next(c for c in reader.connections if c.topic == '/task')
        assert 'string data' in task.msgdef.data
        store = get_typestore(Stores.EMPTY)
        from rosbags.typesys import get_types_from_msg
        store.register(get_types_from_msg(task.msgdef.data, task.msgtype))
        texts = [store.deserialize_cdr(bytes(data[:10]), task.msgtype).data
                 for _, _, data in reader.messages([task])]
    assert texts == ['1', '4', '7']


@pytest.mark.parametrize('type_name', [
    'sensor_msgs/msg/LaserScan', 'nav_msgs/msg/Odometry', 'diagnostic_msgs/msg/DiagnosticArray',
    'trajectory_msgs/msg/MultiDOFJointTrajectory', 'tf2_msgs/msg/TFMessage',
    'sensor_msgs/msg/Image', 'std_msgs/msg/UInt8MultiArray', 'visualization_msgs/msg/MarkerArray'])
def test_definitions_are_whole_and_give_the_true_hash(type_name):
    """rosbags parses the text by itself, and computes the hash from it by REP-2016."""
    from rosbags.typesys import get_types_from_msg
    definition = find_definition(type_name)
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition.text, type_name))
    assert store.hash_rihs01(type_name) == definition.type_hash


def test_a_type_that_is_not_installed_is_said_so():
    with pytest.raises(DefinitionError, match=r'share/acme_msgs/msg/Rocket\.json'):
        find_definition('acme_msgs/msg/Rocket')
    with pytest.raises(DefinitionError, match='not a message type'):
        find_definition('../../etc/passwd')


def test_metadata_has_what_ros2_bag_of_jazzy_requires(tmp_path):
    _, summary = written_bag(tmp_path)
    content = yaml.safe_load((tmp_path / 'metadata.yaml').read_text())
    info = content['rosbag2_bagfile_information']
    assert set(info) == {
        'version', 'storage_identifier', 'duration', 'starting_time', 'message_count',
        'topics_with_message_count', 'compression_format', 'compression_mode',
        'relative_file_paths', 'files', 'custom_data', 'ros_distro'}
    assert info['version'] == 9
    assert info['starting_time']['nanoseconds_since_epoch'] == NOON_NS == summary.start_ns
    assert info['duration']['nanoseconds'] == 2999 * 1_000_000
    assert info['custom_data'] == {'cause': 'protective_field'}
    topics = {each['topic_metadata']['name']: each['topic_metadata']
              for each in info['topics_with_message_count']}
    assert [offer['reliability'] for offer in topics['/odom']['offered_qos_profiles']] == [
        'best_effort', 'reliable']   # one entry a publisher
    task = topics['/task']['offered_qos_profiles'][0]
    assert task['durability'] == 'transient_local'
    assert task['deadline'] == {'sec': 9223372036, 'nsec': 854775807}
    assert isinstance(task['depth'], int)
    assert Qos.from_bag(task) == LATCHED


def test_a_topic_without_a_definition_is_still_a_topic(tmp_path):
    writer = BagWriter(tmp_path, 'case', 'zstd')
    writer.add_topic(TopicInfo('/rocket', 'acme_msgs/msg/Rocket'))
    writer.write('/rocket', 5, 4, b'\x00\x01\x00\x00')
    writer.close({})
    assert with_mcap(tmp_path)[0] == [('/rocket', 5, b'\x00\x01\x00\x00')]
    assert with_rosbags(tmp_path)[0] == [('/rocket', 5, b'\x00\x01\x00\x00')]


def test_an_empty_bag_is_a_bag(tmp_path):
    writer = BagWriter(tmp_path, 'case', 'zstd')
    writer.add_topic(SCAN)
    writer.close({})
    assert with_rosbags(tmp_path)[0] == []


def test_the_same_bag_is_the_same_file(tmp_path):
    digests = set()
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        written_bag(tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name / 'case_0.mcap').read_bytes()).digest())
    assert len(digests) == 1


@given(st.lists(st.tuples(st.sampled_from(['/scan', '/task']), st.integers(0, 10**9),
                          st.binary(max_size=200), st.booleans()), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=40)
def test_any_messages_with_any_flushes_come_back(tmp_path_factory, messages):
    folder = tmp_path_factory.mktemp('bag')
    writer = BagWriter(folder, 'case', 'lz4')
    writer.add_topic(SCAN)
    writer.add_topic(TASK)
    for name, log_ns, data, flush in messages:
        writer.write(name, log_ns, log_ns, data)
        if flush:
            writer.flush()
    writer.close({})
    wanted = sorted(((name, stamp, data) for name, stamp, data, _ in messages),
                    key=lambda item: item[1])
    assert with_mcap(folder)[0] == wanted
    assert with_rosbags(folder)[0] == wanted


def test_what_is_asked_of_publishers_that_differ():
    assert request([Qos(), LATCHED]).reliable
    assert not request([Qos(), LATCHED]).transient_local
    assert request([LATCHED]).transient_local
    assert not request([LATCHED, SENSOR]).reliable
    assert distinct([SENSOR, LATCHED, SENSOR]) == (SENSOR, LATCHED)


def test_string_cdr_is_what_ros_would_send():
    assert get_typestore(Stores.ROS2_JAZZY).deserialize_cdr(
        string_cdr('drive'), 'std_msgs/msg/String').data == 'drive'
