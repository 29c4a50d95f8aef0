"""Everything but the node works on a machine without ROS."""

import pkgutil
import subprocess
import sys

import edge_case_recorder


def test_everything_but_the_node_imports_without_rclpy():
    names = [module.name for module in pkgutil.walk_packages(
        edge_case_recorder.__path__, 'edge_case_recorder.')
        if not module.name.endswith(('.node', '.__main__'))]
    assert 'edge_case_recorder.ring' in names
    assert 'edge_case_recorder.triggering.engine' in names
    script = ("import importlib, sys; sys.modules['rclpy'] = None\n"
              f"for name in {names!r}: importlib.import_module(name)")
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
