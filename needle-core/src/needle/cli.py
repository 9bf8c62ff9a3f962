"""The command `needle`: its own subcommands, and those that other packages add through `needle.commands`.

The contract of that entry-point group is a function `register(subparsers) -> None`: it adds a parser and gives it
`set_defaults(run=function)`, where the function takes the parsed arguments and returns the exit status.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import needle
from needle import doctor, entries
from needle.errors import DeviceError, NeedleError, UnsupportedError
from needle.plugin import one_line
from needle.registry import Plugin, registry

GROUP = "needle.commands"  # the entry-point group of subcommands
ELSEWHERE = {"train": "needle-nn[train]"}  # subcommands that are worth naming although they are not installed

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_EXAMPLES = """examples:
  needle devices                       what there is to compute on
  needle doctor                        why a device is missing, and what each can do
  needle doctor -v                     the same, with the traceback of a plug-in that failed
  needle doctor --isolate              the same, each plug-in in a process of its own, where it may crash or hang
  needle train digits --device cpu     train a network (from the package needle-nn)

environment:
  NEEDLE_DEVICE=cuda:1     the default device, otherwise the ready one of highest priority
  NEEDLE_DISABLE=cuda,cpu  plug-ins that are not to be loaded
  NEEDLE_PROBE=isolated    probe each plug-in in a process of its own, so that one that crashes is told of
  NEEDLE_PROBE_SECONDS=30  how long a plug-in may take to tell its devices
  NEEDLE_SYNC=1            wait after each op, so that a failure is raised where it happened
  NEEDLE_VALIDATE=1        compare every native op with the reference, and stop where they differ
  NEEDLE_COURSE=1          the habits of CMU 10-714's Needle, for homework code and its tests
  NEEDLE_BACKEND=np        with it: plain NumPy arrays under the tensors (nd: Needle's own, the default)
  NEEDLE_DEBUG=1           show the traceback of an error, not only its line
  NEEDLE_LOG=compile       tell when, and why, needle.compile captures a function

exit status: 0 if done, 1 for an error (one line on the standard error), 2 for wrong usage."""

_DEVICES = """Each device on a line; the default, on which new tensors are made, is marked *.
A plug-in without a device is listed as well, with the reason."""

_DOCTOR = """Tells everything that a question about an installation needs: versions, environment variables,
the state of each plug-in with its reason and remedy, and for each device its element types, its memory,
and its primitives: native (its own), composed (made of native ones), or run on the host."""

_INCLUDE_DIR = """The folder of the C++ headers that backends share:
  c++ -I$(needle include-dir) ..."""

_CMAKE_DIR = """The folder in which CMake finds the package `needle`:
  cmake -Dneedle_DIR=$(needle cmake-dir) ...      find_package(needle CONFIG), then link needle::headers"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.run is not _elsewhere:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        status: int = args.run(args)
        sys.stdout.flush()  # here, where a closed pipe can be told from other failures
        return status
    except NeedleError as error:
        if os.environ.get("NEEDLE_DEBUG") == "1":
            raise
        print(f"needle: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # what shells give for a command ended by Ctrl-C
    except BrokenPipeError:  # the reader of the pipe, `head` perhaps, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's own flush at exit then has a reader
        return 141  # what shells give for a command ended by SIGPIPE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="needle",
        description="Needle: a deep learning framework whose devices are plug-ins.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"needle-core {needle.__version__}")
    parser.set_defaults(run=lambda args: _usage(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    _add(commands, "devices", "list the devices", _DEVICES, _devices)
    checkup = _add(commands, "doctor", "examine the installation", _DOCTOR, _doctor)
    checkup.add_argument("--json", action="store_true", help="print one JSON object, for programs and bug reports")
    checkup.add_argument("--isolate", action="store_true", help="ask each plug-in and device in a process of its own")
    checkup.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    _add(commands, "include-dir", "print where the C++ headers are", _INCLUDE_DIR, _include_dir)
    _add(commands, "cmake-dir", "print where the CMake package is", _CMAKE_DIR, _cmake_dir)
    _add_others(commands)
    return parser


def _add(
    commands: Subparsers, name: str, help: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=help, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def _add_others(commands: Subparsers) -> None:
    """The subcommands of other packages; one that fails is told of and left out."""
    for entry in entries.find(GROUP)[0]:
        try:
            entry.load()(commands)
        except (Exception, SystemExit) as error:
            of = entries.source(entry.dist)
            print(f"needle: the command '{entry.name}' of {of} is broken: {one_line(error)}", file=sys.stderr)
    for name, package in ELSEWHERE.items():
        if name not in commands.choices:
            parser = commands.add_parser(name, help=f"(in {package}, which is not installed)", add_help=False)
            parser.set_defaults(run=_elsewhere)


def _usage(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 2


def _elsewhere(args: argparse.Namespace) -> int:
    package = ELSEWHERE[args.command]
    raise UnsupportedError(f"{args.command} is in '{package.partition('[')[0]}': pip install '{package}'")


def _devices(args: argparse.Namespace) -> int:
    try:
        default = str(needle.default_device())
        note = "* the default; `needle doctor` tells more"
    except DeviceError as error:  # NEEDLE_DEVICE names one that is not there
        default, note = "", f"no default: {error}"
    rows = [row for plugin in registry.plugins() for row in _rows(plugin, default)]
    print(doctor.table([("", "NAME", "INDEX", "STATE", "DESCRIPTION"), *rows]))
    print(note)
    return 0


def _rows(plugin: Plugin, default: str) -> list[tuple[str, ...]]:
    if not plugin.devices:
        return [("", plugin.name, "-", plugin.state.name, plugin.reason)]
    return [
        ("*" if default == f"{plugin.name}:{i}" else "", plugin.name, str(i), plugin.state.name, description)
        for i, description in enumerate(plugin.devices)
    ]


def _doctor(args: argparse.Namespace) -> int:
    with _output_kept():
        report = doctor.examine(isolate=args.isolate)
    print(doctor.as_json(report) if args.json else doctor.as_text(report, tracebacks=args.verbose))
    return 0


@contextlib.contextmanager
def _output_kept() -> Iterator[None]:
    """What native code of a plug-in writes meanwhile goes to the standard error, lest it mix with the report."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _include_dir(args: argparse.Namespace) -> int:
    print(Path(__file__).parent / "include")
    return 0


def _cmake_dir(args: argparse.Namespace) -> int:
    print(Path(__file__).parent / "cmake")
    return 0
