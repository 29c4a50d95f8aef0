"""A stage in NVIDIA PhysX (`ovphysx`, which needs no Kit): columns by prim path, and rays.

Values go through ovphysx's sessions. Rays are its scene queries, which it calls deprecated and
offers no successor for; they are the only way to ask its scene for distances.

PhysX computes in single precision, and here on the CPU: that holds for the whole process.
"""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import ovstage
import warp
from ovphysx import PhysX, SceneQueryMode, set_global_config
from ovphysx.samples.python_samples.schema_support import physx_schema_paths
from ovphysx.types import GlobalConfigKey, ObjectScope, SimObjectType

from ..stage import paths

warp.config.log_level = warp.LOG_ERROR        # else it tells that there is no GPU
warnings.filterwarnings('ignore', message='ovphysx scene queries are deprecated')
warnings.filterwarnings('ignore', message='ovphysx is in CPU-only mode')

LINKS = SimObjectType.ARTICULATION_LINK
JOINTS = SimObjectType.ARTICULATION_JOINT
ROBOT = SimObjectType.ARTICULATION
MOVED = SimObjectType.RIGID_BODY        # people and props: what is kinematic
_ORDINAL = 1


def _prepare_process() -> None:
    """Once, before the first scene."""
    if not PhysX.get_cpu_mode():
        PhysX.set_cpu_mode(True)
        # One robot is no work to share; handing it to threads costs more than doing it.
        set_global_config(GlobalConfigKey.NUM_THREADS, 0)
        ovstage.population.register_usd_schemas([str(path) for path in physx_schema_paths()])


class PhysxScene:
    """One loaded stage. Raises RuntimeError for what PhysX refuses."""

    def __init__(self, text: str) -> None:
        """text: of a .usda file."""
        _prepare_process()
        self._physx = PhysX()
        self._stage = ovstage.Stage('spinal')
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'stage.usda')
            file.write_text(text)
            ovstage.population.open_usd(self._stage, str(file), ordinal=_ORDINAL,
                                        domains=ovstage.PopulationDomain.ALL)
        self._stage.advance_write_floor(ordinal=_ORDINAL).wait()
        self._physx.wait_task(self._physx.attach_ovstage(self._stage, read_ordinal=_ORDINAL))
        self._queries = {kind: self._physx.query(kind, scope=ObjectScope.ALL).wait()
                         for kind in (LINKS, JOINTS, ROBOT, MOVED)}
        self._rows: dict[tuple[SimObjectType, str], tuple[str, ...]] = {}
        self._names: dict[int, str] = {}
        self._is_robot: dict[int, bool] = {}

    def step(self, dt: float) -> None:
        self._physx.step_sync(dt)

    def read(self, kind: SimObjectType,
             attributes: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        """By attribute, then by prim path; the arrays are the reader's to keep."""
        columns: dict[str, dict[str, np.ndarray]] = {}
        query = self._queries[kind]
        with self._physx.read(query, list(attributes)).wait() as result:
            while (group := result.fetch_next().wait()) is not None:
                name = self._name(group.attribute)
                where = self._order(kind, f'read {name}', group.prim_list)
                rows = group.tensors if group.is_array else group.tensors[0].numpy()
                columns.setdefault(name, {}).update(
                    (path, np.array(row.numpy() if group.is_array else row).reshape(-1))
                    for path, row in zip(where, rows, strict=True))
                del group, rows         # a session ends when nothing looks at it any more
        return columns

    def write(self, kind: SimObjectType, columns: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """By attribute, then by prim path: of every prim of the kind."""
        attributes = list(columns)
        with self._physx.write(self._queries[kind], attributes).wait() as session:
            while (group := session.fetch_next().wait()) is not None:
                name = attributes[group.attribute_index]
                where = self._order(kind, f'write {name}', group.prim_list)
                # Of joints each has a tensor of its own, one row an axis.
                rows = ([tensor.numpy() for tensor in group.tensors] if kind is JOINTS
                        else group.tensors[0].numpy())
                for row, path in zip(rows, where, strict=True):
                    row[...] = columns[name][path]
                session.commit(group).wait()

    def _name(self, token: int) -> str:
        if token not in self._names:
            self._names[token] = self._queries[ROBOT].dictionary.token_to_string(token)
        return self._names[token]

    def _order(self, kind: SimObjectType, column: str, prims: int) -> tuple[str, ...]:
        """The paths of a column's rows: looked up once, since nothing joins or leaves a scene."""
        if (kind, column) not in self._rows:
            self._rows[kind, column] = tuple(
                self._queries[kind].dictionary.get_path_strings(prims))
        return self._rows[kind, column]

    def distances(self, origin: np.ndarray, directions: np.ndarray, reach: float) -> np.ndarray:
        """(n,) along unit directions (n, 3) to whatever is not the robot; +inf beyond reach."""
        start = tuple(origin.tolist())
        found = np.full(len(directions), np.inf)
        for i, direction in enumerate(directions.tolist()):
            for hit in self._physx.raycast(start, direction, reach, SceneQueryMode.ALL):
                if hit['distance'] < found[i] and not self._of_robot(hit['rigid_body']):
                    found[i] = hit['distance']
        return found

    def hits(self, origin: Sequence[float], direction: Sequence[float],
             reach: float) -> dict[str, float]:
        """The distance to every shape on the way, by its path."""
        found = self._physx.raycast(tuple(origin), tuple(direction), reach, SceneQueryMode.ALL)
        where = self._physx.get_scene_query_paths_from_ids([hit['collision'] for hit in found])
        return {path: hit['distance'] for path, hit in zip(where, found, strict=True)}

    def _of_robot(self, body: int) -> bool:
        if body not in self._is_robot:
            (path,) = self._physx.get_scene_query_paths_from_ids([body])
            self._is_robot[body] = path.startswith(f'{paths.ROBOT}/')
        return self._is_robot[body]

    def close(self) -> None:
        for query in self._queries.values():
            query.close_sync()
        self._queries = {}
        self._physx.wait_task(self._physx.detach_ovstage())
        self._physx.destroy()
        self._stage.destroy()

