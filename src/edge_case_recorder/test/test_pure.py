"""Everything but the node works on a machine without ROS."""

import pkgutil
import subprocess
import sys

import edge_case_recorder


def test_everything_but_the_node_imports_without_rclpy():
    names = [module.name for module in pkgutil.iter_modules(edge_case_recorder.__path__)
             if module.name != 'node']
    assert 'ring' in names
    script = ("import importlib, sys; sys.modules['rclpy'] = None\n"
              f"for name in {names!r}: importlib.import_module('edge_case_recorder.' + name)")
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
