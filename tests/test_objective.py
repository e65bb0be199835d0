"""Losses and what dev is compared by, against their formulas, for one label a text and for several."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from fenlei import objective

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 1.0, 1.5], [0.1, 0.2, -0.3]], dtype=torch.float64)
ONE = torch.tensor([0, 1, 1])
SEVERAL = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0]])


def test_one_label_is_softmax_cross_entropy() -> None:
    p = torch.exp(LOGITS) / torch.exp(LOGITS).sum(1, keepdim=True)
    torch.testing.assert_close(objective.losses(LOGITS, ONE), -torch.log(p[torch.arange(3), ONE]))
    smooth = 0.9 * -torch.log(p[torch.arange(3), ONE]) + 0.1 * -torch.log(p).mean(1)
    torch.testing.assert_close(objective.losses(LOGITS, ONE, 0.1), smooth)


def test_several_labels_are_a_binary_cross_entropy_each() -> None:
    p = 1 / (1 + torch.exp(-LOGITS))
    by_hand = -(SEVERAL * torch.log(p) + (1 - SEVERAL) * torch.log(1 - p)).sum(1)
    torch.testing.assert_close(objective.losses(LOGITS.float(), SEVERAL).double(), by_hand, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(objective.losses(LOGITS, SEVERAL), objective.losses(LOGITS, SEVERAL, 0.1))


def test_right_is_the_likeliest_label_or_all_of_them() -> None:
    assert objective.right(LOGITS, ONE).tolist() == [True, False, True]
    assert objective.right(LOGITS, SEVERAL).tolist() == [True, False, False]


def test_quality_is_accuracy_or_micro_f1_at_its_best() -> None:
    assert objective.quality(LOGITS.numpy(), ONE.numpy()) == pytest.approx(2 / 3)
    assert objective.quality(LOGITS.numpy(), ONE.numpy(), np.array([1.0, 2.0, 1.0])) == pytest.approx(1 / 2)
    scores = np.random.default_rng(0).normal(size=(50, 4)) + 1.0 * (truth := np.eye(4, dtype=int)[np.arange(50) % 4])
    best = max(f1_score(truth, scores >= cut, average="micro") for cut in np.unique(scores))
    assert objective.quality(scores, truth) == pytest.approx(best)
    assert objective.quality(scores - 9, truth) == pytest.approx(best)
