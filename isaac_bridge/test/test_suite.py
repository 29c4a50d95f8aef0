"""The gate: its statistics, its verdict, its signed record, and a whole run of the command."""

import base64
import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from episode_scene import AISLE, AMR, CONFIG, MODEL
from hypothesis import given
from hypothesis import strategies as st

from isaac_bridge.episode.drive import Episode
from isaac_bridge.oracle import Contact
from isaac_bridge.suite import record as records
from isaac_bridge.suite.__main__ import main
from isaac_bridge.suite.junit import junit
from isaac_bridge.suite.plan import SuiteError, read_suite
from isaac_bridge.suite.policies import PolicyName, PolicyNameError
from isaac_bridge.suite.statistics import (
    Paired,
    difference,
    mcnemar,
    paired,
    smallest_effect,
    wilson,
)
from isaac_bridge.suite.verdict import judge

counts = st.integers(0, 60)


# Statistics

def test_wilsons_interval_is_the_published_one():
    """Newcombe, Statistics in Medicine 17, 1998, 857-872, table I, method 3."""
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                                    (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        found = wilson(successes, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_mcnemars_test_is_the_binomial_one():
    assert mcnemar(Paired(50, 9, 1, 3)) == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar(Paired(5, 0, 0, 3)) == 1.0
    assert mcnemar(Paired(5, 4, 4, 3)) == 1.0


@pytest.mark.parametrize('cells', [(0.7, 0.1, 0.1, 0.1), (0.9, 0.05, 0.02, 0.03),
                                   (0.3, 0.4, 0.1, 0.2), (0.5, 0.0, 0.02, 0.48),
                                   (0.95, 0.01, 0.01, 0.03)])
def test_the_interval_of_the_difference_covers_the_truth_as_often_as_it_says(cells):
    random = np.random.default_rng(7)
    truth = cells[1] - cells[2]
    drawn = random.multinomial(120, cells, size=3000)
    covered = [interval.low <= truth <= interval.high
               for interval in (difference(Paired(*row.tolist())) for row in drawn)]
    assert 0.93 <= np.mean(covered) <= 0.995


@given(counts, counts, counts, counts)
def test_intervals_hold_what_they_are_of(both, ours, theirs, neither):
    if not both + ours + theirs + neither:
        return
    pairs = Paired(both, ours, theirs, neither)
    found, mirrored = difference(pairs), difference(Paired(both, theirs, ours, neither))
    assert -1.0 <= found.low <= pairs.difference + 1e-12
    assert pairs.difference - 1e-12 <= found.high <= 1.0
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))


def test_what_a_suite_can_see_is_what_a_simulation_sees():
    effect = smallest_effect(120, 0.2)
    random, seen = np.random.default_rng(3), 0
    cells = (0.6, 0.1 + effect / 2, 0.1 - effect / 2, 0.2)
    for row in random.multinomial(120, cells, size=2000):
        found = difference(Paired(*row.tolist()))
        seen += found.low > 0.0 or found.high < 0.0
    assert seen / 2000 == pytest.approx(0.8, abs=0.08)
    assert smallest_effect(1000, 0.2) < effect < smallest_effect(30, 0.2)
    assert smallest_effect(2, 0.05) == pytest.approx(1.0), 'two pairs show nothing'


def test_episodes_pair_or_are_refused():
    assert paired([True, True, False, False], [True, False, True, False]) == Paired(1, 1, 1, 1)
    with pytest.raises(ValueError, match='are not pairs'):
        paired([True], [True, False])


# The verdict

def episodes(entries, passes, **fields):
    """Episodes of all seeds; passes(name, seed) says which succeed."""
    return {(entry.scenario.name, seed): Episode(
        entry.scenario.name, seed, arrived=True, seconds=30.0, digest='0' * 64,
        broken=[] if passes(entry.scenario.name, seed) else ['for the test'],
        rows=np.zeros((2, 5)), **fields) for entry in entries for seed in entry.seeds}


@pytest.fixture(scope='module')
def suite():
    return read_suite(CONFIG / 'suites/aisle.yaml')


@pytest.fixture(scope='module')
def case(suite):
    entry = suite.entries[0]
    return dataclasses.replace(
        entry, scenario=dataclasses.replace(entry.scenario, name='the_case'), seeds=(0, 1, 2))


def everything(*_):
    return True


def test_the_repositorys_suite_is_large_enough(suite):
    assert suite.episodes >= 100
    assert {entry.scenario.name for entry in suite.entries} == {
        'aisle', 'slow_server', 'no_camera', 'worn'}
    assert suite.entries[1].scenario.faults.policy_outages_s == ((8.0, 12.0),)


def test_as_good_and_better_on_the_case_passes(suite, case):
    entries = (*suite.entries, case)
    verdict = judge(suite, (case,), episodes(entries, everything),
                    episodes(entries, lambda name, seed: name != 'the_case'))
    assert verdict.passed
    assert verdict.reasons == ()
    assert verdict.cases[0].improved


@pytest.mark.parametrize(('ours', 'theirs', 'reason'), [
    (lambda name, seed: seed % 5 and True, lambda name, seed: name != 'the_case',
     'the suite may be worse'),
    (lambda name, seed: name != 'the_case' or seed != 1, lambda name, seed: name != 'the_case',
     'the_case: passes in 2 of 3 seeds only'),
    (everything, everything, 'so it shows no improvement'),
])
def test_what_does_not_pass_says_why(suite, case, ours, theirs, reason):
    entries = (*suite.entries, case)
    verdict = judge(suite, (case,), episodes(entries, ours), episodes(entries, theirs))
    assert not verdict.passed
    assert any(reason in sentence for sentence in verdict.reasons)


def test_nobody_may_be_touched_however_good_the_rest_is(suite):
    found = episodes(suite.entries, everything)
    found['aisle', 3].contacts.append(Contact(5, 0, 0.4, True, True, 1, 2))
    verdict = judge(suite, (), found, episodes(suite.entries, everything))
    assert not verdict.passed
    assert verdict.reasons == ('somebody was touched in motion in 1 episodes',)


def test_a_small_suite_decides_nothing(suite):
    small = dataclasses.replace(suite, entries=(dataclasses.replace(
        suite.entries[0], seeds=tuple(range(99))),))
    verdict = judge(small, (), episodes(small.entries, everything),
                    episodes(small.entries, everything))
    assert '99 episodes are fewer than 100' in verdict.reasons


# The record

def keys():
    key = Ed25519PrivateKey.generate()
    return (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture(scope='module')
def content(suite, case):
    entries = (*suite.entries, case)
    found, bases = (episodes(entries, everything),
                    episodes(entries, lambda name, seed: name != 'the_case'))
    policy = PolicyName.parse(str(MODEL))
    return records.record(suite, (case,), policy, policy, judge(suite, (case,), found, bases),
                          found, bases, run_id='run-1', made='2026-11-24T02:00:00+00:00',
                          software={'isaac_bridge': '0.1.0'})


def test_a_record_is_believed_by_its_signature_alone(content):
    private, public = keys()
    envelope = records.sign(records.to_bytes(content), private, 'gate')
    assert records.verified(envelope, public) == content
    _, other = keys()
    with pytest.raises(records.RecordError, match='not of this key'):
        records.verified(envelope, other)


@pytest.mark.parametrize('change', [
    lambda record: record['verdict'].update(passed=False),
    lambda record: record['candidate'].update(sha256='f' * 64),
    lambda record: record.update(run_id='run-2')])
def test_a_changed_record_is_refused(content, change):
    private, public = keys()
    envelope = json.loads(records.sign(records.to_bytes(content), private, 'gate'))
    other = json.loads(base64.b64decode(envelope['payload']))
    change(other)
    envelope['payload'] = base64.b64encode(records.to_bytes(other)).decode()
    with pytest.raises(records.RecordError, match='or the record was changed'):
        records.verified(json.dumps(envelope).encode(), public)


@pytest.mark.parametrize(('envelope', 'sentence'), [
    (b'', 'the envelope is none'), (b'[]', 'the envelope is none'), (b'{"payload": 3}', 'is none'),
    (b'{' * 100_000, 'the envelope is none'),
    (b'{"payload": "!", "payloadType": "x", "signatures": []}', 'the envelope is none'),
    (b'{"payload": "", "payloadType": "x", "signatures": []}', "holds 'x', not a gate record")])
def test_what_is_no_envelope_is_refused_in_a_sentence(envelope, sentence):
    with pytest.raises(records.RecordError, match=re.escape(sentence)):
        records.verified(envelope, keys()[1])


def test_another_kind_of_key_is_refused():
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8,
                                                      NoEncryption())
    with pytest.raises(records.RecordError, match='not an Ed25519 one'):
        records.sign(b'{}', other, 'gate')
    with pytest.raises(records.RecordError, match='cannot be read'):
        records.sign(b'{}', b'nothing', 'gate')


def test_junit_fails_with_the_verdict_and_not_with_an_episode(suite):
    found = episodes(suite.entries, lambda name, seed: seed > 0)
    bad = judge(suite, (), episodes(suite.entries, lambda name, seed: seed % 2 == 0),
                episodes(suite.entries, everything))
    good = judge(suite, (), found, found)
    assert good.passed
    for verdict, failures in ((good, '0'), (bad, '1')):
        root = ElementTree.fromstring(junit('aisle', verdict, found))
        assert root[0].get('failures') == failures
        assert root[0].get('tests') == str(suite.episodes + 1)
        assert len(root.findall('.//skipped')) == len(suite.entries)


# Files and names

@pytest.mark.parametrize(('changes', 'sentence'), [
    ({'margin': 0}, 'margin: 0 is less than or equal to the minimum'),
    ({'scenarios': [{'file': 'none.yaml', 'seeds': 3}]}, 'No such file'),
    ({'scenarios': [{'file': str(AISLE), 'seeds': 3}] * 2}, 'two of them are named aisle'),
    ({'scenarios': [{'file': str(AISLE), 'seeds': 3, 'faults': {'camera': 'no'}}]},
     'faults.camera'),
    ({'robot': 'none.yaml'}, 'No such file')])
def test_a_suite_that_breaks_a_rule_is_refused(tmp_path, changes, sentence):
    path = tmp_path / 'suite.yaml'
    path.write_text(yaml.safe_dump(a_suite(seeds=2) | changes))
    with pytest.raises(SuiteError, match=re.escape(sentence)):
        read_suite(path)


@pytest.mark.parametrize(('name', 'sentence'), [
    ('gr00t:somewhere', 'must be onnx:FILE or careful:FILE'), ('onnx:/none', 'there is no file')])
def test_a_policy_that_is_none_is_refused(name, sentence):
    with pytest.raises(PolicyNameError, match=sentence):
        PolicyName.parse(name)


def a_suite(seeds):
    return {'schema_version': 1, 'name': 'small', 'robot': str(AMR), 'margin': 0.05,
            'scenarios': [{'file': str(AISLE), 'seeds': seeds}]}


def a_run(tmp_path, processes):
    path, key, out = tmp_path / 'suite.yaml', tmp_path / 'key.pem', tmp_path / f'out{processes}'
    path.write_text(yaml.safe_dump(a_suite(seeds=2)))
    private, public = keys()
    key.write_bytes(private)
    status = main(['--suite', str(path), '--candidate', f'careful:{MODEL}', '--base', str(MODEL),
                   '--key', str(key), '--output', str(out), '--camera', 'off', '--processes',
                   str(processes), '--run-id', 'run-1'])
    return status, records.verified((out / 'gate_record.dsse.json').read_bytes(), public), out


def test_the_command_runs_the_suite_and_its_processes_change_nothing(tmp_path, capsys):
    status, alone, out = a_run(tmp_path, 1)
    assert status == 1
    assert 'not passed: 2 episodes are fewer than 100' in capsys.readouterr().out
    assert json.loads((out / 'gate_record.json').read_text()) == alone
    assert ElementTree.parse(out / 'junit.xml').getroot()[0].get('failures') == '1'
    page = (out / 'report.html').read_text()
    assert 'data:video/webm' in page
    assert '<script' not in page
    _, spread, _ = a_run(tmp_path, 2)
    assert spread['episodes'] == alone['episodes']
    digests = {one['candidate']['digest'] for one in alone['episodes']}
    assert len(digests) == 2


@pytest.mark.parametrize(('option', 'value', 'sentence'), [
    ('--suite', 'none.yaml', 'none.yaml'), ('--candidate', 'none.onnx', 'there is no file'),
    ('--case', 'none.yaml', 'none.yaml'), ('--key', 'none.pem', 'none.pem')])
def test_the_command_says_in_one_sentence_what_is_not_there(tmp_path, capsys, option, value,
                                                             sentence):
    path = tmp_path / 'suite.yaml'
    path.write_text(yaml.safe_dump(a_suite(seeds=1)))
    arguments = {'--suite': str(path), '--candidate': str(MODEL), '--base': str(MODEL),
                 '--output': str(tmp_path / 'out')} | {option: value}
    assert main([part for pair in arguments.items() for part in pair]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count('\n') == 1
    assert not Path(tmp_path / 'out').exists()
