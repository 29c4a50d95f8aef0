"""Two digests of a data set: of its files, and of what went into it.

sha256          of the lines `sha256  path` of all files, sorted, as sha256sum writes them. It
                pins every byte: what a training run reads. The same cases give the same one again,
                with the same versions of PyAV and pyarrow.
content_sha256  of rows, texts and source pictures before any encoder. It stays the same over
                versions of those libraries.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from .episodes import Episode

PROVENANCE = 'provenance.json'
_BLOCK = 1 << 20


def files(folder: Path) -> list[dict[str, str | int]]:
    """path, sha256 and bytes of every file but the provenance, sorted by path."""
    found: list[dict[str, str | int]] = []
    for path in sorted(folder.rglob('*')):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != PROVENANCE:
            found.append({'path': name, 'sha256': of_file(path), 'bytes': path.stat().st_size})
    return sorted(found, key=lambda each: str(each['path']))


def of_files(listed: Sequence[dict[str, str | int]]) -> str:
    lines = ''.join(f'{each["sha256"]}  {each["path"]}\n' for each in listed)
    return hashlib.sha256(lines.encode()).hexdigest()


def of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def of_content(episodes: Sequence[Episode], fps: int) -> str:
    digest = hashlib.sha256(f'fps {fps}\n'.encode())
    for episode in episodes:
        run = episode.run
        digest.update(json.dumps([episode.case_id, episode.group, episode.label, episode.seed,
                                  episode.succeeded, episode.tasks, run.states.shape,
                                  run.actions.shape]).encode())
        digest.update(run.states.tobytes())
        digest.update(run.actions.tobytes())
        for name, pictures in sorted(run.pictures.items()):
            digest.update(f'{name} {pictures.shape}'.encode())
            digest.update(pictures.tobytes())
    return digest.hexdigest()
