from pathlib import Path

from setuptools import find_packages, setup

package_name = 'bringup'
# launch/, config/ and the model repository stand at the top of the workspace, where people look
# for them; this package installs them.
top = Path('..') / '..'


def tree(folder: str) -> list[tuple[str, list[str]]]:
    found = {}
    for path in sorted((top / folder).rglob('*')):
        if path.is_file() and '__pycache__' not in path.parts:
            place = f'share/{package_name}/{path.parent.relative_to(top)}'
            found.setdefault(place, []).append(str(path))
    return list(found.items())


setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={'bringup': ['demo/*.html.j2']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        *tree('launch'),
        *tree('config'),
        *tree('docker/triton'),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    maintainer='Spinal maintainers',
    maintainer_email='maintainers@spinal.example',
    description='Turns a target profile into running nodes; the demo, its report, and replay.',
    license='Apache-2.0',
    entry_points={'console_scripts': ['make_keystore = bringup.security.keystore:main']},
)
