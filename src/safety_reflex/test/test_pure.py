"""What decides must not need ROS: every pure module imports with rclpy blocked."""

import subprocess
import sys

PURE = (
    'black_box', 'cdr', 'commander', 'derivation', 'fields', 'flags', 'gate', 'guard', 'joints',
    'latency', 'markers', 'motion', 'odometry', 'parameters', 'profile', 'promises', 'publishers',
    'realtime', 'reasons', 'reflex', 'scan_check', 'scanner', 'settings', 'shapes', 'states',
    'times', 'yaml_file')


def test_pure_modules_import_without_rclpy():
    code = ('import sys; sys.modules["rclpy"] = None\n'
            + '\n'.join(f'import safety_reflex.{name}' for name in PURE))
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)
