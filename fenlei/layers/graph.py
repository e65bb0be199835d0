"""An ONNX graph while it is being written: every layer adds its own nodes to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from fenlei.packing import Bytes, Packed

OPSET = 17
IR_VERSION = 9

Array = npt.NDArray[Any]


class Graph:
    """Nodes, constants and inputs in the order they were added; a value is known by its name.

    ``state`` names the model's tensors: a bundle stores these as its weights, and the graph takes them from there by
    name. Those that are ``packed`` it unpacks itself.
    """

    def __init__(
        self,
        state: Mapping[str, torch.Tensor] | None = None,
        packed: Mapping[str, Packed] | None = None,
        int8: bool = False,
    ) -> None:
        self._names = {_place(tensor): name for name, tensor in (state or {}).items() if tensor.numel()}
        self._packed = packed or {}
        self._int8 = int8
        self._held: set[str] = set()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self.network = 0  # which of several networks is being written, from 1
        self._shown: dict[str, Any] = {}
        self._facts: dict[str, str] = {}
        self._count = 0

    def input(self, name: str, kind: type[np.generic], axes: tuple[str, ...]) -> str:
        """An input with symbolic axes, such as ``("B", "T")``; asked for again, it is the same one."""
        if name not in self._inputs:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
            self._inputs[name] = helper.make_tensor_value_info(name, element, axes)
        return name

    def constant(self, value: torch.Tensor | npt.ArrayLike, name: str = "") -> str:
        """A constant: a weight (a tensor, stored as float32), or numbers of a NumPy type of the caller's choice."""
        array = value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        name = name or self._name("constant")
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def weight(self, tensor: torch.Tensor) -> str:
        """A tensor of the model's own, no view of one, as float32 or whole numbers."""
        name = self.named(tensor)
        if name in self._packed:
            return self._packed[name].whole(self, name)
        return self._wide(self.once(name, array := stored(tensor)), array)

    def bytes_of(self, tensor: torch.Tensor) -> tuple[str, str] | None:
        """The whole numbers and the scales of a packed tensor that the graph is to compute with as they are."""
        name, packed = self.named(tensor), self.rounded(tensor)
        if packed is None:
            return None
        scale = self.add("Cast", self.once(f"{name}.scale", packed.scale), to=TensorProto.FLOAT)
        return self.once(f"{name}.int8", packed.int8), scale

    def gather(self, table: torch.Tensor, rows: str) -> str:
        """Rows of a table ``(V, D)`` as float32; the table is stored in half the bytes if float16 holds it exactly."""
        name = self.named(table)
        if name in self._packed:
            return self._packed[name].rows(self, name, rows)
        array = stored(table)
        return self._wide(self.add("Gather", self.once(name, array), rows, axis=0), array)

    def _wide(self, value: str, array: Array) -> str:
        """A value of float16 as float32, another as it is."""
        return self.add("Cast", value, to=TensorProto.FLOAT) if array.dtype == np.float16 else value

    def once(self, name: str, array: Array) -> str:
        """A constant of this name, made on first use; without a name always a new one."""
        if not name:
            return self.constant(array)
        if name not in self._held:
            self._held.add(name)
            self.constant(array, name)
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; returns the output's name. An empty input name means "left out"."""
        name = self._name(op.lower())
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def split(self, value: str, parts: int, axis: int = -1) -> list[str]:
        """Equal parts of one axis."""
        names = [self._name("split") for _ in range(parts)]
        # With no lengths given, Split makes as many equal parts as it has outputs.
        self._nodes.append(helper.make_node("Split", [value], names, name=names[0], axis=axis))
        return names

    def mix(self, kept: Sequence[str], added: Sequence[str], size: int) -> str:
        """``h_t = kept_t * h_{t-1} + added_t`` from 0 on, a way each of ``kept`` and ``added (T, B, size)``.

        The second way goes backwards. Returns ``(T, B, ways * size)``.
        """
        ways = len(kept)
        rows = self.add("Concat", self.axis(kept[0], 1), self.constant(np.array([size])), axis=0)
        start = self.add("Expand", self.constant(np.zeros(1, np.float32)), rows)
        names = [self._name("scan") for _ in range(2 * ways)]
        directions = list(range(ways))
        attributes = {
            "num_scan_inputs": 2 * ways,
            "scan_input_directions": directions * 2,
            "scan_output_directions": directions,
            "body": _mixing(ways, size),
        }
        inputs = [start] * ways + [*kept, *added]
        self._nodes.append(helper.make_node("Scan", inputs, names, name=names[0], **attributes))
        return self.add("Concat", *names[ways:], axis=2) if ways > 1 else names[1]

    def linear(self, x: str, weight: str, bias: str) -> str:
        """``x W^T + b``: ``x (N, D)``, ``weight (W, D)`` to ``(N, W)``, in one operator."""
        return self.add("Gemm", x, weight, bias, transB=1)

    def like(self, value: str, rows: str, axes: int) -> str:
        """``value (N, W)`` as ``(..., W)``, the first ``axes`` of which are those of ``rows (..., D)``."""
        shape = self.add("Shape", rows, end=axes)
        return self.add("Reshape", value, self.add("Concat", shape, self.constant(np.array([-1])), axis=0))

    def flat(self, value: str, width: int) -> str:
        """``value (..., width)`` as ``(N, width)``."""
        return self.add("Reshape", value, self.constant(np.array([-1, width])))

    def describe(self, key: str, value: str) -> None:
        """What whoever answers with the graph must know of it; it stands in the model beside the nodes."""
        self._facts[key] = value

    def named(self, tensor: torch.Tensor) -> str:
        """The name under which the weights hold a tensor, packed or not; empty where they have none."""
        return self._names.get(_place(tensor), "")

    def rounded(self, tensor: torch.Tensor) -> Bytes | None:
        """A tensor in 8 bits that whoever answers is to compute with as it is; None for any other."""
        packed = self._packed.get(self.named(tensor))
        return packed if self._int8 and isinstance(packed, Bytes) else None

    def offer(self, value: str, kind: str, tables: Mapping[str, torch.Tensor], **notes: Any) -> str:
        """The same value, which whoever answers may give in its place: it is made of rows of ``tables`` by stream.

        It is noted, with ``notes``, under the name ``kind.NUMBER``, from 0 on.
        """
        names = {stream: self.named(table) for stream, table in tables.items()}
        if not all(names.values()):
            return value
        name = f"{kind}.{sum(fact.partition('.')[0] == kind for fact in self._facts)}"
        self.describe(name, json.dumps({"tables": names} | notes))
        return self.rename(value, name)

    def rename(self, value: str, name: str) -> str:
        """The same value under a name of the caller's choice, for the graph's outputs."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        return name

    def show(self, value: str, kind: str, element: type[np.generic]) -> None:
        """A further output ``(rows, columns)`` for whoever explains the answer, named ``kind.NUMBER``, from 0 on.

        Of several networks it is named ``kind.NUMBER.NETWORK``.
        """
        number = len(self._shown)
        name = self.rename(value, f"{kind}.{number}" + (f".{self.network}" if self.network else ""))
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
        opsets = [helper.make_opsetid(domain, number) for domain, number in self._opsets().items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="fenlei")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, self._facts)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _opsets(self) -> dict[str, int]:
        """The versions of the operators' sets that the nodes are from."""
        return {"": OPSET} | {node.domain: 1 for node in self._nodes if node.domain}

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def stored(tensor: torch.Tensor) -> Array:
    """The array to store of a weight: float16 where that loses nothing, else float32; whole numbers as they are."""
    values = tensor.detach().cpu()
    if not values.is_floating_point():
        return np.asarray(values.numpy())
    values = values.float()
    halved = values.half()
    return np.asarray((halved if torch.equal(halved.float(), values) else values).numpy())


def _place(tensor: torch.Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Where the numbers lie: the same for a parameter and its entry in a state dict, another for a transposed one."""
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())


def _mixing(ways: int, size: int) -> onnx.GraphProto:
    """One step of ``Graph.mix``: the states, ``kept`` and ``added`` of each way, to the states and the outputs."""
    nodes = []
    for way in range(ways):
        nodes += [
            helper.make_node("Mul", [f"kept{way}", f"h{way}"], [f"left{way}"]),
            helper.make_node("Add", [f"left{way}", f"added{way}"], [f"next{way}"]),
            helper.make_node("Identity", [f"next{way}"], [f"out{way}"]),
        ]
    values = {
        name: [helper.make_tensor_value_info(f"{name}{way}", TensorProto.FLOAT, ("B", size)) for way in range(ways)]
        for name in ("h", "kept", "added", "next", "out")
    }
    inputs = values["h"] + values["kept"] + values["added"]
    return helper.make_graph(nodes, "mix", inputs, values["next"] + values["out"])
