"""Rules tried on bags, and held against marks."""

import datetime
import json
import struct
from random import Random

import pytest
from making import LATCHED, NOON_NS, SENSOR, S, a_case, an_open_spool, string_cdr, topic
from rosbags.typesys import Stores, get_typestore

from edge_case_recorder import chunks, manifest
from edge_case_recorder.bag import BagWriter
from edge_case_recorder.bag_messages import Bag, BagError, bags_under
from edge_case_recorder.marks import (
    Mark,
    MarksError,
    Score,
    marks_of_cases,
    read_marks,
    score,
    within,
)
from edge_case_recorder.rules import default_rules, parse_rules
from edge_case_recorder.trigger_replay import main, replay

STORE = get_typestore(Stores.ROS2_JAZZY)
STATUS = 'diagnostic_msgs/msg/DiagnosticArray'
RANGE = 'sensor_msgs/msg/Range'
MS = 1_000_000


def near(metres):
    """A sensor_msgs/Range, serialized by rosbags."""
    header = STORE.types['std_msgs/msg/Header'](
        stamp=STORE.types['builtin_interfaces/msg/Time'](sec=0, nanosec=0), frame_id='nose')
    return bytes(STORE.serialize_cdr(STORE.types[RANGE](
        header=header, radiation_type=0, field_of_view=0.1, min_range=0.0, max_range=9.0,
        range=metres, variance=0.0), RANGE))


def stood(state, reasons=''):
    types = STORE.types
    header = types['std_msgs/msg/Header'](
        stamp=types['builtin_interfaces/msg/Time'](sec=0, nanosec=0), frame_id='')
    pair = types['diagnostic_msgs/msg/KeyValue']
    status = types['diagnostic_msgs/msg/DiagnosticStatus'](
        level=0, name='safety_reflex', message='', hardware_id='',
        values=[pair(key='state', value=state), pair(key='reasons', value=reasons)])
    return bytes(STORE.serialize_cdr(types[STATUS](header=header, status=[status]), STATUS))


def a_bag(folder, distances, states=(), start_ns=NOON_NS, namespace=''):
    """Distances ten times a second; states as (seconds, state, reasons)."""
    writer = BagWriter(folder, 'bag', 'zstd')
    names = f'{namespace}/nose', f'{namespace}/safety/state'
    writer.add_topic(topic(names[0], RANGE, SENSOR))
    writer.add_topic(topic(names[1], STATUS, LATCHED))
    events = [(start_ns + n * S // 10, names[0], near(metres))
              for n, metres in enumerate(distances)]
    events += [(start_ns + int(at * S), names[1], stood(state, reasons))
               for at, state, reasons in states]
    for at_ns, name, data in sorted(events):
        writer.write(name, at_ns, at_ns, data)
    writer.close({})
    return folder


def rules_of(text):
    return parse_rules(f'schema_version: 1\ntypes: {{nose: {RANGE}}}\ntriggers:\n{text}',
                       default_rules(5.0, 2.0), 'rules')


NEAR = '  near: {when: nose.range < 0.5, min_interval_s: 0}\n'


def folder(tmp_path, name='bag'):
    (tmp_path / name).mkdir()
    return tmp_path / name


def seconds(found):
    return [(round((each.now_ns - found.start_ns) / S, 3), each.cause) for each in found.firings]


def test_rules_fire_in_a_bag_as_they_would_have_on_the_robot(tmp_path):
    bag = a_bag(folder(tmp_path), [2, 2, 0.4, 0.3, 2, 0.4], [
        (0.05, 'RUNNING', ''), (0.25, 'STOPPED', 'protective_field')])
    found = replay(bag, rules_of(NEAR))
    assert seconds(found) == [(0.2, 'near'), (0.25, 'protective_field'), (0.5, 'near')]
    assert found.messages == 8
    assert found.unseen == ('policy/status',)
    assert found.broken == found.undecodable == {}


def test_time_passes_between_the_messages_of_a_bag(tmp_path):
    bag = a_bag(folder(tmp_path), [2], [(0.0, 'RUNNING', ''), (5.0, 'RUNNING', '')])
    rules = rules_of('  silent: {when: age(nose) > 1 s}\n'
                     '  held: {when: "for(nose.range > 1, 3 s)"}')
    assert seconds(replay(bag, rules)) == [(1.1, 'silent'), (3.0, 'held')]


def test_a_stamp_a_century_off_takes_no_century(tmp_path):
    bag = a_bag(folder(tmp_path), [2], [(3e9, 'RUNNING', '')])
    found = replay(bag, rules_of('  silent: {when: age(nose) > 1 s}'))
    assert [each.cause for each in found.firings] == ['silent']


def test_topics_are_found_under_their_namespace(tmp_path):
    bag = a_bag(folder(tmp_path), [2, 0.4], namespace='/r1')
    assert seconds(replay(bag, rules_of(NEAR))) == []
    assert seconds(replay(bag, rules_of(NEAR), '/r1')) == [(0.1, 'near')]
    absolute = parse_rules('schema_version: 1\ntriggers:\n  near: {when: /r1/nose.range < 0.5}',
                           default_rules(5.0, 2.0), 'rules')
    assert seconds(replay(bag, absolute)) == [(0.1, 'near')]


def test_a_campaign_that_is_over_does_not_fire_unless_it_is_asked_to(tmp_path):
    bag = a_bag(folder(tmp_path), [2, 0.4])
    over = rules_of('  near: {when: nose.range < 0.5, campaign: {name: w, '
                    'expires: 2026-11-23T12:00:00Z}}')
    assert seconds(replay(bag, over)) == []
    assert seconds(replay(bag, over, forever=True)) == [(0.1, 'near')]


def test_a_rule_that_does_not_fit_the_bag_says_so(tmp_path):
    bag = a_bag(folder(tmp_path), [2, 0.4])
    rules = parse_rules('schema_version: 1\ntriggers:\n  near: {when: nose.rnge < 0.5}',
                        default_rules(5.0, 2.0), 'rules')
    found = replay(bag, rules)
    assert found.firings == []
    assert "has no field 'rnge'" in found.broken['near']


def test_messages_that_are_none_are_counted_and_the_rest_is_read(tmp_path):
    writer = BagWriter(folder(tmp_path), 'bag', 'none')
    writer.add_topic(topic('/nose', RANGE, SENSOR))
    for number, data in enumerate([near(2.0), b'', b'\0\1\0\0\xff', string_cdr('x'), near(0.4)]):
        writer.write('/nose', NOON_NS + number, NOON_NS, data)
    writer.close({})
    found = replay(tmp_path / 'bag', rules_of(NEAR))
    assert len(found.firings) == 1
    assert found.undecodable == {'/nose': 3}


def test_a_bag_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    bag = a_bag(folder(tmp_path), [2.0] * 2000)
    size = (bag / 'bag_0.mcap').stat().st_size
    monkeypatch.setattr(chunks, 'MAX_CHUNK_BYTES', size)  # a bomb is small on the disk
    with pytest.raises(BagError, match='it has a chunk of more than'):
        replay(bag, rules_of(NEAR))


@pytest.mark.parametrize('seed', range(20))
def test_a_damaged_bag_is_read_or_refused(tmp_path, seed):
    bag = a_bag(folder(tmp_path), [2, 0.4] * 50)
    random, path = Random(seed), bag / 'bag_0.mcap'
    data = bytearray(path.read_bytes())
    for _ in range(3):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data[:random.choice([len(data), random.randrange(len(data))])])
    refused = ''
    try:
        found = replay(bag, rules_of(NEAR))
        assert found.messages <= 100
    except BagError as error:
        refused = str(error)
    assert not refused or 'is not a finished MCAP file' in refused


def test_many_files_of_one_bag_are_one_story(tmp_path):
    a_bag(folder(tmp_path, 'late'), [0.4, 2], start_ns=NOON_NS + S)
    bag = a_bag(folder(tmp_path), [2, 2])
    (tmp_path / 'late' / 'bag_0.mcap').rename(bag / 'bag_1.mcap')
    assert seconds(replay(bag, rules_of(NEAR))) == [(1.0, 'near')]
    assert bags_under(bag / 'bag_1.mcap') == [bag / 'bag_1.mcap']
    times = [heard.log_ns for heard in Bag(bag).messages(())]
    assert times == sorted(times)
    assert len(times) == 4


def test_a_spool_is_a_folder_of_bags(tmp_path):
    spool = an_open_spool(tmp_path / 'spool')
    cases = sorted(a_case(spool, cause, NOON_NS + n * S)
                   for n, cause in enumerate(['estop', 'protective_field']))
    spool.close()
    assert bags_under(spool.root) == cases
    with pytest.raises(BagError, match='no such'):
        bags_under(tmp_path / 'none')
    with pytest.raises(BagError, match=r'holds no \.mcap'):
        bags_under(folder(tmp_path, 'empty'))


def test_marks_of_operators_are_in_the_manifests(tmp_path):
    bag = a_bag(folder(tmp_path), [2])
    assert marks_of_cases([bag]) == []
    spool = an_open_spool(tmp_path / 'spool')
    case = a_case(spool)
    spool.close()
    assert marks_of_cases([case]) == []   # of the reflex
    content = manifest.read(case)
    content['trigger']['rule'] = 'operator_mark'
    manifest.write(case, content)
    assert marks_of_cases([bag, case]) == [Mark(NOON_NS, NOON_NS)]


def test_precision_and_recall():
    marks = [Mark(10, 10), Mark(20, 25), Mark(100, 100), Mark(11, 11, 'other')]
    assert score('near', [9, 12, 26, 50], marks, 2) == Score(4, 3, 3, 2)
    assert score('near', [9, 12, 26, 50], marks, 2).precision == 0.75
    assert score('near', [9, 12, 26, 50], marks, 2).recall == pytest.approx(2 / 3)
    assert score('other', [12], marks, 2) == Score(1, 1, 4, 2)
    assert Score(3, 0, 0, 0).precision is None
    assert Score(0, 0, 3, 0).recall == 0.0
    assert Score(0, 0, 3, 0).precision is None
    assert within(marks, 24, 99) == [Mark(20, 25)]


def test_marks_in_a_file(tmp_path):
    path = tmp_path / 'marks.yaml'
    path.write_text('schema_version: 1\nmarks:\n- {at: 2026-11-23T12:00:00.25Z}\n'
                    '- {from: 2026-11-23T12:00:00Z, to: 2026-11-23T12:01:00Z, rule: near}\n')
    assert read_marks(path) == [Mark(NOON_NS + S // 4, NOON_NS + S // 4),
                                Mark(NOON_NS, NOON_NS + 60 * S, 'near')]


@pytest.mark.parametrize(('text', 'told'), [
    ('schema_version: 1', 'marks'), ('[', 'not YAML'),
    ('schema_version: 1\nmarks: [{at: 12:00}]', r'marks\[0\]'),
    ('schema_version: 1\nmarks: [{at: 2026-13-23T12:00:00Z}]', 'no date'),
    ('schema_version: 1\nmarks: [{from: 2026-11-23T12:00:00Z}]', r'marks\[0\]'),
    ('schema_version: 1\nmarks: [{from: 2026-11-23T12:00:01Z, to: 2026-11-23T12:00:00Z}]',
     'ends before'),
    ('schema_version: 1\nmarks: [{}]', r'marks\[0\]')])
def test_wrong_marks_are_one_sentence(tmp_path, text, told):
    (tmp_path / 'marks.yaml').write_text(text)
    with pytest.raises(MarksError, match=told):
        read_marks(tmp_path / 'marks.yaml')
    with pytest.raises(MarksError, match='No such file'):
        read_marks(tmp_path / 'none.yaml')


def utc(seconds):
    moment = datetime.datetime.fromtimestamp(NOON_NS // S, datetime.UTC)
    return f'{moment + datetime.timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}'


@pytest.fixture
def files(tmp_path):
    """Rules and marks beside a bag that is near at 1, 3 and 9 s, marked at 3, 4 and 20 s."""
    distances = [0.4 if n in (10, 30, 90) else 2.0 for n in range(200)]
    bag = a_bag(folder(tmp_path), distances)
    (tmp_path / 'rules.yaml').write_text(
        f'schema_version: 1\ntypes: {{nose: {RANGE}}}\ntriggers:\n{NEAR}')
    (tmp_path / 'marks.yaml').write_text('schema_version: 1\nmarks:\n' + ''.join(
        f'- {{at: {utc(at)}}}\n' for at in (3, 4, 20)))
    return bag, tmp_path / 'rules.yaml', tmp_path / 'marks.yaml'


def test_the_command_prints_what_fired_and_how_well(files, capsys, monkeypatch):
    bag, rules, marks = files
    monkeypatch.setenv('COLUMNS', '120')
    assert main(['--triggers', str(rules), '--marks', str(marks), '--tolerance', '1.5',
                 str(bag)]) == 0
    lines = [' '.join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert '1 12:00:01.000 1.00 near near nose.range=0.400000006' in lines
    assert 'near 3 0 3 33% 67%' in lines
    assert 'safety_stop 0 0 3 - 0%' in lines
    assert '200 messages, 20 s in 1 bags; 3 marks' in lines
    assert 'policy/status is in no bag: rules that need it cannot have fired' in lines


def test_the_command_prints_json(files, capsys):
    bag, rules, marks = files
    assert main(['--triggers', str(rules), '--marks', str(marks), '--tolerance', '1.5', '--json',
                 str(bag)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(each['stamp_ns'] - NOON_NS) // MS for each in shown['firings']] == [1000, 3000, 9000]
    assert shown['rules']['near'] == {
        'fired': 3, 'marks': 3, 'precision': pytest.approx(1 / 3), 'recall': pytest.approx(2 / 3)}


@pytest.mark.parametrize(('more', 'status'), [
    (['--min-recall', '0.6'], 1),          # the built-in rules found none of the marks
    (['--min-precision', '0.3'], 0), (['--min-precision', '0.4'], 1), (['--forever'], 0)])
def test_the_exit_status_says_whether_the_rules_are_good_enough(files, more, status):
    bag, rules, marks = files
    assert main(['--triggers', str(rules), '--marks', str(marks), '--tolerance', '1.5', *more,
                 str(bag)]) == status


def test_the_exit_status_says_what_is_wrong(files, tmp_path, capsys):
    bag, rules, marks = files
    wrong = tmp_path / 'wrong.yaml'
    wrong.write_text('schema_version: 1\ntriggers: {near: {when: nose.range <}}')
    assert main(['--triggers', str(wrong), str(bag)]) == 2
    assert 'wrong.yaml:2: near: when, line 1, column 13' in capsys.readouterr().err
    marks.write_text('schema_version: 1\nmarks: [{at: 2026-11-23T12:00:00Z, rule: far}]')
    assert main(['--triggers', str(rules), '--marks', str(marks), str(bag)]) == 2
    assert "there is no rule 'far'" in capsys.readouterr().err
    assert main(['--triggers', str(rules), str(tmp_path / 'none')]) == 1
    (tmp_path / 'broken.mcap').write_bytes(struct.pack('<QQ', 1, 2))
    assert main(['--triggers', str(rules), str(bag), str(tmp_path / 'broken.mcap')]) == 1
    assert 'not a finished MCAP file' in capsys.readouterr().err
    wrong.write_text('schema_version: 1\ntriggers: {near: {when: nose.rnge < 1}}')
    assert main(['--triggers', str(wrong), str(bag)]) == 1
    assert 'near did not run' in capsys.readouterr().err
