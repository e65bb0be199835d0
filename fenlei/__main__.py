"""``fenlei`` and ``python -m fenlei`` are the command line; Ctrl-C while it loads or ends shows no traceback."""

import signal
import sys


def main() -> int:
    """The exit status of the verb; it stands once the verb has ended, whatever is pressed while the process does."""
    try:
        from fenlei.cli import main as run

        status = run()
    except KeyboardInterrupt:
        print("fenlei: stopped by hand", file=sys.stderr)  # noqa: T201
        status = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    sys.exit(main())
