"""The rules of the built-in triggers, from `config/recorder/triggers.yaml` over the defaults."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from edge_case_recorder.triggers import Rule

_S = 1_000_000_000
_MAX_BYTES = 1_000_000
# (seconds between two cases of one cause, priority). A stop is an event by itself; a server that
# sends nonsense does so many times a second.
_DEFAULTS = {
    'safety_latch': (0.0, 90),
    'safety_stop': (0.0, 80),
    'operator_mark': (0.0, 70),
    'policy_rejected': (10.0, 60),
    'policy_fallback': (5.0, 50),
}


class RulesError(ValueError):
    """The rules cannot be used; the message names the file, the key and the rule."""


def default_rules(before_s: float, after_s: float) -> dict[str, Rule]:
    return {name: Rule(int(before_s * _S), int(after_s * _S), int(interval_s * _S), priority)
            for name, (interval_s, priority) in _DEFAULTS.items()}


def read_rules(path: Path, before_s: float, after_s: float) -> dict[str, Rule]:
    """The rules in a YAML file; what it leaves out keeps its default. Raises RulesError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RulesError(f'{path}: larger than {_MAX_BYTES} bytes')
        document = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise RulesError(f'{path}: {error.strerror or error}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RulesError(f'{path}: not YAML: {" ".join(str(error).split())}') from None
    return apply(document, default_rules(before_s, after_s), str(path))


def apply(document: Any, rules: Mapping[str, Rule], name: str) -> dict[str, Rule]:
    problem = best_match(_validator().iter_errors(document))
    if problem is not None:
        where = problem.json_path.removeprefix('$').removeprefix('.') or 'document'
        raise RulesError(f'{name}: {where}: {problem.message}')
    given = document['triggers']
    return {key: _merged(rule, given.get(key) or {}) for key, rule in rules.items()}


def _merged(rule: Rule, given: Mapping[str, Any]) -> Rule:
    return Rule(
        before_ns=int(given['before_s'] * _S) if 'before_s' in given else rule.before_ns,
        after_ns=int(given['after_s'] * _S) if 'after_s' in given else rule.after_ns,
        min_interval_ns=int(given['min_interval_s'] * _S) if 'min_interval_s' in given
        else rule.min_interval_ns,
        priority=given.get('priority', rule.priority), enabled=given.get('enabled', rule.enabled))


@cache
def _validator() -> Draft202012Validator:
    schema = files(__package__).joinpath('schemas', 'triggers.schema.json')
    return Draft202012Validator(json.loads(schema.read_text('utf-8')))
