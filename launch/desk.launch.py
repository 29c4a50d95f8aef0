from bringup.launch_target import target_launch_description


def generate_launch_description():
    return target_launch_description('desk')
