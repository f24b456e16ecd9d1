"""Entry point of `cxr-infer` and `python -m cxr_infer`."""

from __future__ import annotations

import sys

from cxr_infer.version import __version__


def main() -> None:
    """Print the version at once if asked for; import the command line for everything else."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"cxr-infer {__version__}\n")
        return
    try:
        from cxr_infer.cli.commands import main as command_line

        command_line()
    except KeyboardInterrupt:  # during the import; commands handle it themselves
        sys.exit(130)
    except ImportError as error:  # of packages that the command line itself needs
        from cxr_infer.faults import fault_line

        sys.exit(f"error: {fault_line(error)}")


if __name__ == "__main__":
    main()
