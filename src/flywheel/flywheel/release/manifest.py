"""The manifest of a release: what a version is made of, what it was judged by, who approved it.

The digest of its bytes is the release's name everywhere else (`digest`, 64 hexadecimal digits).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from . import envelope
from .errors import ReleaseError

PAYLOAD_TYPE = 'application/vnd.spinal.release+json'
SCHEMA_VERSION = 1
# Of the version's folder, which the manifest shares with the files of the release.
MANIFEST = 'release.dsse.json'
GATE_RECORD = 'gate_record.dsse.json'
_RESERVED = (MANIFEST, GATE_RECORD)
_SEGMENT = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]*')


@dataclass(frozen=True)
class File:
    """path: within the version's folder, with `/`."""
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Artifact:
    """What one target loads. sha256: of the list of its files."""
    target: str
    format: str
    files: tuple[File, ...]

    @property
    def sha256(self) -> str:
        return listing_sha256(self.files)


@dataclass(frozen=True)
class Approval:
    """when: UTC, ISO 8601."""
    who: str
    when: str
    why: str


@dataclass(frozen=True)
class Manifest:
    """made: UTC, ISO 8601. base: digest of the release that the gate compared with."""
    name: str
    version: int
    made: str
    run_id: str
    checkpoint_sha256: str
    modality_sha256: str
    statistics_sha256: str
    artifacts: tuple[Artifact, ...]
    gate_sha256: str
    gate_run_id: str
    dataset_id: str
    dataset_sha256: str
    cases: tuple[str, ...]
    base: str | None
    approval: Approval

    @property
    def files(self) -> tuple[File, ...]:
        """Of all targets, each once, by path."""
        return tuple(sorted({each for artifact in self.artifacts for each in artifact.files},
                            key=lambda each: each.path))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(each.target for each in self.artifacts)

    def artifact(self, target: str) -> Artifact:
        for each in self.artifacts:
            if each.target == target:
                return each
        raise ReleaseError(f'{self.name}:{self.version} has no artifact for {target}, only for '
                           f'{", ".join(self.targets)}')

    def to_mapping(self) -> dict[str, Any]:
        return {
            'schema_version': SCHEMA_VERSION, 'name': self.name, 'version': self.version,
            'made': self.made, 'run_id': self.run_id,
            'checkpoint_sha256': self.checkpoint_sha256, 'modality_sha256': self.modality_sha256,
            'statistics_sha256': self.statistics_sha256,
            'artifacts': [{'target': each.target, 'format': each.format, 'sha256': each.sha256,
                           'files': [asdict(file) for file in each.files]}
                          for each in self.artifacts],
            'gate': {'sha256': self.gate_sha256, 'run_id': self.gate_run_id},
            'dataset': {'id': self.dataset_id, 'sha256': self.dataset_sha256},
            'cases': list(self.cases), 'base': self.base, 'approval': asdict(self.approval)}


@dataclass(frozen=True)
class Release:
    """A manifest with its signature. digest: SHA-256 of the manifest's bytes."""
    manifest: Manifest
    digest: str
    envelope: bytes
    key_id: str


def sign(manifest: Manifest, private_key_pem: bytes, key_id: str) -> Release:
    """Raises ReleaseError for a manifest that breaks its schema."""
    payload = (json.dumps(manifest.to_mapping(), indent=1, sort_keys=True, allow_nan=False)
               + '\n').encode()
    parse(payload)
    return Release(manifest, hashlib.sha256(payload).hexdigest(),
                   envelope.sign(payload, PAYLOAD_TYPE, private_key_pem, key_id), key_id)


def verified(signed: bytes, public_keys: Mapping[str, bytes]) -> Release:
    """The release in an envelope of a known key; raises ReleaseError."""
    found = envelope.verify(signed, PAYLOAD_TYPE, public_keys)
    return Release(parse(found.payload), hashlib.sha256(found.payload).hexdigest(), signed,
                   found.key_id)


def parse(payload: bytes) -> Manifest:
    """Raises ReleaseError; nothing unknown passes."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        raise ReleaseError('the manifest is not JSON') from None
    problem = best_match(_validator().iter_errors(content))
    if problem is not None:
        where = problem.json_path.removeprefix('$').removeprefix('.') or 'document'
        raise ReleaseError(f'the manifest: {where}: {problem.message[:300]}')
    artifacts = tuple(
        Artifact(each['target'], each['format'],
                 tuple(File(file['path'], file['sha256'], file['bytes']) for file in each['files']))
        for each in content['artifacts'])
    _check_files(artifacts)
    for each, stated in zip(artifacts, content['artifacts'], strict=True):
        if each.sha256 != stated['sha256']:
            raise ReleaseError(f'the artifact for {each.target}: its sha256 is not that of its '
                               'files')
    return Manifest(
        content['name'], content['version'], content['made'], content['run_id'],
        content['checkpoint_sha256'], content['modality_sha256'], content['statistics_sha256'],
        artifacts, content['gate']['sha256'], content['gate']['run_id'],
        content['dataset']['id'], content['dataset']['sha256'], tuple(content['cases']),
        content['base'], Approval(**content['approval']))


def check_path(path: str) -> str:
    """A name within a folder or bucket; raises ReleaseError for one that could lead out of it."""
    segments = path.split('/')
    if not 1 <= len(segments) <= 12 or len(path) > 400 \
            or not all(_SEGMENT.fullmatch(each) for each in segments):
        raise ReleaseError(f'{path[:120]!r} is no name for an object: letters, digits and _.- '
                           'between slashes, none begins with a dot')
    return path


def describe(folder: Path, paths: Sequence[str]) -> tuple[File, ...]:
    """The files of an artifact as they lie in a folder. Raises ReleaseError."""
    found = []
    for path in sorted(paths):
        file = folder / check_path(path)
        try:
            found.append(File(path, sha256_of(file), file.stat().st_size))
        except OSError as error:
            raise ReleaseError(f'{file}: {error.strerror}') from error
    return tuple(found)


def sha256_of(file: Path) -> str:
    with open(file, 'rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def listing_sha256(listed: Sequence[File]) -> str:
    lines = ''.join(f'{each.sha256}  {each.path}\n'
                    for each in sorted(listed, key=lambda each: each.path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _check_files(artifacts: Sequence[Artifact]) -> None:
    targets = [each.target for each in artifacts]
    if len(set(targets)) != len(targets):
        raise ReleaseError('the manifest: a target has two artifacts')
    known: dict[str, File] = {}
    for artifact in artifacts:
        paths = [each.path for each in artifact.files]
        if len(set(paths)) != len(paths):
            raise ReleaseError(f'the artifact for {artifact.target}: a path occurs twice')
        for each in artifact.files:
            check_path(each.path)
            if each.path in _RESERVED:
                raise ReleaseError(f'{each.path} is no name for an artifact\'s file')
            if known.setdefault(each.path, each) != each:
                raise ReleaseError(f'{each.path} is two different files')
    for path in known:
        if any(other.startswith(f'{path}/') for other in known):
            raise ReleaseError(f'{path} is a file and a folder')


@cache
def _validator() -> Draft202012Validator:
    schema = files(__package__).joinpath('schemas', 'release.schema.json')
    return Draft202012Validator(json.loads(schema.read_text('utf-8')))
