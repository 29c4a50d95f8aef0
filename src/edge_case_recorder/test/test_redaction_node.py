"""The node with a redactor: refused at configuring, redacted in a case, and after a kill -9."""

import io
import signal

import pytest
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import Image
from test_node import SENSOR, active_recorder, open_case, robot, start_recorder  # noqa: F401
from test_redaction import MARK, on_disk
from test_redaction_disk import unpacked

from edge_case_recorder import manifest
from edge_case_recorder.spool import cases

TOPICS = '-p', "topics:=['camera', 'scan', 'task', 'tf_static']"
REDACTED = '-p', 'redaction:=opencv', '-p', "redaction_options:=['whole=true']"


@pytest.fixture(scope='module')
def camera(robot):  # noqa: F811
    """The robot, with a camera whose pictures carry the marker."""
    publisher = robot.create_publisher(Image, 'camera', SENSOR)
    picture = Image(height=16, width=16, step=48, encoding='rgb8', data=MARK * 16)
    timer = robot.create_timer(0.05, lambda: publisher.publish(picture))
    yield robot
    robot.destroy_timer(timer)


def stored(folder):
    path, = folder.rglob('*.mcap')
    return unpacked(io.BytesIO(path.read_bytes()))


def marked_case(camera, spool, *more):
    """(the data of all its messages, its manifest) of a case that was ended by a person."""
    with active_recorder(camera, spool, *TOPICS, *more, '-p', 'after_s:=30.0') as recorder:
        open_case(camera, spool)
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(15) == 0
    case, = cases(spool)
    return stored(case.folder)[0], manifest.read(case.folder)


def test_a_case_without_redaction_has_the_marker(camera, tmp_path):
    found, told = marked_case(camera, tmp_path / 'spool')
    assert MARK in found
    assert 'redaction' not in told


def test_a_case_with_redaction_has_it_nowhere(camera, tmp_path):
    found, told = marked_case(camera, tmp_path / 'spool', *REDACTED)
    pictures, = (each['messages'] for each in told['topics'] if each['name'] == '/camera')
    assert told['redaction']['messages_changed'] == pictures > 5
    assert told['redaction']['messages_failed'] == 0
    assert MARK not in found + on_disk(tmp_path)


def test_a_killed_node_leaves_it_nowhere(camera, tmp_path):
    with active_recorder(camera, tmp_path / 'spool', *TOPICS, *REDACTED, '-p', 'after_s:=30.0',
                         '-p', 'flush_s:=0.1') as recorder:
        open_case(camera, tmp_path / 'spool')
        recorder.kill()
        recorder.wait()
    found, count = stored(tmp_path / 'spool')
    assert count > 10
    assert b'rgb8' in found   # its pictures are there
    assert MARK not in found + on_disk(tmp_path)


@pytest.mark.parametrize(('options', 'sentence'), [
    (('-p', 'redaction:=nothing_here'),
     "parameter redaction: 'nothing_here' cannot be loaded: ValueError: no entry point of the "
     'group spinal_redaction has this name'),
    (('-p', "redaction_options:=['whole=true']"), 'parameter redaction is empty'),
    (('-p', 'redaction:=opencv', '-p', "redaction_options:=['cascades=/nowhere.xml']"),
     "parameter redaction: 'opencv' cannot be loaded: ValueError: /nowhere.xml: no such cascade "
     'file')], ids=['no_plugin', 'options_only', 'no_file'])
def test_what_cannot_be_loaded_is_refused_at_configuring(camera, tmp_path, options, sentence):
    process = start_recorder(tmp_path / 'spool', *options)
    try:
        assert not camera.transit(Transition.TRANSITION_CONFIGURE)
    finally:
        process.kill()
    errors = process.communicate()[1]
    assert errors.count(sentence) == 1
    assert not (tmp_path / 'spool').exists()
