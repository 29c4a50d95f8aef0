from setuptools import find_packages, setup

package_name = 'edge_case_recorder'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['schemas/*.json', 'report/*.html.j2']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    maintainer='Spinal maintainers',
    maintainer_email='maintainers@spinal.example',
    description='A window before and after every edge case, as a bag, once, in the bucket.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'case_report = edge_case_recorder.report.command:main',
            'cases = edge_case_recorder.cases:main',
            'edge_case_recorder = edge_case_recorder.node:main',
            'replay_triggers = edge_case_recorder.trigger_replay:main',
            'uploader = edge_case_recorder.uploader:main',
        ],
        'node_parameters': [
            'edge_case_recorder.edge_case_recorder = edge_case_recorder.parameters:RecorderParameters',
            'edge_case_recorder.EdgeCaseRecorder = edge_case_recorder.parameters:RecorderParameters',
        ],
        'spinal_redaction': [
            'opencv = edge_case_recorder.redaction.opencv:OpenCvRedactor',
        ],
        'rclpy_components': [
            'EdgeCaseRecorder = edge_case_recorder.node:EdgeCaseRecorder',
        ],
    },
)
