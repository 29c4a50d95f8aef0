"""Two drives of one seed as a film: the base above, the candidate below, from above."""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from ..episode.drive import Episode
from ..robot import Robot
from ..scenario import PERSON_RADIUS_M, Scenario

WIDTH, RATE_HZ, SPEED_UP = 960, 20, 2
_PANEL = 230
_BACK, _RACK, _INK = (255, 255, 255), (211, 206, 201), (60, 48, 34)
_PERSON, _ROBOT, _TRAIL = (91, 73, 209), (180, 119, 31), (225, 200, 170)


def film(scenario: Scenario, robot: Robot, base: Episode, candidate: Episode) -> bytes:
    """WebM (VP8), which every browser plays; twice as fast as it was."""
    panels = [_Panel(scenario, robot, base, 'base'),
              _Panel(scenario, robot, candidate, 'candidate')]
    seconds = max(base.seconds, candidate.seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'film.webm'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'VP80'), RATE_HZ,
                                 (WIDTH, 2 * _PANEL))
        if not writer.isOpened():
            return b''
        for t in np.arange(0.0, seconds, SPEED_UP / RATE_HZ):
            writer.write(np.vstack([panel.at(float(t)) for panel in panels]))
        writer.release()
        return path.read_bytes()


class _Panel:
    def __init__(self, scenario: Scenario, robot: Robot, episode: Episode, name: str) -> None:
        self._rows, self._name, self._episode = episode.rows, name, episode
        self._outline = np.array(robot.outline)
        low = min(scenario.start[0], scenario.goal[0], float(episode.rows[:, 1].min())) - 2.0
        high = max(scenario.start[0], scenario.goal[0], float(episode.rows[:, 1].max())) + 2.0
        self._scale, self._low = WIDTH / (high - low), low
        self._middle = (scenario.start[1] + scenario.goal[1]) / 2
        self._ground = np.full((_PANEL, WIDTH, 3), _BACK, np.uint8)
        for box in scenario.aisle.racks():
            cv2.rectangle(self._ground, self._pixel(box.x0, box.y1), self._pixel(box.x1, box.y0),
                          _RACK, -1)
        gx, gy = scenario.goal
        cv2.drawMarker(self._ground, self._pixel(gx, gy), _INK, cv2.MARKER_CROSS, 12, 2)

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        return (round((x - self._low) * self._scale),
                round(_PANEL / 2 - (y - self._middle) * self._scale))

    def at(self, t: float) -> np.ndarray:
        picture = self._ground.copy()
        row = self._rows[min(int(np.searchsorted(self._rows[:, 0], t)), len(self._rows) - 1)]
        done = self._rows[self._rows[:, 0] <= t]
        trail = np.array([self._pixel(x, y) for x, y in done[::4, 1:3]], np.int32)
        cv2.polylines(picture, [trail.reshape(-1, 1, 2)], False, _TRAIL, 4, cv2.LINE_AA)
        for person in range((len(row) - 5) // 4):
            x, y = row[5 + 4 * person:7 + 4 * person]
            cv2.circle(picture, self._pixel(x, y), max(3, round(PERSON_RADIUS_M * self._scale)),
                       _PERSON, -1, cv2.LINE_AA)
        x, y, yaw, speed = row[1:5]
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        corners = [self._pixel(*point) for point in self._outline @ turn.T + (x, y)]
        cv2.fillPoly(picture, [np.array(corners, np.int32)], _ROBOT, cv2.LINE_AA)
        text = f'{self._name}   {t:5.1f} s   {speed:.2f} m/s'
        cv2.putText(picture, text, (12, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _INK, 1, cv2.LINE_AA)
        return picture
