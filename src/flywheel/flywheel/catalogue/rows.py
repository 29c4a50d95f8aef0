"""From a manifest's bytes to a row of the index; or why it is refused."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

from edge_case_recorder import manifest

from .errors import CatalogueError

_TEXTS = pa.list_(pa.string())
CASES = pa.schema([
    ('case_id', pa.string()), ('robot_id', pa.string()), ('robot_type', pa.string()),
    ('cause', pa.string()), ('reasons', _TEXTS), ('rule', pa.string()), ('source', pa.string()),
    ('priority', pa.int32()), ('stamp_ns', pa.int64()),
    ('triggered_at', pa.timestamp('us', 'UTC')),
    ('duration_s', pa.float64()), ('complete', pa.bool_()), ('truncated_by', pa.string()),
    ('recovered', pa.bool_()), ('redacted', pa.bool_()), ('messages', pa.int64()),
    ('bytes', pa.int64()), ('lost_in_ring', pa.int64()), ('models', _TEXTS),
    ('model_text', pa.string()), ('software', _TEXTS), ('topics', _TEXTS), ('parents', _TEXTS),
    ('text', pa.string()),
    ('folder', pa.string()), ('generation', pa.string()), ('manifest_sha256', pa.string()),
])
_LARGEST = 2 ** 63 - 1


def row(data: bytes, folder: str, generation: str) -> dict[str, Any]:
    """A row of CASES; raises CatalogueError with one sentence that names the manifest.

    Beside the schema it must hold that the case's id is its own, and that it lies where its id,
    robot and date say: nobody can put a case under another's name.
    """
    name = f'{folder}/{manifest.MANIFEST}'
    if len(data) > manifest.MAX_BYTES:
        raise CatalogueError(f'{name}: larger than {manifest.MAX_BYTES} bytes')
    try:
        content = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CatalogueError(f'{name}: not JSON: {str(error)[:200]}') from None
    if not _schema().is_valid(content):
        try:
            manifest.check(content, name)
        except (manifest.ManifestError, RecursionError) as error:
            raise CatalogueError(str(error)) from None
        raise CatalogueError(f'{name}: does not hold to the schema of manifests')
    try:
        found = _row(content)
        '\n'.join(_strings(found)).encode()
    except (UnicodeEncodeError, OverflowError, ValueError) as error:
        raise CatalogueError(f'{name}: cannot be kept: {str(error)[:200]}') from None
    stamp_ns = content['trigger']['stamp_ns']
    if manifest.case_id(found['robot_id'], stamp_ns, found['cause']) != found['case_id']:
        raise CatalogueError(f'{name}: case_id is not that of its robot, stamp and cause')
    if manifest.object_folder(content) != folder:
        raise CatalogueError(f'{name}: is of {manifest.object_folder(content)}')
    return found | {'folder': folder, 'generation': generation,
                    'manifest_sha256': hashlib.sha256(data).hexdigest()}


def _row(content: dict[str, Any]) -> dict[str, Any]:
    trigger, window, topics = content['trigger'], content['window'], content['topics']
    models, software = (_pairs(content['versions'][key]) for key in ('models', 'software'))
    values = _pairs(trigger['values'])
    numbers = {'messages': content['messages'],
               'bytes': sum(entry['bytes'] for entry in content['files']),
               'lost_in_ring': sum(topic['lost_in_ring'] for topic in topics)}
    for key, number in numbers.items():
        if number > _LARGEST:
            raise OverflowError(f'{key} is {number}')
    text = [content['case_id'], content['robot']['type'], *content['reasons'], trigger['rule'],
            trigger['source'], *models, *software, *values]
    return numbers | {
        'case_id': content['case_id'], 'robot_id': content['robot']['id'],
        'robot_type': content['robot']['type'], 'cause': content['cause'],
        'reasons': content['reasons'], 'rule': trigger['rule'], 'source': trigger['source'],
        'priority': trigger['priority'], 'stamp_ns': trigger['stamp_ns'],
        'triggered_at': datetime.fromtimestamp(trigger['stamp_ns'] // 1_000_000_000, UTC).replace(
            microsecond=trigger['stamp_ns'] // 1000 % 1_000_000),
        'duration_s': (window['recorded_end_ns'] - window['recorded_start_ns']) * 1e-9,
        'complete': window['complete'], 'truncated_by': window['truncated_by'],
        'recovered': content['recovered'], 'redacted': 'redaction' in content,
        'models': models, 'model_text': f'|{"|".join(models)}|', 'software': software,
        'topics': [topic['name'] for topic in topics],
        'parents': content['lineage']['parents'], 'text': '\n'.join(text).lower()}


def _pairs(mapping: dict[str, str]) -> list[str]:
    return [f'{name}={value}' for name, value in sorted(mapping.items())]


def _strings(found: dict[str, Any]) -> list[str]:
    return [text for value in found.values()
            for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


@cache
def _schema() -> Any:
    """The same schema as `manifest.check`, by a validator that takes microseconds."""
    import jsonschema_rs
    text = files('edge_case_recorder').joinpath('schemas', 'case_manifest.schema.json')
    return jsonschema_rs.validator_for(json.loads(text.read_text('utf-8')))


def _no_constant(text: str) -> float:
    raise ValueError(f'{text} is no JSON')
