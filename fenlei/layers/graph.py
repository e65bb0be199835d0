"""An ONNX graph while it is being written: every layer adds its own nodes to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9


class Graph:
    """Nodes, constants and inputs in the order they were added; a value is known by its name."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}
        self._count = 0

    def input(self, name: str, kind: type[np.generic], axes: tuple[str, ...]) -> str:
        """An input with symbolic axes, such as ``("B", "T")``; asked for again, it is the same one."""
        if name not in self._inputs:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
            self._inputs[name] = helper.make_tensor_value_info(name, element, axes)
        return name

    def constant(self, value: torch.Tensor | ArrayLike) -> str:
        """A constant: a weight (a tensor, stored as float32), or numbers of a NumPy type of the caller's choice."""
        array = value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        name = self._name("constant")
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def gather(self, table: torch.Tensor, rows: str) -> str:
        """Rows of a table ``(V, D)`` as float32; the table is stored in half the bytes if float16 holds it exactly."""
        weights = table.detach().float().cpu()
        if not torch.equal(weights.half().float(), weights):
            return self.add("Gather", self.constant(weights), rows, axis=0)
        found = self.add("Gather", self.constant(weights.half().numpy()), rows, axis=0)
        return self.add("Cast", found, to=TensorProto.FLOAT)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; returns the output's name. An empty input name means "left out"."""
        name = self._name(op.lower())
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def split(self, value: str, parts: int) -> list[str]:
        """Equal parts of the last axis."""
        names = [self._name("split") for _ in range(parts)]
        # With no lengths given, Split makes as many equal parts as it has outputs.
        self._nodes.append(helper.make_node("Split", [value], names, name=names[0], axis=-1))
        return names

    def mix(self, kept: str, written: str, size: int, ways: int) -> str:
        """``h_t = kept_t * h_{t-1} + written_t`` over ``(B, T, ways * size)`` from 0 on, the second way backwards."""
        arrays = [self.split(each, ways) if ways > 1 else [each] for each in (kept, written)]
        zero = self.constant(np.zeros(1, np.float32))
        rows = self.add("Concat", self.axis(kept, 0), self.constant(np.array([size])), axis=0)
        start = self.add("Expand", zero, rows)
        names = [self._name("scan") for _ in range(2 * ways)]
        way = list(range(ways))
        attributes = {
            "num_scan_inputs": 2 * ways,
            "scan_input_axes": [1] * 2 * ways,
            "scan_input_directions": way * 2,
            "scan_output_axes": [1] * ways,
            "scan_output_directions": way,
            "body": _mixing(ways, size),
        }
        node = helper.make_node("Scan", [start] * ways + arrays[0] + arrays[1], names, name=names[0], **attributes)
        self._nodes.append(node)
        return self.add("Concat", *names[ways:], axis=2) if ways > 1 else names[1]

    def rename(self, value: str, name: str) -> str:
        """The same value under a name of the caller's choice, for the graph's outputs."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        return name

    def show(self, value: str, kind: str, element: type[np.generic]) -> None:
        """A further output ``(rows, columns)`` for whoever explains the answer, named ``kind.NUMBER``, from 0 on."""
        number = len(self._shown)
        name = self.rename(value, f"{kind}.{number}")
        self._shown[name] = helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(element)), (f"rows_{number}", f"columns_{number}")
        )

    def axis(self, value: str, axis: int) -> str:
        """The length of one axis, as ``(1,)`` int64."""
        return self.add("Gather", self.add("Shape", value), self.constant(np.array([axis])), axis=0)

    def model(self, output: str) -> bytes:
        """The finished, checked model: the answer ``(B, C)``, then what is shown beside it."""
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("B", "C")), *self._shown.values()]
        graph = helper.make_graph(self._nodes, "fenlei", list(self._inputs.values()), outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="fenlei")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _mixing(ways: int, size: int) -> onnx.GraphProto:
    """One step of ``Graph.mix``: the states, what is kept of each and what is written, to the states, twice."""
    nodes, letters = [], ("h", "kept", "written")
    for way in range(ways):
        nodes += [
            helper.make_node("Mul", [f"kept{way}", f"h{way}"], [f"left{way}"]),
            helper.make_node("Add", [f"left{way}", f"written{way}"], [f"next{way}"]),
            helper.make_node("Identity", [f"next{way}"], [f"out{way}"]),
        ]
    values = [
        [helper.make_tensor_value_info(f"{letter}{way}", TensorProto.FLOAT, ("B", size)) for way in range(ways)]
        for letter in (*letters, "next", "out")
    ]
    return helper.make_graph(nodes, "mix", values[0] + values[1] + values[2], values[3] + values[4])
