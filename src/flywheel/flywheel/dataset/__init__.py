"""Data sets from edge cases: GR00T's LeRobot v2 and LeRobot v3.0, resampled without look-ahead."""
