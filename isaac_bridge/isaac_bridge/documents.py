"""YAML documents checked against this package's JSON schemas, with errors that name the key."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

MAX_BYTES = 1_000_000


def read_document(path: str | Path, schema: str, error: type[ValueError]) -> dict[str, Any]:
    """The mapping in a YAML file, valid against `schemas/<schema>.schema.json`; raises `error`."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise error(f'{path}: larger than {MAX_BYTES} bytes')
        document = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as problem:
        raise error(f'{path}: {problem.strerror or problem}') from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise error(f'{path}: not YAML: {" ".join(str(problem).split())}') from problem
    check(document, schema, error, str(path))
    return document


def check(document: Any, schema: str, error: type[ValueError], name: str) -> None:
    """Raise `error` with the document's name, the key and the rule, if the schema is broken."""
    problem = best_match(_validator(schema).iter_errors(document))
    if problem is not None:
        where = problem.json_path.removeprefix('$').removeprefix('.') or 'document'
        raise error(f'{name}: {where}: {problem.message}')


@cache
def _validator(schema: str) -> Draft202012Validator:
    text = files(__package__).joinpath('schemas', f'{schema}.schema.json').read_text('utf-8')
    return Draft202012Validator(json.loads(text))
