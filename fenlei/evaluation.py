"""True against predicted labels, in numbers: accuracy, F1, per class, confusion. The formulas are scikit-learn's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support


def evaluate(true: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """``accuracy``, ``macro_f1``, ``n``; ``classes`` with precision, recall, f1, support; ``confusion`` rows.

    ``macro_f1`` is the mean over every class in ``labels`` or ``true`` that stands in ``true`` or ``predicted``. Labels
    that only ``true`` has (the classifier never learned them) are classes too, each with recall 0.
    """
    if not true:
        raise ValueError("there is nothing to evaluate: no documents with labels")
    present = set(true) | set(predicted)
    names = [label for label in labels if label in present] + sorted(set(true) - set(labels))
    with warnings.catch_warnings():  # one class alone is a result like any other
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)
        precision, recall, f1, support = precision_recall_fscore_support(
            true, predicted, labels=names, zero_division=0.0
        )
        confusion = confusion_matrix(true, predicted, labels=names).tolist()
    classes = {
        name: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "support": int(support[i]),
        }
        for i, name in enumerate(names)
    }
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1.mean()),
        "n": len(true),
        "classes": classes,
        "confusion": {"labels": names, "rows": confusion},
    }
