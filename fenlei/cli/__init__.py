"""The command line: one module a verb, holding its arguments and what it does; heavy imports stand inside functions."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO, cast

from fenlei import __version__
from fenlei.cli import (
    check,
    demo,
    explain,
    habits,
    info,
    predict,
    report,
    segment,
    serve,
    shrink,
    test,
    trace,
    train,
    vocab,
)
from fenlei.cli.arguments import Parser
from fenlei.cli.output import Unheard, visible

VERBS = (demo, check, train, test, predict, explain, trace, report, serve, shrink, info, segment, vocab)
DONE, FAILED, WRONG_CALL = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 the work failed, 2 the call was wrong."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # half a surrogate pair in a text must not end the work
    with contextlib.redirect_stderr(cast(TextIO, Unheard(sys.stderr))):
        return run(understood(sys.argv[1:] if argv is None else argv))


def run(arguments: argparse.Namespace) -> int:
    """The verb, and one line on whatever ends it."""
    warnings.showwarning = warn
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        return fail(": ".join(["stopped by hand", *map(str, stop.args)]), FAILED)
    except BrokenPipeError:  # the reader of the results, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        return fail(sentence(error), WRONG_CALL)
    except argparse.ArgumentTypeError as error:
        return fail(str(error), WRONG_CALL)
    except Exception as error:  # no traceback reaches a user
        if os.environ.get("FENLEI_DEBUG"):
            raise
        return fail(sentence(error), FAILED)
    return DONE


def understood(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of one verb; what is wrong with them ends the process with status 2."""
    top = parser()
    if argv and argv[0] in habits.VERBS:
        top.error(f"there is no verb {argv[0]!r}: use {habits.VERBS[argv[0]]}")
    arguments, unknown = top.parse_known_args(argv)
    if unknown:
        verb: Parser = arguments.parser
        verb.error(habits.refusal(unknown, verb.options))
    return arguments


def parser() -> Parser:
    """All verbs with their arguments."""
    top = Parser(
        prog="fenlei",
        description="分类: labelled text in, a recurrent text classifier of your own out.",
        epilog="fenlei VERB --help says more. Exit status: 0 done, 1 the work failed, 2 the call was wrong.",
    )
    top.add_argument("--version", action="version", version=f"fenlei {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        verb.add(verbs)
    return top


def fail(message: str, status: int) -> int:
    """One line on standard error."""
    print(f"fenlei: {visible(' '.join(message.split()))}", file=sys.stderr)
    return status


def warn(message: Warning | str, *_: object, **__: object) -> None:
    """What a library warns of, in one line on standard error: where in the code it stands is nobody's business here."""
    print(f"fenlei: {visible(' '.join(str(message).split()))}", file=sys.stderr)


def sentence(error: Exception) -> str:
    """What went wrong; a fault of fenlei's own says how to see more."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.strerror.lower()}: {os.fsdecode(error.filename)}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left where the output goes: free some"
    text = str(error) or type(error).__name__
    if isinstance(error, ValueError | OSError | ImportError | ArithmeticError | MemoryError):
        return text
    return f"{type(error).__name__}: {text} (this is a fault of fenlei; FENLEI_DEBUG=1 shows where)"
