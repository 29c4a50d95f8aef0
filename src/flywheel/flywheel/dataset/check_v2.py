"""Defects of a data set in LeRobot v2 with GR00T's modality.json."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from . import check_files, check_rows
from .check_files import Defect
from .check_meta import floats, modality, numbers, totals

_META = ('info.json', 'episodes.jsonl', 'tasks.jsonl', 'modality.json', 'stats.json')


def check(root: Path, info: Any) -> list[str]:
    """Raises Defect where nothing else can be looked at."""
    defects = check_files.info(info, 'v2')
    features, fps = info['features'], float(info['fps'])
    meta = root / 'meta'
    tasks = numbers(check_files.read_json_lines(meta / 'tasks.jsonl', root), 'task_index',
                    'meta/tasks.jsonl')
    episodes = numbers(check_files.read_json_lines(meta / 'episodes.jsonl', root),
                       'episode_index', 'meta/episodes.jsonl')
    texts = {row.get('task') for row in tasks.values()}
    named = [meta / name for name in _META]
    values: dict[str, list[NDArray[Any]]] = {name: [] for name in floats(features)}
    first_row, videos = 0, 0
    for number, told in episodes.items():
        where = {'episode_chunk': number // max(1, int(info.get('chunks_size') or 1000)),
                 'episode_index': number}
        defects += [f'meta/episodes.jsonl: episode {number} has the task {text!r}, which is none'
                    for text in told.get('tasks', ()) if text not in texts]
        try:
            path = check_files.path_in(root, info['data_path'], **where)
            named.append(path)
            table = check_files.read_parquet(path, root)
        except Defect as defect:
            defects.append(str(defect))
            continue
        name = path.relative_to(root).as_posix()
        columns, found = check_rows.arrays(table, features, name)
        defects += found
        defects += check_rows.episode(columns, number, first_row, told.get('length', -1), fps,
                                      tasks, name)
        first_row += table.num_rows
        for feature in values:
            if feature in columns:
                values[feature].append(columns[feature])
        for key, feature in features.items():
            if feature.get('dtype') != 'video':
                continue
            video = check_files.path_in(root, str(info['video_path']), video_key=key, **where)
            named.append(video)
            videos += 1
            defects += check_files.moving(video, root, feature, table.num_rows, fps)
    defects += totals(info, {'total_episodes': len(episodes), 'total_frames': first_row,
                             'total_tasks': len(tasks), 'total_videos': videos})
    defects += check_files.splits(info.get('splits'), len(episodes))
    for name, look in (('stats.json', lambda told: check_rows.statistics(
            told, features, values, values, 'meta/stats.json')),
            ('modality.json', lambda told: modality(told, features))):
        try:
            defects += look(check_files.read_json(meta / name, root))
        except Defect as defect:
            defects.append(str(defect))
    return defects + check_files.others(root, named) + check_files.provenance(root)
