"""The plan of a warehouse aisle: solid boxes, and who can see whom between them.

      y ^   wall ==========================================
        |   [ rack ][ rack ]   gap   [ rack ][ rack ]
        |   - - - - - - - - lane line - - - - - - - - > x
        |   [ rack ][ rack ]   gap   [ rack ][ rack ]
            wall ==========================================
"""

import dataclasses
import math

Point = tuple[float, float]
BAY_M = 2.0
WALL_M = 0.2


@dataclasses.dataclass(frozen=True)
class Box:
    """An upright box on the floor, seen from above, in metres."""

    x0: float
    y0: float
    x1: float
    y1: float

    def grown(self, margin_m: float) -> 'Box':
        return Box(self.x0 - margin_m, self.y0 - margin_m, self.x1 + margin_m, self.y1 + margin_m)

    def crossed(self, a: Point, b: Point) -> bool:
        """Whether the segment from a to b touches the box (the slab method)."""
        enter, leave = 0.0, 1.0
        for start, end, low, high in ((a[0], b[0], self.x0, self.x1),
                                      (a[1], b[1], self.y0, self.y1)):
            run = end - start
            if run == 0.0:
                if not low <= start <= high:
                    return False
                continue
            near, far = sorted(((low - start) / run, (high - start) / run))
            enter, leave = max(enter, near), min(leave, far)
        return enter <= leave


@dataclasses.dataclass(frozen=True)
class Aisle:
    """A straight aisle along +x between two rows of racks, inside a closed hall."""

    x_m: tuple[float, float]
    half_width_m: float
    rack_depth_m: float
    rack_height_m: float
    passage_m: float                                # free space behind the racks, to the wall
    gaps_left: tuple[tuple[float, float], ...]      # [from, to] along x, on the side of +y
    gaps_right: tuple[tuple[float, float], ...]
    lane_line_width_m: float
    obstacles: tuple[Box, ...] = ()                 # as high as the racks, anywhere

    @property
    def hall_half_width_m(self) -> float:
        return self.half_width_m + self.rack_depth_m + self.passage_m

    def racks(self) -> list[Box]:
        """Bays of at most BAY_M, left row first, in the order of x; then the obstacles."""
        bays = []
        for side, gaps in ((1.0, self.gaps_left), (-1.0, self.gaps_right)):
            y0, y1 = sorted((side * self.half_width_m,
                             side * (self.half_width_m + self.rack_depth_m)))
            x = self.x_m[0]
            for begin, end in (*sorted(gaps), (self.x_m[1], self.x_m[1])):
                count = math.ceil((begin - x) / BAY_M - 1e-9)
                bays += [Box(x + (begin - x) * i / count, y0, x + (begin - x) * (i + 1) / count, y1)
                         for i in range(count)]
                x = end
        return [*bays, *self.obstacles]

    def walls(self) -> list[Box]:
        (x0, x1), y = self.x_m, self.hall_half_width_m
        return [Box(x0 - WALL_M, y, x1 + WALL_M, y + WALL_M),
                Box(x0 - WALL_M, -y - WALL_M, x1 + WALL_M, -y),
                Box(x0 - WALL_M, -y, x0, y),
                Box(x1, -y, x1 + WALL_M, y)]


@dataclasses.dataclass(frozen=True)
class Sight:
    """Line of sight of a sensor among boxes, to the axis of a person."""

    boxes: tuple[Box, ...]
    range_m: float

    def sees(self, sensor: Point, person: Point) -> bool:
        return math.dist(sensor, person) <= self.range_m and not any(
            box.crossed(sensor, person) for box in self.boxes)
