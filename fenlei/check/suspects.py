"""Labels that look wrong: documents to which a model that never saw them gives another label with confidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from fenlei import linear
from fenlei.auto import decide
from fenlei.blending import blend
from fenlei.check.findings import FINE, LOOK, Finding, listed, quoted, share
from fenlei.check.rows import Rows
from fenlei.corpus import Document
from fenlei.counting import build_pipeline
from fenlei.linear import Linear
from fenlei.pipeline import Encoded, Ragged
from fenlei.recipe import Recipe
from fenlei.screen import plural

FOLDS = 5
FEW = 10  # a class of fewer documents is not judged: the model hardly knows it
SURE = 0.9  # on easy data the mean of a class comes so close to 1 that no wrong label would reach it
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Judgement:
    """What models that had not seen a document say of it; all arrays are ``(N,)``.

    ``given`` is the probability of the document's own label, ``rival`` that of the likeliest other one, whose place in
    ``classes`` is ``rivals``; ``targets`` are the places of the own labels.
    """

    classes: list[str]
    targets: Ints
    given: Floats
    rival: Floats
    rivals: Ints

    def enter(self, rows: Ints, probabilities: Floats) -> None:
        """Keep what was found of some documents, ``(len(rows), C)``."""
        own = np.arange(len(rows)), self.targets[rows]
        self.given[rows] = probabilities[own]
        others = probabilities.copy()
        others[own] = -1.0
        self.rivals[rows] = others.argmax(1)
        self.rival[rows] = others.max(1)


class Suspect(NamedTuple):
    """A document by its row, the label that the model proposes in place of its own, and how probable that one is."""

    row: int
    suggested: str
    probability: float


def self_confidence(found: Judgement) -> Floats:
    """The probability of the document's own label: the lower, the more suspicious."""
    return found.given


def normalized_margin(found: Judgement) -> Floats:
    """The probability of the own label less that of the likeliest other one."""
    return found.given - found.rival


def adjusted_confidence(found: Judgement) -> Floats:
    """The own label's probability less its mean over the documents of that label, so that hard classes do not lead."""
    return np.asarray(found.given - expected(found)[found.targets])


def log_ratio(found: Judgement) -> Floats:
    """``ln(given / rival)``: the margin in scores rather than in probabilities."""
    least = np.finfo(np.float64).tiny
    return np.asarray(np.log(np.maximum(found.given, least)) - np.log(np.maximum(found.rival, least)))


RULES: dict[str, Callable[[Judgement], Floats]] = {
    "self-confidence": self_confidence,
    "normalized margin": normalized_margin,
    "adjusted self-confidence": adjusted_confidence,
    "log ratio": log_ratio,
}
RULE = "self-confidence"  # ahead where there are many classes; with two the margins rank alike (benchmarks/flipped.py)


def expected(found: Judgement) -> Floats:
    """Each class's mean probability over the documents that carry it, ``(C,)``: the threshold of confident learning."""
    size = len(found.classes)
    counts = np.bincount(found.targets, minlength=size)
    return np.asarray(np.bincount(found.targets, found.given, size) / np.maximum(counts, 1))


def suspects(found: Judgement) -> list[Suspect]:
    """The documents whose label looks wrong, the most suspicious first.

    Confident learning (Northcutt, Jiang and Chuang 2021): another label is likelier than the document's own, and as
    probable as it is, on average, for the documents that do carry it; 0.9 is enough. They are ranked by ``RULE``, which
    of the rules put flipped labels first most reliably (benchmarks/flipped.py). Classes of fewer than 10 documents are
    not judged.
    """
    counts = np.bincount(found.targets, minlength=len(found.classes))
    confident = (found.rival > found.given) & (found.rival >= np.minimum(expected(found), SURE)[found.rivals])
    rows = np.flatnonzero(confident & (counts[found.targets] >= FEW))
    order = rows[np.argsort(RULES[RULE](found)[rows], kind="stable")]
    return [Suspect(int(row), found.classes[found.rivals[row]], float(found.rival[row])) for row in order]


def finding(documents: Sequence[Document], found: Sequence[Suspect], otherwise: str = "") -> Finding:
    """What ``suspects`` found, or the sentence that says why it did not look."""
    if otherwise or not found:
        return Finding("suspects", LOOK if otherwise else FINE, otherwise or "No label looks wrong.")
    rows = Rows.of(documents)
    pairs = Counter((rows.labels[each.row], each.suggested) for each in found).most_common()
    (label, suggested), most = pairs[0]
    often = f"most often {quoted(label)} where {quoted(suggested)} is expected, {plural(most, 'time')}"
    places = (rows.place(each.row)._replace(label=rows.labels[each.row], other_label=each.suggested) for each in found)
    return Finding(
        "suspects",
        LOOK,
        f"{share(len(found), len(documents))} labels look wrong; {often}.",
        "Read the first ones of the file and fill in its column `correct`; the model errs too.",
        len(found),
        listed(places),
        {"rule": RULE, "pairs": [[*labels, count] for labels, count in pairs[:100]]},
    )


def judge(
    documents: Sequence[Document],
    groups: Ints,
    folds: int = FOLDS,
    seed: int = 0,
    say: Say = lambda _: None,
) -> Judgement:
    """Every document by the linear model that was trained on the other folds.

    Documents of one group ``(N,)``, such as copies of a text, stay in one fold. The n-grams are counted once over all
    texts, which tells nothing of labels. One scale a fold, the likeliest on it, makes probabilities of its scores.
    Raises ValueError for fewer than two classes, more than the linear model takes, or too few texts.
    """
    rows = Rows.of(documents)
    if any(len(labels) != 1 for labels in rows.classes):
        raise ValueError("texts have several labels: only single ones can be judged")
    classes = sorted(set(rows.labels))
    check(len(classes), len(np.unique(groups)), folds)
    number = {label: place for place, label in enumerate(classes)}
    targets = np.array([number[label] for label in rows.labels], np.int64)
    recipe = decide(rows.texts, Recipe(model=None, streams=(), min_count=1), lambda _: None)
    pipeline = build_pipeline(rows.texts, recipe, len(classes))
    assert pipeline.wide is not None
    model = partial(_guess, pipeline.encode(rows.texts), targets, columns=len(pipeline.wide), classes=len(classes))
    parts = assigned(targets, groups, folds, seed)
    size = len(targets)
    found = Judgement(classes, targets, np.zeros(size), np.zeros(size), np.zeros(size, np.int64))
    costs: Sequence[float] | None = None
    with linear.unfinished_fits():
        for fold in range(folds):
            held = np.flatnonzero(parts == fold)
            probabilities, fitted = model(np.flatnonzero(parts != fold), held, costs=costs)
            costs = (fitted.cost,)  # what the first fold found best serves the others
            found.enter(held, probabilities)
            say(f"part {fold + 1} of {folds}: {fitted.dev_accuracy:.1%} of its {len(held):,} labels were foretold")
    return found


def _guess(
    encoded: Encoded,
    targets: Ints,
    rest: Ints,
    held: Ints,
    *,
    columns: int,
    classes: int,
    costs: Sequence[float] | None,
) -> tuple[Floats, Linear]:
    """Probabilities ``(H, C)`` for the ``held`` documents by a model of the ``rest``, and that model."""
    known, asked = taken(encoded, rest), taken(encoded, held)
    fitted = linear.fit(known, targets[rest], asked, targets[held], columns=columns, classes=classes, costs=costs)
    scores = fitted.scores(asked)
    return softmax(scores.astype(np.float64) * blend([scores], targets[held])[0], axis=1), fitted


def check(classes: int, groups: int, folds: int) -> None:
    """Raise ValueError where labels cannot be judged."""
    if not 2 <= classes <= linear.MOST_CLASSES:
        raise ValueError(f"{classes:,} classes: labels can be judged where there are 2 to {linear.MOST_CLASSES:,}")
    if groups < 2 * folds:
        raise ValueError(f"{groups:,} different texts are too few for {folds} folds: at least {2 * folds} are needed")


def assigned(targets: Ints, groups: Ints, folds: int, seed: int) -> Ints:
    """The fold of every document, ``(N,)``: each class is dealt out evenly in a seeded order, a group goes as one."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    order = shuffled[np.argsort(targets[first][shuffled], kind="stable")]
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(order)) % folds
    return fold[inverse]


def taken(encoded: Encoded, rows: Ints) -> Encoded:
    """The named documents."""
    return Encoded({name: _taken(column, rows) for name, column in encoded.columns.items()})


def _taken(column: Ragged, rows: Ints) -> Ragged:
    lengths = column.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    place = np.arange(offsets[-1]) + np.repeat(column.offsets[rows] - offsets[:-1], lengths)
    return Ragged(column.values[place], offsets)
