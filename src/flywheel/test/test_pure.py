"""Nothing in this package needs ROS; what needs JAX or the world is apart from what does not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flywheel

PACKAGE = Path(flywheel.__file__).parent
PURE = ('wire', 'language', 'expert', 'samples', 'dataset')


def modules_imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {name.name.split('.')[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split('.')[0])
    return found


def test_no_module_imports_rclpy():
    for path in PACKAGE.rglob('*.py'):
        assert 'rclpy' not in modules_imported(path), path


@pytest.mark.parametrize('module', PURE)
def test_pure_modules_need_numpy_alone(module):
    block = ''.join(f'sys.modules[{name!r}] = None; '
                    for name in ('rclpy', 'mujoco', 'jax', 'onnx', 'onnxruntime', 'isaac_bridge'))
    subprocess.run([sys.executable, '-c',
                    f'import sys; {block}import flywheel.amr_policy.{module}'], check=True)
