from setuptools import find_packages, setup

package_name = 'isaac_bridge'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['schemas/*.json', 'conformance/*.json', 'suite/*.j2']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    maintainer='Spinal maintainers',
    maintainer_email='maintainers@spinal.example',
    description='Simulated worlds behind one protocol, and their ROS 2 front end.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'world = isaac_bridge.node:main',
            'stage = isaac_bridge.stage.command:main',
            'static_gate = isaac_bridge.static_gate.__main__:main',
            'isaac_doctor = isaac_bridge.isaac.doctor:main',
            'conformance = isaac_bridge.conformance.__main__:main',
            'scenario_from_case = isaac_bridge.case.__main__:main',
            'gate = isaac_bridge.suite.__main__:main',
        ],
        'node_parameters': [
            'isaac_bridge.world = isaac_bridge.parameters:Parameters',
        ],
        'rclpy_components': [
            'World = isaac_bridge.node:World',
        ],
    },
)
