"""`python -m harness` is the command `harness`."""

import sys


def main() -> int:
    """Return its exit code: that of a stop also where Ctrl-C comes in the half second that its imports take."""
    try:
        from harness.cli.main import main as command

        return command()
    except KeyboardInterrupt:
        print("error: stopped", file=sys.stderr)
        return 75


if __name__ == "__main__":
    sys.exit(main())
