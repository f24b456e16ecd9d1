"""The entry of the command: `cxr-infer` and `python -m cxr_infer`."""

from __future__ import annotations

import sys

from cxr_infer.version import __version__


def main() -> None:
    """Answer `--version` at once; everything else takes the imports of the command line first."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"cxr-infer {__version__}\n")
        return
    try:
        from cxr_infer.cli.commands import main as command_line

        command_line()
    except KeyboardInterrupt:  # as it was imported; commands have their own way to end
        sys.exit(130)
    except ImportError as error:  # of what the command line itself needs; commands tell of the rest
        from cxr_infer.faults import fault_line

        sys.exit(f"error: {fault_line(error)}")


if __name__ == "__main__":
    main()
