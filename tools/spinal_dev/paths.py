"""Where things are. Everything generated lies in one git-ignored folder, or in colcon's three."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
LOCKS = TOOLS / 'locks'
STATE = ROOT / '.spinal'
ENVIRONMENTS = STATE / 'env'
LOGS = STATE / 'log'
SYSTEM_ROS = Path('/opt/ros/jazzy')
PACKAGE_FOLDERS = (ROOT / 'src', ROOT / 'isaac_bridge')
