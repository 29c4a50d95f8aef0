"""The manifest of a case: what happened, what was recorded, and the digests to prove it.

A case begins as a draft (everything that is known at the trigger) and ends as a manifest. Both are
plain mappings; a manifest is checked against `config/schemas/case_manifest.schema.json` whenever
it is written or read, and again after its JSON.
"""

import base64
import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import google_crc32c
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from edge_case_recorder.bag import BagSummary
from edge_case_recorder.durable import write_durably
from edge_case_recorder.losses import Losses
from edge_case_recorder.sealing import SUFFIX, Key, open_plain, plain_name

SCHEMA_VERSION = 1
MANIFEST = 'manifest.json'
MAX_BYTES = 4_000_000
ROBOT_ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_READ_BYTES = 1 << 20

Manifest = dict[str, Any]


class ManifestError(ValueError):
    """A manifest is missing or breaks the schema; the message names the file, the key, the rule."""


@dataclass(frozen=True)
class Arrivals:
    """What never came of a topic in the window, and what a rate limit left out of it."""

    losses: Losses
    rate_limit_hz: float | None
    skipped: int

    def entry(self) -> dict[str, int | float | None]:
        return {'lost_estimated': self.losses.estimated, 'lost_counted': self.losses.counted,
                'rate_limit_hz': self.rate_limit_hz, 'skipped': self.skipped}


def case_id(robot_id: str, stamp_ns: int, cause: str) -> str:
    """The same robot, instant and cause always give the same id; ids sort by time."""
    digest = hashlib.sha256(f'{robot_id}\n{stamp_ns}\n{cause}'.encode()).hexdigest()
    milliseconds = stamp_ns // 1_000_000 % 1000
    return f'{_utc(stamp_ns):%Y%m%dT%H%M%S}.{milliseconds:03d}Z-{cause}-{digest[:12]}'


def object_folder(manifest: Mapping[str, Any]) -> str:
    """Where a case lies in a bucket, below its prefix: `<robot>/<date, UTC>/<case id>`."""
    date = _utc(manifest['trigger']['stamp_ns'])
    return f'{manifest["robot"]["id"]}/{date:%Y-%m-%d}/{manifest["case_id"]}'


def complete(draft: Mapping[str, Any], folder: Path, bag: BagSummary, *,
             lost: Mapping[str, int], truncated_by: str = '', recovered: bool = False,
             arrivals: Mapping[str, Arrivals] | None = None,
             keys: Sequence[Key] = ()) -> Manifest:
    """The manifest of a case whose bag lies finished in folder.

    lost: messages that were received in the window and are not in the bag, per topic.
    arrivals: what else is known of a topic; nothing is after a crash.
    truncated_by: why the window ends early, empty if it does not.
    keys: of sealed files, whose plaintext is described.
    """
    names = [topic.name for topic, _, _ in bag.topics.values()]
    topics: list[dict[str, Any]] = [{
        'name': topic.name, 'type': topic.type, 'type_hash': topic.type_hash,
        'has_definition': bool(topic.definition), 'messages': messages, 'bytes': size,
        'lost_in_ring': lost.get(topic.name, 0),
    } for topic, messages, size in bag.topics.values()]
    topics += [{'name': name, 'type': '', 'type_hash': '', 'has_definition': False, 'messages': 0,
                'bytes': 0, 'lost_in_ring': count}
               for name, count in lost.items() if name not in names]
    for entry in topics:
        if arrivals and entry['name'] in arrivals:
            entry |= arrivals[entry['name']].entry()
    redacted = draft.get('redaction', {})
    left_out = redacted.get('messages_left_out') or redacted.get('messages_failed')
    window = dict(draft['window'], recorded_start_ns=bag.start_ns, recorded_end_ns=bag.end_ns,
                  truncated_by=truncated_by,
                  complete=not (truncated_by or any(lost.values()) or left_out))
    return check(dict(
        draft, window=window, messages=bag.messages, recovered=recovered, topics=topics,
        files=[bag.file if plain_name(path) == bag.file.get('path') else describe(path, keys)
               for path in sorted(folder.glob('*'))
               if path.name.removesuffix(SUFFIX).endswith(('.mcap', '.yaml'))]),
        str(folder / MANIFEST))


def custom_data(draft: Mapping[str, Any]) -> dict[str, str]:
    """What the bag's metadata.yaml says of its case. Raises KeyError, TypeError for no draft."""
    told = {'case_id': draft['case_id'], 'cause': draft['cause'],
            'reasons': ','.join(draft['reasons']), 'robot_id': draft['robot']['id']}
    if redaction := draft.get('redaction'):
        told['redaction'] = f'{redaction["plugin"]} {redaction["version"]}: {redaction["hides"]}'
    return told


def describe(path: Path, keys: Sequence[Key] = ()) -> dict[str, Any]:
    """A file's entry: name, size, sha256 in hex, crc32c in Base64 (as Cloud Storage has it).

    Of a sealed file it is its plaintext's; raises SealError (NoKeyError without its key) for one.
    """
    sha256, crc32c, size = hashlib.sha256(), google_crc32c.Checksum(), 0
    with open_plain(path, keys) as file:
        while block := file.read(_READ_BYTES):
            sha256.update(block)
            crc32c.update(block)
            size += len(block)
    return {'path': plain_name(path), 'bytes': size, 'sha256': sha256.hexdigest(),
            'crc32c': base64.b64encode(crc32c.digest()).decode()}


def crc32c_of(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def write(folder: Path, manifest: Manifest) -> None:
    path = folder / MANIFEST
    write_durably(path, (json.dumps(check(manifest, str(path)), indent=2) + '\n').encode())


def read(folder: Path) -> Manifest:
    """The manifest in a case's folder; raises ManifestError."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ManifestError(f'{path}: larger than {MAX_BYTES} bytes')
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise ManifestError(f'{path}: {error.strerror or error}') from None


def parse(data: bytes, name: str) -> Manifest:
    """A manifest from JSON; raises ManifestError under the given name."""
    try:
        return check(json.loads(data), name)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f'{name}: not JSON: {error}') from None


def check(manifest: Any, name: str) -> Manifest:
    """The manifest itself if it holds to the schema; raises ManifestError."""
    problem = best_match(_validator().iter_errors(manifest))
    if problem is not None:
        where = problem.json_path.removeprefix('$').removeprefix('.') or 'manifest'
        raise ManifestError(f'{name}: {where}: {problem.message[:300]}')
    return manifest


def draft(*, robot_id: str, robot: str, trigger: Any, stamp_ns: int, software: Mapping[str, str],
          models: Mapping[str, str], reasons: Sequence[str] | None = None) -> Manifest:
    """What is known when a case begins. trigger: a `triggers.Trigger`; stamp_ns: UTC of it."""
    return {
        'schema_version': SCHEMA_VERSION,
        'case_id': case_id(robot_id, stamp_ns, trigger.cause),
        'robot': {'id': robot_id, 'type': robot},
        'cause': trigger.cause,
        'reasons': list(trigger.reasons if reasons is None else reasons),
        'trigger': {'rule': trigger.rule, 'source': trigger.source, 'stamp_ns': stamp_ns,
                    'priority': trigger.priority, 'values': dict(trigger.values)},
        'window': {'start_ns': stamp_ns - trigger.before_ns, 'end_ns': stamp_ns + trigger.after_ns},
        'versions': {'software': dict(software), 'models': dict(models)},
        'lineage': {'parents': []},
    }


@cache
def _validator() -> Draft202012Validator:
    schema = files(__package__).joinpath('schemas', 'case_manifest.schema.json')
    return Draft202012Validator(json.loads(schema.read_text('utf-8')))


def _utc(stamp_ns: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(stamp_ns // 1_000_000_000, datetime.UTC)
