"""The classifier: one or several recurrent branches, and the wide branch beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.bundle import ALONE, ONE_BY_ONE
from fenlei.layers.graph import Graph
from fenlei.layers.wide import WideTable
from fenlei.models.deep import Deep


class Classifier(nn.Module):
    """``logits = scale * mean_k deep_k + wide_scale * wide + offset``; either kind of branch may be absent.

    ``arrays`` are the pipeline's, as tensors: those of ``Deep``, and with a wide branch ``ngrams``, ``ngram_values
    (B, N)``. Several recurrent branches, which differ by their first weights, err less than one (Hansen and Salamon
    1990). The two scales and the offset ``(C,)`` are set after training, on dev: they calibrate the probabilities and
    weigh the kinds of branches against each other. ``several`` labels can be true of a text, or one alone.
    """

    def __init__(self, branches: Sequence[Deep], wide: WideTable | None = None, several: bool = False) -> None:
        super().__init__()
        if not branches and wide is None:
            raise ValueError("a classifier needs a recurrent branch, a wide branch, or both")
        self.branches: Sequence[Deep] = nn.ModuleList(branches)  # type: ignore[assignment]
        self.wide = wide
        self.several = several
        classes = branches[0].dense.out_features if wide is None else len(wide.bias)
        self.scales = nn.Buffer(torch.ones(2))
        self.offset = nn.Buffer(torch.zeros(classes))

    @property
    def reads_sentences(self) -> bool:
        """Whether the ids come as ``(B, S, T)``."""
        return any(branch.encoder.reads_sentences for branch in self.branches)

    @torch.no_grad()
    def halve_tables(self) -> None:
        """Round the large tables to what float16 holds: half the bytes, and answers that differ in the fourth digit."""
        tables = [module.weight for module in self.modules() if isinstance(module, nn.Embedding)]
        for table in [*tables, *([] if self.wide is None else [self.wide.weight])]:
            table.copy_(table.half().float())

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Logits ``(B, C)``; their softmax is the answer, or where texts have several labels their sigmoid."""
        logits = [self.scales[0] / len(self.branches) * branch(arrays) for branch in self.branches]
        if self.wide is not None:
            logits.append(self.scales[1] * self.wide(arrays["ngrams"], arrays["ngram_values"]))
        return sum(logits[1:], logits[0]) + self.offset

    def probabilities(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """The answer, ``(B, C)``."""
        logits = self(arrays)
        return torch.sigmoid(logits) if self.several else torch.softmax(logits, dim=1)

    def nodes(self, graph: Graph) -> str:
        """The whole network in ONNX, from the pipeline's arrays to ``probabilities (B, C)``."""
        if all(branch.encoder.steps == 0 for branch in self.branches):
            graph.describe(ONE_BY_ONE, "yes")
        if all(branch.encoder.alone for branch in self.branches):
            graph.describe(ALONE, "yes")
        logits = []
        for number, branch in enumerate(self.branches, 1):
            graph.network = number if len(self.branches) > 1 else 0
            logits.append(graph.add("Mul", branch.nodes(graph), graph.constant(self.scales[0] / len(self.branches))))
        if self.wide is not None:
            rows = graph.input("ngrams", np.int64, ("B", "N"))
            values = graph.input("ngram_values", np.float32, ("B", "N"))
            wide = self.wide.nodes(graph, rows, values)
            logits.append(graph.add("Mul", wide, graph.constant(self.scales[1])))
        if self.offset.any():
            logits.append(graph.constant(self.offset))
        total = graph.add("Sum", *logits) if len(logits) > 1 else logits[0]
        answer = graph.add("Sigmoid", total) if self.several else graph.add("Softmax", total, axis=1)
        return graph.rename(answer, "probabilities")
