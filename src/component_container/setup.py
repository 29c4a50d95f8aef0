from setuptools import find_packages, setup

package_name = 'component_container'

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
    description='A container for composable rclpy nodes that serves composition_interfaces.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'component_container = component_container.main:main',
        ],
    },
)
