"""Teachers: networks whose answers to texts that they have not seen are what the final ones learn from as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fenlei.branches import train_branches
from fenlei.checkpoint import Checkpoint
from fenlei.folds import Data, crossed, held_out
from fenlei.joining import join
from fenlei.linear import Linear
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.training import Note, Watch


def teach(
    data: Data,
    pipeline: Pipeline,
    recipe: Recipe,
    watch: Watch,
    checkpoint: Checkpoint,
    baseline: Callable[[], Linear | None],
) -> Data:
    """The same data, each training document with the probabilities that ``recipe.teachers`` networks find for it.

    A teacher learns from all parts of the training documents but one and speaks of that one, beside the linear model
    that was fitted likewise (``baseline`` waits for it): what it says is not what it has been told. To learn from the
    answers of an ensemble makes one network nearly as good as it (Hinton, Vinyals and Dean 2015); that they are answers
    to unseen texts tells wrong labels from right ones. Where teachers are broken off there is nothing to learn from.
    """
    assert data.numbers is not None
    parts = crossed(data.train, data.train, data.numbers)
    lessons = replace(data, dev=data.train, parts=parts, crossed=True)
    watch(Note(f"{len(parts)} teachers: each learns from the others' texts and answers for its own"))
    teachers = train_branches(lessons, pipeline, recipe, watch, checkpoint)
    joined = join(teachers.networks, replace(lessons, parts=teachers.parts), recipe, baseline(), watch)
    if len(joined.rows) < len(data.train.targets):
        raise KeyboardInterrupt
    # Only the leading process has the linear model: the others hear what it found.
    said = checkpoint.ranks.tell(joined.probabilities.astype(np.float32).tobytes())
    soft = np.frombuffer(said, np.float32).reshape(joined.probabilities.shape)
    train = data.train._replace(soft=soft)
    return replace(data, train=train, parts=held_out(train, data.dev, len(data.parts)))
