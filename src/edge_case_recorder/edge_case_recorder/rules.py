"""The rules of the recorder's triggers, from `config/recorder/triggers.yaml` over the defaults.

A file changes what it names of the built-in rules, and adds rules of its own: an expression of the
trigger language (docs/triggers.md) each. Everything is checked here, before anything runs.
"""

import datetime
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from edge_case_recorder.definitions import DefinitionError, find_definition
from edge_case_recorder.triggering import Program, RuleError, compile_rule
from edge_case_recorder.triggering.engine import check_types
from edge_case_recorder.triggering.limits import MAX_RULES, MAX_TOPICS
from edge_case_recorder.triggering.reading import DIAGNOSTICS
from edge_case_recorder.triggers import DETECTORS, RULES, Rule

_S = 1_000_000_000
_MAX_BYTES = 1_000_000
# The policy drives by a chunk that is older than a healthy round trip ever makes it (contracts.md).
_HIGH_STALENESS = 'for(policy/status.policy_client.staleness_ms > 500, 500 ms)'
# (seconds between two cases of one cause, priority). A stop is an event by itself; a server that
# sends nonsense does so many times a second.
_DEFAULTS = {
    'safety_latch': (0.0, 90),
    'safety_stop': (0.0, 80),
    'operator_mark': (0.0, 70),
    'policy_rejected': (10.0, 60),
    'policy_fallback': (5.0, 50),
    'high_staleness': (10.0, 45),
}
_OWN = (10.0, 40)
# Topics whose type the contracts fix.
_KNOWN_TYPES = {'safety/state': DIAGNOSTICS, 'policy/status': DIAGNOSTICS,
                'diagnostics': DIAGNOSTICS}


class RulesError(ValueError):
    """The rules cannot be used; the message names the file, the key and the rule."""


class TextLoader(yaml.SafeLoader):
    """A date stays the text that it is: the schema says how one is written."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(':timestamp')]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}


def default_rules(before_s: float, after_s: float) -> dict[str, Rule]:
    expressions = {'high_staleness': compile_rule(_HIGH_STALENESS)}
    return {name: Rule(int(before_s * _S), int(after_s * _S), int(interval_s * _S), priority,
                       when=expressions.get(name))
            for name, (interval_s, priority) in _DEFAULTS.items()}


def read_rules(path: Path, before_s: float, after_s: float) -> dict[str, Rule]:
    """The rules in a YAML file; what it leaves out keeps its default. Raises RulesError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RulesError(f'{path}: larger than {_MAX_BYTES} bytes')
        text = path.read_text(encoding='utf-8')
        return parse_rules(text, default_rules(before_s, after_s), str(path))
    except OSError as error:
        raise RulesError(f'{path}: {error.strerror or error}') from None
    except UnicodeDecodeError as error:
        raise RulesError(f'{path}: not YAML: {error}') from None


def parse_rules(text: str, rules: Mapping[str, Rule], name: str) -> dict[str, Rule]:
    """As read_rules, from the file's text; an error in an expression also names the file's line."""
    try:
        lines = _lines(yaml.compose(text, Loader=TextLoader))
        document = yaml.load(text, Loader=TextLoader)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise RulesError(f'{name}: not YAML: {" ".join(str(error).split())[:300]}') from None
    except RecursionError:
        raise RulesError(f'{name}: nested too deeply') from None
    return apply(document, rules, name, lines)


def apply(document: Any, rules: Mapping[str, Rule], name: str,
          lines: Mapping[str, int] | None = None) -> dict[str, Rule]:
    """The rules with what the document changes and adds. lines: where each rule's `when` stands."""
    problem = best_match(_validator().iter_errors(document))
    if problem is not None:
        where = problem.json_path.removeprefix('$').removeprefix('.') or 'document'
        raise RulesError(f'{name}: {where}: {_short(problem.message)}{_advice(problem)}')
    given = {key: value or {} for key, value in document['triggers'].items()}
    own = [key for key in given if key not in RULES]
    if len(own) > MAX_RULES:
        raise RulesError(f'{name}: triggers: {len(own)} rules, at most {MAX_RULES} are taken')
    before_ns, after_ns = rules['operator_mark'].before_ns, rules['operator_mark'].after_ns
    plain = Rule(before_ns, after_ns, int(_OWN[0] * _S), _OWN[1])
    types = {topic: (type_name, _definition(topic, type_name, name))
             for topic, type_name in {**_KNOWN_TYPES, **document.get('types', {})}.items()}
    found = dict(rules) | dict.fromkeys(own, plain)
    for key, entry in given.items():
        where = f'{name}:{lines[key]}' if lines and key in lines else name
        found[key] = _merged(found[key], entry, f'{where}: {key}', types)
    topics = {topic for rule in found.values() if rule.when for topic in rule.when.topics}
    if len(topics) > MAX_TOPICS:
        raise RulesError(f'{name}: the rules read {len(topics)} topics, at most {MAX_TOPICS} '
                         'are allowed')
    unread = sorted(set(document.get('types', {})) - topics)
    if unread:
        raise RulesError(f'{name}: types: no rule reads {unread[0]!r}')
    return found


def _merged(rule: Rule, given: Mapping[str, Any], where: str,
            types: Mapping[str, tuple[str, Callable[[], str]]]) -> Rule:
    def ns(key: str, default_ns: int) -> int:
        return int(given[key] * _S) if key in given else default_ns
    campaign = given.get('campaign', {})
    return Rule(
        before_ns=ns('before_s', rule.before_ns), after_ns=ns('after_s', rule.after_ns),
        min_interval_ns=ns('min_interval_s', rule.min_interval_ns),
        priority=given.get('priority', rule.priority), enabled=given.get('enabled', rule.enabled),
        when=_compiled(given['when'], where, types) if 'when' in given else rule.when,
        debounce_ns=ns('debounce_s', rule.debounce_ns), merge=given.get('merge', rule.merge),
        campaign=campaign.get('name', rule.campaign),
        expires_ns=_expiry(campaign['expires'], where) if campaign else rule.expires_ns)


def _compiled(when: str, where: str,
              types: Mapping[str, tuple[str, Callable[[], str]]]) -> Program:
    try:
        program = compile_rule(when)
        for topic in program.topics:
            if topic in types:
                type_name, definition = types[topic]
                check_types(program, topic, type_name, definition())
    except RuleError as error:
        raise RulesError(f'{where}: when, {error}') from None
    return program


def _definition(topic: str, type_name: str, name: str) -> Callable[[], str]:
    """Looked up when a rule reads the topic; statuses need none."""
    def find() -> str:
        if type_name == DIAGNOSTICS:
            return ''
        try:
            return find_definition(type_name).text
        except DefinitionError as error:
            raise RulesError(f'{name}: types.{topic}: {error}') from None
    return find


def _expiry(text: str, where: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise RulesError(f'{where}: campaign.expires: {text!r} is no date and time') from None
    return int(moment.timestamp()) * _S


def _short(message: str) -> str:
    """jsonschema puts the whole value before what is wrong with it."""
    return message if len(message) <= 300 else f'{message[:140]} .. {message[-140:]}'


def _advice(problem: Any) -> str:
    """For the mistake that is made most: the name of a built-in rule, misspelt."""
    path = list(problem.absolute_path)
    if len(path) == 2 and path[0] == 'triggers' and problem.validator == 'required':
        return f" (a rule of one's own; built in are {', '.join(RULES)})"
    if path == ['triggers'] and problem.validator == 'additionalProperties':
        return " (a rule's name has 1 to 48 of a-z, 0-9 and _, and begins with a letter)"
    if path and path[0] == 'triggers' and path[-1] in DETECTORS and 'when' in problem.message:
        return ' (this rule is written in Python: it has no expression)'
    return ''


def _lines(document: Any) -> dict[str, int]:
    """The line of each rule's `when` in the file, from 1."""
    found: dict[str, int] = {}
    for rule, entry in _pairs(_member(document, 'triggers')):
        when = _member(entry, 'when')
        if when is not None and isinstance(rule.value, str):
            found[rule.value] = when.start_mark.line + 1
    return found


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _member(node: Any, key: str) -> Any:
    return next((value for name, value in _pairs(node) if name.value == key), None)


@cache
def _validator() -> Draft202012Validator:
    schema = files(__package__).joinpath('schemas', 'triggers.schema.json')
    return Draft202012Validator(json.loads(schema.read_text('utf-8')))
