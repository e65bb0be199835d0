"""The scikit-learn estimator: ``fit`` trains a classifier from texts, ``predict`` answers as its saved bundle would."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence, Set
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from fenlei.auto import crosses
from fenlei.corpus import Document, Ledger, draw, split_dev
from fenlei.decisions import Rule
from fenlei.learn import Labelled, learn, take
from fenlei.recipe import Recipe
from fenlei.recipe import preset as preset_recipe
from fenlei.runtime import NO_SEQUENCE, Predictor, checked
from fenlei.training import Epoch, Note, Report, Step

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)

NOT_HELD_OUT = "No document could be held out: epoch, branches and scores were judged on the training texts themselves."


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A recurrent text classifier with scikit-learn's manners: clone it, search its settings, put it into a pipeline.

    >>> classifier = TextClassifier(preset="fast").fit(texts, labels)  # doctest: +SKIP
    >>> classifier.predict(["a text"])  # doctest: +SKIP

    ``X`` is a list, tuple, 1-D array or series of strings. ``fit`` holds out ``dev_fraction`` of the documents to
    decide when to stop; where these would be of one class only, the training texts decide. It prints nothing:
    decisions and epochs go to the logger ``fenlei.estimator`` at level INFO. Ctrl-C after the first epoch keeps the
    best one so far.

    Parameters
    ----------
    model : the name of the network, one of ``fenlei.models.ENCODERS``, ``"auto"`` for the preset's, or None for the
        linear model alone.
    preset : a key of ``fenlei.recipe.PRESETS``.
    options : settings that replace the preset's: fields of ``Recipe`` but for ``model`` and ``seed``. The network's
        own stand in a dict of that name: ``{"epochs": 3, "options": {"hidden_size": 64}}``.
    random_state : a seed; a ``RandomState`` to draw one from at each fit; None for another one at each fit.

    Attributes
    ----------
    classes_ : the distinct labels in ``np.unique``'s order and type, ``(C,)``.
    bundle_ : the trained classifier as a ``Bundle``, with its recipe and its scores on the held-out documents.
    """

    def __init__(
        self,
        model: str | None = "auto",
        preset: str = "default",
        options: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.model = model
        self.preset = preset
        self.options = options
        self.random_state = random_state

    def fit(
        self,
        X: Sequence[str],
        y: Sequence[Any],
        sample_weight: Sequence[float] | None = None,
        unlabelled: Sequence[str] | None = None,
    ) -> Self:
        """Train on texts ``X (N,)`` with labels ``y (N,)``: strings, whole numbers or bools of at least two classes.

        Where a text can have several labels, ``y`` is a list of lists, tuples or sets of them, or 0 and 1 ``(N, C)``,
        dense, sparse or a data frame, whose columns are then the labels. One that no text has is warned of and is
        never predicted.
        ``sample_weight (N,)`` says how much each document counts; only the ratios matter, and a document of weight 0
        counts as absent. ``unlabelled`` texts, at most 50,000 drawn by lot, are learned from too, but for those that
        are held out. Raises ValueError or TypeError for what cannot be trained on, before training starts.
        """
        recipe = choose_recipe(self.model, self.preset, self.options, self.random_state)
        texts, targets = check_texts(X), read_targets(y)
        check_consistent_length(texts, targets.sets)
        weights: Floats | None = None
        if sample_weight is not None:
            kept, weights = check_weights(sample_weight, len(texts))
            texts, targets = [texts[place] for place in kept], targets.take(kept)
        if texts and not any(text.strip() for text in texts):
            warnings.warn(f"all {len(texts)} texts are empty: every answer will be the same", stacklevel=2)
        targets.warn_of_absent()
        ledger = Ledger()
        train, dev = hold_out(Labelled(texts, targets.labels, weights), recipe, ledger)
        others = None
        if unlabelled is not None:
            held_out = [dev.texts] if dev is not None and dev is not train else []
            others = draw(check_texts(unlabelled), train.texts, held_out, seed=recipe.seed)
        bundle = learn(train, dev, recipe, log, json.loads(ledger.to_json()), unlabelled=others)
        self.bundle_, self.classes_, self._predictor = bundle, targets.classes, Predictor(bundle)
        self._form = targets.form
        self._columns = np.array([bundle.labels.index(name) if name in bundle.labels else -1 for name in targets.names])
        return self

    def predict(self, X: Sequence[str]) -> Array:
        """The likeliest label of each text, ``(N,)``, of the type that ``y`` had.

        Where a text can have several, the labels that apply in the form that ``y`` had: tuples, or 0 and 1 ``(N, C)``.
        """
        probabilities = self.predict_proba(X)
        if self._form == "one":
            return np.asarray(self.classes_[probabilities.argmax(axis=1)])
        cutoffs = self._predictor.decisions.cutoffs(self._predictor.labels, Rule())[self._columns]
        named = (probabilities >= cutoffs) & (self._columns >= 0)
        if self._form == "matrix":
            return np.asarray(named, np.int64)
        found = np.empty(len(named), object)
        found[:] = [tuple(self.classes_[row].tolist()) for row in named]
        return found

    def predict_proba(self, X: Sequence[str]) -> Floats:
        """Probabilities ``(N, C)``, columns in the order of ``classes_``; no texts give ``(0, C)``."""
        check_is_fitted(self)
        probabilities = self._predictor.predict_proba(check_texts(X))[:, self._columns]
        probabilities[:, self._columns < 0] = 0  # of labels that no text had
        return probabilities

    def predict_log_proba(self, X: Sequence[str]) -> Floats:
        """Natural logarithms of ``predict_proba``, -inf where a probability is too small for a float32."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def save(self, folder: str | PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the bundle, which ``fenlei.load`` and the command line read without torch; returns its path.

        A bundle's labels are strings: the class 1 comes back as "1". To keep labels of another type, pickle the
        estimator. Errors are those of ``Bundle.save``.
        """
        check_is_fitted(self)
        return self.bundle_.save(folder, overwrite=overwrite)

    def __getstate__(self) -> dict[str, Any]:
        # A session of onnxruntime does not pickle: it is left out here and built again there.
        return {name: value for name, value in super().__getstate__().items() if name != "_predictor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "bundle_" in state:
            self._predictor = Predictor(self.bundle_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.classifier_tags.multi_label = True
        return tags


def choose_recipe(
    model: str | None, preset: str, options: Mapping[str, Any] | None, random_state: int | np.random.RandomState | None
) -> Recipe:
    """The preset's recipe with the options on top; ValueError for an unknown preset or setting."""
    if not isinstance(options, Mapping | None):
        raise TypeError(f"options should be a dict of settings, got {options!r}")
    for name, parameter in {"model": "model", "seed": "random_state"}.items():
        if name in (options or {}):
            raise ValueError(f"options cannot hold {name!r}: set the parameter {parameter} instead")
    chosen = {} if model == "auto" else {"model": model}
    return preset_recipe(preset, **{**(options or {}), **chosen, "seed": choose_seed(random_state)})


def choose_seed(random_state: int | np.random.RandomState | None) -> int:
    """An int is the seed itself; a ``RandomState`` and None give another one each time."""
    generator = check_random_state(random_state)
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(generator.randint(2**31 - 1))
    return int(random_state)


class Targets(NamedTuple):
    """``y`` in one shape: the distinct labels ``(C,)``, the class numbers of each text, and the form that ``y`` had.

    ``form`` is "one" (label a text), "sets" (of labels) or "matrix" (of 0 and 1).
    """

    classes: Array
    sets: list[tuple[int, ...]]
    form: str

    @property
    def names(self) -> list[str]:
        """Every class as the string that the bundle knows it by."""
        return [str(label) for label in self.classes.tolist()]

    @property
    def labels(self) -> list[str] | list[tuple[str, ...]]:
        """What ``learn`` takes."""
        names = self.names
        if self.form == "one":
            return [names[number] for (number,) in self.sets]
        return [tuple(names[number] for number in found) for found in self.sets]

    def warn_of_absent(self) -> None:
        """Name the columns of a matrix that hold no 1, as scikit-learn does; a classifier of the others is trained."""
        seen = {number for found in self.sets for number in found}
        if absent := [name for number, name in enumerate(self.names) if number not in seen]:
            shown = ", ".join(map(repr, absent[:5])) + (", ..." if len(absent) > 5 else "")
            warnings.warn(f"no text has the label {shown}: it is never predicted", stacklevel=3)

    def take(self, places: npt.NDArray[np.int64]) -> Targets:
        """Those of some texts, and the classes that are left with one."""
        sets = [self.sets[place] for place in places]
        if self.form == "matrix":
            return self._replace(sets=sets)
        left = sorted({number for found in sets for number in found})
        again = {number: place for place, number in enumerate(left)}
        return Targets(self.classes[left], [tuple(again[number] for number in found) for found in sets], self.form)


def read_targets(y: Any) -> Targets:
    """``y`` as ``fit`` takes it. Errors are those of ``check_labels``; ValueError for a matrix of other numbers."""
    if issparse(y):
        y = y.toarray()
    if is_matrix(y):
        matrix, classes = np.asarray(y), np.asarray(getattr(y, "columns", range(np.shape(y)[1])))
        if not np.isin(matrix, (0, 1)).all():
            raise ValueError("y has two dimensions: expected 0 and 1 for each class, got other values")
        if len({str(name) for name in classes.tolist()}) < len(classes):
            raise ValueError(
                f"the columns of y are labels, and some have the same name: {', '.join(map(str, classes))}"
            )
        return Targets(classes, [tuple(np.flatnonzero(row).tolist()) for row in matrix], "matrix")
    if isinstance(y, list | tuple) and y and all(isinstance(found, list | tuple | set | frozenset) for found in y):
        flat = check_labels([label for found in y for label in found])
        classes, numbers = np.unique(flat, return_inverse=True)
        rest = iter(numbers.tolist())
        return Targets(classes, [tuple(sorted({next(rest) for _ in found})) for found in y], "sets")
    classes, numbers = np.unique(check_labels(y), return_inverse=True)
    return Targets(classes, [(number,) for number in numbers.tolist()], "one")


def is_matrix(y: Any) -> bool:
    """Whether ``y`` has two dimensions: an array of them, or rows of equal length, two or more, of 0 and 1 alone."""
    if hasattr(y, "ndim"):
        return bool(y.ndim == 2 and y.shape[1] > 1)
    if not (isinstance(y, list | tuple) and y and all(isinstance(row, list | tuple | np.ndarray) for row in y)):
        return False
    widths, values = {len(row) for row in y}, {repr(value) for row in y for value in np.asarray(row, object).tolist()}
    return len(widths) == 1 and widths != {1} and values <= {"0", "1"}


def check_texts(X: Sequence[str]) -> list[str]:
    """``X`` as a list of strings. Raises ValueError where it is not 1-D, TypeError for what holds no texts in order."""
    texts = checked(X)
    if isinstance(X, Set) or not (hasattr(X, "__len__") and hasattr(X, "__iter__")):
        raise TypeError(NO_SEQUENCE.format(type(X).__name__))
    return [str(text) for text in texts]


def check_labels(y: Sequence[Any]) -> Array:
    """``y`` as an array ``(N,)`` of strings or of numbers. Raises ValueError where a label is missing or neither."""
    if y is None:
        raise ValueError("a classifier requires y to be passed, but the target y is None")
    # As objects, or numpy would turn the list ["a", None, 1] into strings.
    labels: Array = column_or_1d(np.asarray(y, None if hasattr(y, "dtype") else object), warn=True)
    for number, label in enumerate(labels.tolist()):
        if not isinstance(label, str | Real | np.bool_) or label != label or label in (np.inf, -np.inf):
            raise ValueError(f"label number {number} is {label!r}, expected a string, a whole number or a bool")
        if isinstance(label, str) != isinstance(labels[0], str):
            raise ValueError(f"labels should be all strings or all numbers, got {labels[0]!r} and {label!r}")
    if labels.dtype == object and not (hasattr(y, "dtype") and isinstance(labels[0], str)):
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "f":
        check_classification_targets(labels)
    return labels


def check_weights(sample_weight: Sequence[float], count: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The places of the documents that count at all, and their weights, 1 on average.

    Raises ValueError unless there are ``count`` weights, finite, none negative, not all 0.
    """
    weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (count,):
        raise ValueError(f"sample_weight should have one weight for each of {count} texts, got shape {weights.shape}")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(f"weight number {wrong[0]} is {weights[wrong[0]]}, expected a finite number, 0 or more")
    kept = np.flatnonzero(weights)
    if not len(kept):
        raise ValueError("every sample_weight is zero, so there is no document to train on")
    return kept, (weights[kept] / weights[kept].mean()).astype(np.float32)


def hold_out(data: Labelled, recipe: Recipe, ledger: Ledger) -> tuple[Labelled, Labelled | None]:
    """(train, dev): a share of each class goes to dev; both are all of ``data`` where dev would be of one class.

    There is no dev where several networks judge each text by those that did not learn from it.
    """
    if crosses(data.texts, recipe):
        return data, None
    sets = data.sets
    pairs = zip(data.texts, sets, strict=True)
    documents = [Document(text, next(iter(found), ""), "", "", found[1:]) for text, found in pairs]
    held = split_dev(documents, recipe.dev_fraction, recipe.seed)[1] if recipe.dev_fraction else []
    texts = {document.text for document in held}  # copies of a text stay on one side
    train, dev = (
        [place for place, text in enumerate(data.texts) if (text in texts) == in_dev] for in_dev in (False, True)
    )
    every = range(len(data.texts))
    judged, learned, known = ({label for place in side for label in sets[place]} for side in (dev, train, every))
    # A class all of whose texts stand in other classes too can vanish from train with them.
    if len(judged) < 2 or learned != known:
        ledger.note(NOT_HELD_OUT)
        logger.info(NOT_HELD_OUT)
        return data, data
    return take(data, train), take(data, dev)


def log(event: Note | Step | Report | Epoch) -> None:
    """Decisions and finished epochs, for whoever listens."""
    if isinstance(event, Note):
        logger.info("%s", event.sentence)
    elif isinstance(event, Epoch):
        rest = f"loss {event.loss:.4f}, dev {event.measure} {event.dev_accuracy:.4f}, {event.seconds:.1f} s"
        name = f"network {event.network}, " if event.network else ""
        logger.info("%sepoch %d of %d: %s", name, event.number, event.epochs, rest)
