"""Defects of the files of a data set: what is missing, what nobody named, what cannot be read."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from . import digests, video
from .check_rows import times
from .errors import DatasetError

_MAX_JSON = 64 << 20
_MAX_LINES = 64 << 20
# Beside a data set, and no part of it.
_BESIDE = {digests.PROVENANCE, 'README.md', '.gitattributes', 'meta/relative_stats.json'}
_INFO = {'codebase_version', 'robot_type', 'total_episodes', 'total_frames', 'total_tasks',
         'chunks_size', 'fps', 'splits', 'data_path', 'video_path', 'features'}
_MORE = {'v2': {'total_videos', 'total_chunks'},
         'v3': {'data_files_size_in_mb', 'video_files_size_in_mb'}}


class Defect(Exception):
    """One sentence; what depends on this part cannot be looked at."""


def read_json(path: Path, root: Path) -> Any:
    """Raises Defect; NaN is no JSON."""
    name = path.relative_to(root).as_posix()
    try:
        if path.stat().st_size > _MAX_JSON:
            raise Defect(f'{name}: is larger than {_MAX_JSON} bytes')
        return json.loads(path.read_text('utf-8'), parse_constant=_no_constant)
    except FileNotFoundError:
        raise Defect(f'{name}: is missing') from None
    except (OSError, ValueError, RecursionError) as error:
        raise Defect(f'{name}: cannot be read as JSON: {error}') from None


def read_json_lines(path: Path, root: Path) -> list[Any]:
    """Raises Defect."""
    name = path.relative_to(root).as_posix()
    try:
        if path.stat().st_size > _MAX_LINES:
            raise Defect(f'{name}: is larger than {_MAX_LINES} bytes')
        return [json.loads(line, parse_constant=_no_constant)
                for line in path.read_text('utf-8').splitlines() if line.strip()]
    except FileNotFoundError:
        raise Defect(f'{name}: is missing') from None
    except (OSError, ValueError, RecursionError) as error:
        raise Defect(f'{name}: cannot be read as JSON lines: {error}') from None


def read_parquet(path: Path, root: Path) -> pa.Table:
    """Raises Defect."""
    name = path.relative_to(root).as_posix()
    try:
        return pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise Defect(f'{name}: is missing') from None
    except (OSError, pa.ArrowException) as error:
        raise Defect(f'{name}: cannot be read as Parquet: {str(error)[:200]}') from None


def info(content: Any, layout: str) -> list[str]:
    """Defects of info.json; raises Defect where nothing else can be looked at."""
    if not isinstance(content, dict):
        raise Defect('meta/info.json: is no mapping')
    known = _INFO | _MORE[layout]
    defects = [f'meta/info.json: {key} is missing' for key in sorted(known - content.keys())]
    defects += [f'meta/info.json: {key} is not known' for key in sorted(content.keys() - known)]
    if not isinstance(content.get('features'), dict) or not all(
            isinstance(told, dict) for told in content['features'].values()):
        raise Defect('meta/info.json: features is no mapping of mappings')
    fps = content.get('fps')
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps <= 1000:
        raise Defect(f'meta/info.json: fps {fps!r} is not a rate')
    for name in ('data_path', 'video_path'):
        if not (isinstance(content.get(name), str)
                or (name == 'video_path' and content.get(name) is None)):
            raise Defect(f'meta/info.json: {name} is no text')
    return defects


def splits(told: Any, episodes: int) -> list[str]:
    """Defects of `splits`: {'train': '0:8', ..}, each within the episodes, none twice."""
    if not isinstance(told, dict):
        return ['meta/info.json: splits is no mapping']
    taken: set[int] = set()
    for name, text in told.items():
        try:
            first, last = (int(part) for part in str(text).split(':'))
        except ValueError:
            return [f'meta/info.json: split {name} {text!r} is not FIRST:LAST']
        if not 0 <= first <= last <= episodes:
            return [f'meta/info.json: split {name} {text!r} is not within {episodes} episodes']
        if taken & set(range(first, last)):
            return [f'meta/info.json: split {name} has an episode of another split']
        taken |= set(range(first, last))
    return []


def path_in(root: Path, pattern: str, **values: Any) -> Path:
    """A file by a pattern of info.json; raises Defect for one that leads out of the data set."""
    try:
        name = pattern.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise Defect(f'meta/info.json: the pattern {pattern!r} cannot be filled: {error}') from None
    path = root / name
    if Path(name).is_absolute() or '..' in Path(name).parts or path.is_symlink():
        raise Defect(f'{name}: leads out of the data set')
    return path


def moving(path: Path, root: Path, told: Mapping[str, Any], rows: int, fps: float) -> list[str]:
    """Defects of a video with as many frames as rows, one each 1 / fps."""
    name = path.relative_to(root).as_posix()
    if not path.is_file():
        return [f'{name}: is missing']
    try:
        codec, size, seen = video.times(path)
    except DatasetError as error:
        return [str(error).replace(f'{root}/', '')]
    defects = []
    if len(seen) != rows:
        defects.append(f'{name}: has {len(seen)} frames for {rows} rows')
    if list(told.get('shape', ())) != [*size, 3]:
        defects.append(f'{name}: frames are {size[1]}x{size[0]}, info.json says '
                       f'{told.get("shape")}')
    wanted = (told.get('info') or told.get('video_info') or {}).get('video.codec')
    if wanted is not None and wanted != codec:
        defects.append(f'{name}: is {codec}, info.json says {wanted}')
    return defects + times(seen, fps, f'{name}: its frames\' time')


def others(root: Path, named: Iterable[Path]) -> list[str]:
    """Files that nothing in meta/ speaks of."""
    known = {path.relative_to(root).as_posix() for path in named} | _BESIDE
    return [f'{name}: belongs to nothing in meta/' for name in sorted(
        path.relative_to(root).as_posix() for path in root.rglob('*') if path.is_file())
        if name not in known]


def provenance(root: Path) -> list[str]:
    """Defects of the files against the digests of the provenance, where there is one."""
    path = root / digests.PROVENANCE
    if not path.exists():
        return []
    try:
        told = read_json(path, root)
        listed = {str(each['path']): each['sha256'] for each in told['files']}
        digest = told['sha256']
    except Defect as defect:
        return [str(defect)]
    except (KeyError, TypeError):
        return [f'{digests.PROVENANCE}: does not list the files with their digests']
    found = digests.files(root)
    defects = [f'{each["path"]}: is not the file that the provenance names' for each in found
               if listed.get(str(each['path'])) not in (None, each['sha256'])]
    if not defects and digest != digests.of_files(found):
        defects.append(f'{digests.PROVENANCE}: sha256 is not that of the files')
    return defects


def _no_constant(text: str) -> float:
    raise ValueError(f'{text} is no JSON')
