"""Defects of a data set in LeRobot v3.0."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import check_files, check_rows
from .check_files import Defect
from .check_meta import numbers, totals
from .lerobot_v3 import TASKS

_ROW = ('episode_index', 'tasks', 'length', 'data/chunk_index', 'data/file_index',
        'dataset_from_index', 'dataset_to_index', 'meta/episodes/chunk_index',
        'meta/episodes/file_index')
_VIDEO = ('chunk_index', 'file_index', 'from_timestamp', 'to_timestamp')
Place = tuple[int, int]


def check(root: Path, info: Any) -> list[str]:
    """Raises Defect where nothing else can be looked at."""
    defects = check_files.info(info, 'v3')
    features, fps = info['features'], float(info['fps'])
    named = [root / 'meta/info.json', root / 'meta/stats.json', root / TASKS]
    tasks = check_files.read_parquet(root / TASKS, root)
    if set(tasks.column_names) != {'task', 'task_index'}:
        raise Defect(f'{TASKS}: its columns are not task and task_index')
    known = numbers([{'task_index': each} for each in tasks['task_index'].to_pylist()],
                    'task_index', TASKS)
    texts = set(tasks['task'].to_pylist())
    parts = sorted((root / 'meta/episodes').glob('chunk-*/file-*.parquet'))
    if not parts:
        raise Defect('meta/episodes: has no file')
    named += parts
    rows = [row for part in parts for row in check_files.read_parquet(part, root).to_pylist()]
    episodes = numbers(rows, 'episode_index', 'meta/episodes')
    cameras = [name for name, told in features.items() if told.get('dtype') == 'video']
    defects += _rows(episodes, cameras, features, texts)
    values: dict[str, list[NDArray[Any]]] = defaultdict(list)
    lying: dict[Place, list[int]] = defaultdict(list)
    for number, row in episodes.items():
        lying[row.get('data/chunk_index'), row.get('data/file_index')].append(number)
    first_row = 0
    for place, members in lying.items():
        try:
            path = check_files.path_in(root, info['data_path'], chunk_index=place[0],
                                       file_index=place[1])
            named.append(path)
            table = check_files.read_parquet(path, root)
        except Defect as defect:
            defects.append(str(defect))
            continue
        name = path.relative_to(root).as_posix()
        columns, found = check_rows.arrays(table, features, name)
        defects += found
        defects += _data(columns, table, episodes, members, first_row, fps, known, name)
        first_row += table.num_rows
        for feature, array in columns.items():
            values[feature].append(array)
    for key in cameras:
        defects += _videos(root, info, key, episodes, fps, named)
    defects += totals(info, {'total_episodes': len(episodes), 'total_frames': first_row,
                             'total_tasks': len(known)})
    defects += check_files.splits(info.get('splits'), len(episodes))
    try:
        told = check_files.read_json(root / 'meta/stats.json', root)
        defects += check_rows.statistics(told, features, values, features, 'meta/stats.json')
    except Defect as defect:
        defects.append(str(defect))
    return defects + check_files.others(root, named) + check_files.provenance(root)


def _rows(episodes: dict[int, Any], cameras: list[str], features: Any,
          texts: set[str]) -> list[str]:
    wanted = {*_ROW, *(f'videos/{key}/{part}' for key in cameras for part in _VIDEO)}
    columns = set(next(iter(episodes.values()), {}))
    defects = [f'meta/episodes: column {name} is missing' for name in sorted(wanted - columns)]
    defects += [f'meta/episodes: column {name} is not known' for name in sorted(columns - wanted)
                if not name.startswith('stats/') or name.split('/')[1] not in features]
    for number, row in episodes.items():
        defects += [f'meta/episodes: episode {number} has the task {text!r}, which is none'
                    for text in row.get('tasks') or () if text not in texts]
    return defects


def _data(columns: check_rows.Arrays, table: pa.Table, episodes: dict[int, Any],
          members: list[int], first_row: int, fps: float, tasks: dict[int, Any],
          name: str) -> list[str]:
    """Defects of the episodes in one Parquet file."""
    defects: list[str] = []
    begins = 0
    for number in members:
        row = episodes[number]
        length = row.get('length')
        if not isinstance(length, int) or length < 1:
            return [*defects, f'meta/episodes: episode {number} has the length {length!r}']
        if (row.get('dataset_from_index'), row.get('dataset_to_index')) != (
                first_row + begins, first_row + begins + length):
            defects.append(f'meta/episodes: episode {number} lies at '
                           f'[{row.get("dataset_from_index")}, {row.get("dataset_to_index")}), '
                           f'{first_row + begins} is where it begins')
        part = {key: array[begins:begins + length] for key, array in columns.items()}
        defects += check_rows.episode(part, number, first_row + begins, length, fps, tasks,
                                      f'{name}: episode {number}')
        begins += length
    if begins != table.num_rows:
        defects.append(f'{name}: has {table.num_rows} rows, meta says {begins}')
    return defects


def _videos(root: Path, info: Any, key: str, episodes: dict[int, Any], fps: float,
            named: list[Path]) -> list[str]:
    """Defects of one camera: each file's frames are those of its episodes, one after the other."""
    lying: dict[Place, list[int]] = defaultdict(list)
    for number, row in episodes.items():
        lying[row.get(f'videos/{key}/chunk_index'),
              row.get(f'videos/{key}/file_index')].append(number)
    defects = []
    for place, members in lying.items():
        try:
            path = check_files.path_in(root, str(info['video_path']), video_key=key,
                                       chunk_index=place[0], file_index=place[1])
        except Defect as defect:
            defects.append(str(defect))
            continue
        named.append(path)
        begins = 0
        for number in members:
            row, length = episodes[number], int(episodes[number].get('length') or 0)
            told = [row.get(f'videos/{key}/{part}') for part in ('from_timestamp', 'to_timestamp')]
            right = [begins / fps, (begins + length) / fps]
            if not all(isinstance(one, float) for one in told) or not np.allclose(
                    told, right, rtol=0.0, atol=check_rows.STEP_S):
                defects.append(f'meta/episodes: episode {number} of {key} is at {told} s, '
                               f'{right} s is right')
            begins += length
        defects += check_files.moving(path, root, info['features'][key], begins, fps)
    return defects
