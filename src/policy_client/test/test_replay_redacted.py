"""A case that edge_case_recorder redacted, replayed from its recorded replies."""

import pytest
from rclpy.serialization import serialize_message
from replay_scene import TYPES

from edge_case_recorder import manifest
from edge_case_recorder.bag import TopicInfo
from edge_case_recorder.definitions import find_definition
from edge_case_recorder.qos import Qos
from edge_case_recorder.recording import SETTLE_NS, Recording
from edge_case_recorder.redaction import Redactor
from edge_case_recorder.redaction.guard import Guard
from edge_case_recorder.redaction.opencv import OpenCvRedactor
from edge_case_recorder.ring import Ring
from edge_case_recorder.spool import Spool
from edge_case_recorder.triggers import Trigger


class LeavesOut(Redactor):
    name, version, hides = 'leaves_out', '1', 'every picture'

    def redact(self, topic, type_name, data):
        return None


def a_case(root, recorded, redactor):
    """The folder of a case with all of it, as the recorder makes it; its manifest."""
    first, last = recorded[0][0], recorded[-1][0]
    ring = Ring(2 * (last - first))
    topics = {}
    for at, name, message in recorded:
        if '/' + name not in topics:
            found = find_definition(TYPES[name])
            topics['/' + name] = TopicInfo('/' + name, TYPES[name], found.type_hash, found.text,
                                           (Qos(),))
            ring.add_topic('/' + name, 1 << 30)
        ring.append('/' + name, at, serialize_message(message))
    trigger = Trigger('operator_mark', 'person', 'operator_mark', ('operator_mark',), last,
                      last - first, 0, 50, {})
    draft = manifest.draft(robot_id='robot_7', robot='amr', trigger=trigger, stamp_ns=last,
                           software={}, models={})
    spool = Spool(root, 0)
    spool.open()
    recording = Recording(trigger, ring.open_window(first), draft, ring, spool, topics, 'zstd',
                          guard=Guard(redactor))
    recording.advance(last + SETTLE_NS)
    told = recording.finish()
    spool.close()
    return root / told['case_id'], told


@pytest.mark.parametrize('redactor', [OpenCvRedactor({'whole': 'true'}), LeavesOut({})],
                         ids=['filled', 'left_out'])
def test_it_says_that_it_is_redacted_and_gives_the_same_commands(world, replayed, tmp_path,
                                                                 redactor):
    folder, told = a_case(tmp_path / 'spool', world.recorded(), redactor)
    redaction = told['redaction']
    assert redaction['messages_changed'] + redaction['messages_left_out'] > 20
    assert redaction['messages_failed'] == 0
    status, found, printed = replayed((), bag=folder)
    assert status == 0
    assert redactor.name in found['redacted']
    assert found['observations']['video.front']['redacted'] > 20
    assert found['observations']['state.goal']['different'] == 0
    assert found['commands']['policy/cmd_vel']['different'] == 0
    assert found['commands']['policy/cmd_vel']['equal'] == found['ticks']
    assert 'is replayed from its recorded replies' in ' '.join(printed.split())
