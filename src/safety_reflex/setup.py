from setuptools import find_packages, setup

package_name = 'safety_reflex'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    maintainer='Spinal maintainers',
    maintainer_email='maintainers@spinal.example',
    description='The reflex that stops a robot for every object in its path, whatever the policy says.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'safety_reflex = safety_reflex.node:main',
            'safety_monitor = safety_reflex.monitor_node:main',
            'safety_watchdog = safety_watchdog.main:main',
            'fields = safety_reflex.derivation:main',
        ],
        'node_parameters': [
            'safety_reflex.safety_reflex = safety_reflex.parameters:ReflexParameters',
            'safety_reflex.safety_monitor = safety_reflex.parameters:MonitorParameters',
            'safety_reflex.SafetyMonitor = safety_reflex.parameters:MonitorParameters',
        ],
        'rclpy_components': [
            'SafetyMonitor = safety_reflex.monitor_node:SafetyMonitor',
        ],
    },
)
