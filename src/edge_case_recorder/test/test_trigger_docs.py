"""docs/triggers.md says what holds."""

import re
from pathlib import Path

import yaml

from edge_case_recorder.rules import apply, default_rules
from edge_case_recorder.triggering import compile_rule, limits
from edge_case_recorder.triggering.functions import FUNCTIONS

TEXT = (Path(__file__).parents[1] / 'docs' / 'triggers.md').read_text()
BLOCKS = re.findall(r'```(\w*)\n(.*?)```', TEXT, re.S)


def test_the_file_in_the_document_is_one():
    document = yaml.load(BLOCKS[0][1], Loader=yaml.BaseLoader)
    assert set(document['triggers']) == {'safety_stop', 'near_miss', 'silent_lidar'}
    from edge_case_recorder.rules import parse_rules
    rules = parse_rules(BLOCKS[0][1], default_rules(5.0, 2.0), 'docs')
    assert rules['near_miss'].merge
    assert rules['near_miss'].campaign == 'near-misses-2026'
    assert apply({'schema_version': 1, 'triggers': {}}, rules, 'docs') == rules


def test_every_example_compiles():
    [examples] = [text for _, text in BLOCKS if text.startswith('policy/status.policy_client')]
    for line in examples.splitlines():
        assert compile_rule(line).cost <= limits.MAX_COST
    assert len(examples.splitlines()) >= 10


def test_every_function_and_limit_is_in_it():
    for name in FUNCTIONS:
        assert re.search(rf'`[^`]*\b{name}\b[^`]*`', TEXT), name
    for figure in (f'{limits.MAX_CHARACTERS:,} characters; {limits.MAX_NODES}; {limits.MAX_DEPTH}',
                   f'{limits.MAX_TEXT} characters; {limits.MAX_PATH_STEPS} steps; '
                   f'{limits.MAX_CHOICES}',
                   f'| operations a message and rule | {limits.MAX_COST} |',
                   f'{limits.MAX_ELEMENTS:,}; of a longer', f'{limits.MAX_HELD_A_NODE} numbers',
                   f'{limits.MAX_STATUSES}, {limits.MAX_VALUES}, {limits.MAX_VALUES}',
                   f'{limits.MAX_RULES}; {limits.MAX_TOPICS}',
                   f'{limits.MIN_WINDOW_NS // 10**6} ms for the last two'):
        assert figure in TEXT, figure
