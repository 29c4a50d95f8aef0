"""Everything but the front end works where there is no ROS."""

import subprocess
import sys

import pytest

PURE = ('world', 'documents', 'robot', 'scenario', 'layout', 'people', 'outline', 'drive', 'pace',
        'arm', 'arm_drive', 'visibility', 'oracle', 'parameters', 'engines', 'engines.egl',
        'engines.arm', 'engines.scene', 'engines.mujoco_world', 'engines.mujoco_lidar',
        'entities', 'crowd', 'frontend.machine', 'frontend.lockstep',
        'frontend.pattern', 'frontend.library', 'frontend.geometry',
        'engines.common', 'engines.wheels', 'engines.lidar', 'engines.mujoco_check', 'stage.author',
        'stage.description', 'stage.check', 'stage.validation', 'stage.command')


@pytest.mark.parametrize('module', PURE)
def test_imports_without_rclpy(module: str) -> None:
    code = f"import sys; sys.modules['rclpy'] = None; import isaac_bridge.{module}"
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)
