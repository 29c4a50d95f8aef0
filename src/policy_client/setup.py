from setuptools import find_packages, setup

package_name = 'policy_client'

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
    description='A GR00T policy over Triton with a deadline, a fallback and bounded staleness.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'check = policy_client.check:main',
            'policy_client = policy_client.node:main',
            'replay = policy_client.replay.__main__:main',
            'validate_repository = policy_client.validate_repository:main',
        ],
        'node_parameters': [
            'policy_client.PolicyClient = policy_client.parameters:Parameters',
        ],
        'rclpy_components': [
            'PolicyClient = policy_client.node:PolicyClient',
        ],
    },
)
