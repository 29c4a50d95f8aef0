"""The `launch` verb: `ros2 launch PACKAGE FILE` or `ros2 launch PATH`, and NAME:=VALUE."""

import argparse
import os
from collections import OrderedDict
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
from ros2cli.command import CommandExtension

from launch import LaunchDescription, LaunchService


class LaunchCommand(CommandExtension):
    """Run a launch file."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        parser.add_argument('-n', '--noninteractive', action='store_true',
                            help='run without a terminal')
        parser.add_argument('-d', '--debug', action='store_true', help='verbose launch messages')
        parser.add_argument('-s', '--show-args', '--show-arguments', action='store_true',
                            help='show the launch file\'s arguments')
        parser.add_argument('package_name', help='a package, or the path of a launch file')
        parser.add_argument('launch_file_name', nargs='?', help='a launch file of the package')
        parser.add_argument('launch_arguments', nargs='*', help='<name>:=<value>')

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int | str:
        words = [word for word in (args.launch_file_name, *args.launch_arguments) if word]
        if Path(args.package_name).is_file():
            path = Path(args.package_name).resolve()
        else:
            if not words:
                return f'no launch file {args.package_name!r}, and no file of a package named'
            try:
                share = Path(get_package_share_directory(args.package_name))
            except PackageNotFoundError:
                return f'package {args.package_name!r} not found in AMENT_PREFIX_PATH'
            name = words.pop(0)
            # os.walk, for pathlib's globs do not follow the links of a symlink install.
            found = [Path(base) / name for base, _, files in os.walk(share, followlinks=True)
                     if name in files]
            if len(found) != 1:
                return f'{len(found)} files named {name!r} in {share}'
            path = found[0]
        pairs = OrderedDict(word.split(':=', 1) for word in words if ':=' in word)
        if len(pairs) != len(words):
            return f'launch arguments are <name>:=<value>; got {" ".join(words)!r}'
        source = AnyLaunchDescriptionSource(str(path))
        service = LaunchService(argv=words, noninteractive=args.noninteractive, debug=args.debug)
        if args.show_args:
            description = source.get_launch_description(service.context)
            for argument in description.get_launch_arguments():
                default = argument.default_value
                shown = ('' if default is None else
                         ''.join(part.perform(service.context) for part in default))
                print(f'    {argument.name!r}:\n        {argument.description}\n'
                      f'        (default: {shown!r})')
            return 0
        service.include_launch_description(LaunchDescription([
            IncludeLaunchDescription(source, launch_arguments=list(pairs.items()))]))
        return service.run()
