"""Parameters, rules, patterns: what is declared, documented and refused."""

from pathlib import Path

import pytest
import yaml

from edge_case_recorder import graph
from edge_case_recorder.health import ERROR, OK, WARN, health
from edge_case_recorder.parameters import RecorderParameters, budgets, versions
from edge_case_recorder.rules import RulesError, apply, default_rules, read_rules
from edge_case_recorder.triggers import RULES
from edge_case_recorder.worker import WorkerStatus
from node_kit import ParameterError, build, document

CONFIG = Path(__file__).parents[3] / 'config' / 'recorder'
README = Path(__file__).parents[1] / 'README.md'


def test_every_key_under_config_is_declared():
    content = yaml.safe_load((CONFIG / 'amr.yaml').read_text())
    given = content['edge_case_recorder']['ros__parameters']
    parameters = build(RecorderParameters, given)
    assert budgets(parameters).patterns[0] == ('camera/*/image_raw', 64_000_000)
    assert {path.name for path in CONFIG.iterdir()} == {'amr.yaml', 'triggers.yaml'}


def test_the_rules_under_config_are_the_defaults_that_they_claim_to_be():
    rules = read_rules(CONFIG / 'triggers.yaml', 5.0, 2.0)
    assert rules == default_rules(5.0, 2.0)
    assert set(rules) == set(RULES)


def test_every_parameter_is_documented():
    assert document(RecorderParameters) in README.read_text()


def test_a_rule_changes_what_it_names():
    rules = apply({'schema_version': 1, 'triggers': {'safety_stop': {
        'before_s': 10, 'after_s': 4.5, 'enabled': False}}}, default_rules(5.0, 2.0), 'test')
    assert rules['safety_stop'].before_ns == 10_000_000_000
    assert rules['safety_stop'].after_ns == 4_500_000_000
    assert not rules['safety_stop'].enabled
    assert rules['safety_latch'].before_ns == 5_000_000_000


@pytest.mark.parametrize(('text', 'told'), [
    ('schema_version: 1\ntriggers: {saftey_stop: {}}', 'saftey_stop'),
    ('schema_version: 1\ntriggers: {safety_stop: {before_s: -1}}', 'before_s'),
    ('schema_version: 2\ntriggers: {}', 'schema_version'),
    ('[', 'not YAML'),
    ('', 'document'),
])
def test_a_wrong_rules_file_is_one_sentence(tmp_path, text, told):
    (tmp_path / 'triggers.yaml').write_text(text)
    with pytest.raises(RulesError, match=told):
        read_rules(tmp_path / 'triggers.yaml', 5.0, 2.0)
    with pytest.raises(RulesError, match='No such file'):
        read_rules(tmp_path / 'none.yaml', 5.0, 2.0)


@pytest.mark.parametrize('entry', ['scan', 'scan=', '=4', 'scan=much', 'scan=0', 'scan=nan'])
def test_a_wrong_budget_names_its_entry(entry):
    with pytest.raises(ParameterError, match='budgets'):
        budgets(build(RecorderParameters, {'budgets': (entry,)}))


def test_versions_are_pairs():
    assert versions(build(RecorderParameters, {'versions': ('spinal=1.2=rc',)})) == {
        'spinal': '1.2=rc'}
    with pytest.raises(ParameterError, match='versions'):
        versions(build(RecorderParameters, {'versions': ('spinal',)}))


def test_patterns_match_within_one_level():
    names = ['/r1/camera/front/image_raw', '/r1/camera/front/left/image_raw', '/r1/scan',
             '/r1/scan_rear', '/scan']
    pattern = graph.absolute('camera/*/image_raw', '/r1')
    assert graph.chosen([pattern], names) == ['/r1/camera/front/image_raw']
    assert graph.chosen([graph.absolute('scan*', '/r1')], names) == ['/r1/scan', '/r1/scan_rear']
    assert graph.chosen([graph.absolute('scan', '/')], names) == ['/scan']
    assert graph.chosen([graph.absolute('/scan', '/r1')], names) == ['/scan']
    with pytest.raises(ValueError, match='must be a topic'):
        graph.absolute('scan.*', '/')


def test_the_first_budget_that_fits_counts():
    patterns = [('/camera/*/image_raw', 64), ('/camera/*', 2)]
    assert graph.budget('/camera/front/image_raw', patterns, 1) == 64
    assert graph.budget('/odom', patterns, 1) == 1


def test_frames_of_many_publishers_stay_current_together():
    assert graph.latched_depth('tf2_msgs/msg/TFMessage', True) > 1
    assert graph.latched_depth('std_msgs/msg/String', True) == 1
    assert graph.latched_depth('std_msgs/msg/String', False) == 0


@pytest.mark.parametrize(('status', 'level'), [
    (WorkerStatus(), OK), (WorkerStatus(free_bytes=-1), ERROR), (WorkerStatus(refused=1), ERROR),
    (WorkerStatus(failed=1, last_error='case x: no space'), ERROR)])
def test_diagnostics_grow_worse_with_the_recorder(status, level):
    assert health(status, {}, {}, {}).level == level
    assert health(WorkerStatus(), {}, {}, {'/rocket': 'no type'}).level == WARN
