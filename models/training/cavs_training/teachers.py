"""The teachers as networks of PyTorch, read from their ONNX files, so that they answer on any device."""

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

from .device import compiled, device
from .paths import SHARED

#: YuNet's strides, and how many channels each kind of output has, in the order in which they are asked for.
STRIDES = (8, 16, 32)
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def _attributes(node: onnx.NodeProto) -> dict:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class Graph(nn.Module):
    """The part of an ONNX graph that leads to the named values; batch norms are folded into convolutions."""

    def __init__(self, name: str, outputs: list[str]):
        super().__init__()
        graph = onnx.load(SHARED / "models" / f"{name}.onnx").graph
        weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).astype(np.float32)) for i in graph.initializer}
        made_by = {out: node for node in graph.node for out in node.output}
        self.outputs, self.input, self.steps, self.layers = outputs, graph.input[0].name, [], nn.ModuleDict()
        wanted, needed = list(outputs), set()
        while wanted:
            value = wanted.pop()
            if value in made_by and value not in needed:
                needed.add(value)
                wanted += made_by[value].input[:1] if made_by[value].op_type == "Resize" else made_by[value].input
        for node in graph.node:
            if node.output[0] in needed:
                self._add(node, weights)
        self.requires_grad_(False).eval()

    def _add(self, node: onnx.NodeProto, weights: dict[str, torch.Tensor]) -> None:
        kind, a, out = node.op_type, _attributes(node), node.output[0]
        inputs = [i for i in node.input if i not in weights]
        given = [weights[i] for i in node.input if i in weights]
        key = f"n{len(self.steps)}"
        if kind == "Conv":
            w = given[0]
            pads, stride = a.get("pads", [0] * 4), a.get("strides", [1, 1])
            if pads[0] != pads[2] or pads[1] != pads[3]:
                raise ValueError("uneven padding")
            groups = a.get("group", 1)
            layer = nn.Conv2d(w.shape[1] * groups, w.shape[0], w.shape[2:], stride, pads[:2], groups=groups)
            layer.weight.data = w
            layer.bias.data = given[1] if len(given) > 1 else torch.zeros(w.shape[0])
        elif kind == "BatchNormalization":
            gamma, beta, mean, variance = given
            scale = gamma / torch.sqrt(variance + a.get("epsilon", 1e-5))
            before = self.steps[-1] if self.steps else None
            if before and before[3] == inputs[0] and before[0] == "layer" and isinstance(self.layers[before[1]], nn.Conv2d):
                conv = self.layers[before[1]]
                conv.weight.data = conv.weight * scale[:, None, None, None]
                conv.bias.data = (conv.bias - mean) * scale + beta
                self.steps[-1] = (*before[:3], out)
                return
            layer = _Affine(scale, beta - mean * scale)
        elif kind == "PRelu":
            layer = nn.PReLU(given[0].numel())
            layer.weight.data = given[0].flatten()
        elif kind == "Gemm":
            layer = nn.Linear(given[0].shape[1], given[0].shape[0])
            layer.weight.data, layer.bias.data = given[0], given[1]
        elif kind in ("Sub", "Mul"):
            constant = given[0].flatten()
            layer = _Affine(torch.ones(1), -constant) if kind == "Sub" else _Affine(constant, torch.zeros(1))
        elif kind == "Relu":
            layer = nn.ReLU()
        elif kind == "Flatten":
            layer = nn.Flatten()
        elif kind == "MaxPool":
            layer = nn.MaxPool2d(a["kernel_shape"], a["strides"])
        elif kind == "Resize":
            layer = nn.Upsample(scale_factor=2, mode="nearest")
            inputs = inputs[:1]
        elif kind == "Add":
            self.steps.append(("add", "", inputs, out))
            return
        else:
            raise ValueError(f"a teacher with {kind}")
        self.layers[key] = layer
        self.steps.append(("layer", key, inputs, out))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        values = {self.input: x}
        for kind, key, inputs, out in self.steps:
            values[out] = values[inputs[0]] + values[inputs[1]] if kind == "add" else self.layers[key](values[inputs[0]])
        return [values[name] for name in self.outputs]


class _Affine(nn.Module):
    def __init__(self, scale: torch.Tensor, offset: torch.Tensor):
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (1, -1, 1, 1) if x.dim() == 4 else (1, -1)
        return x * self.scale.view(shape) + self.offset.view(shape)


class Recogniser:
    """MobileFaceNet: an embedding, and maps that say where in a face a trait lies, which an embedding does not."""

    #: 28x28, 14x14 and 7x7, behind the residual blocks of each size.
    MAPS = {"_plus3": 64, "_plus9": 128, "_plus11": 128}
    EMBEDDING = 128

    def __init__(self) -> None:
        self.graph = Graph("mobilefacenet_y1", ["fc1", *self.MAPS]).to(device(), memory_format=torch.channels_last)
        self.run = compiled(self.graph)

    @torch.no_grad()
    def ask(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """RGB 0-255, aligned."""
        # In bfloat16 its cosine to itself in float32 is 0.9997.
        with torch.autocast(x.device.type, torch.bfloat16):
            embedding, *maps = self.run(x.contiguous(memory_format=torch.channels_last))
        return F.normalize(embedding.float()), maps


class Finder:
    """YuNet: scores and offsets of all cells, and its maps behind its backbone and in front of its heads."""

    MAPS = ("241", "250", "259", "287", "291", "295")
    HEADS = {"cls": ("297", "299", "301"), "obj": ("309", "311", "313"), "bbox": ("303", "305", "307"), "kps": ("315", "317", "319")}

    def __init__(self, maps: bool = True, often: bool = True):
        """`often`: it is asked so often about pictures of one size that to compile it pays."""
        names = [self.HEADS[kind][level] for level in range(len(STRIDES)) for kind in OUTPUTS]
        self.graph = Graph("yunet_n_dynamic", [*names, *(self.MAPS if maps else ())])
        self.graph.to(device())
        self.run = compiled(self.graph) if often else self.graph

    @torch.no_grad()
    def ask(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Of BGR 0-255 (n, 3, side, side): (n, cells, 16) with scores as probabilities, and the maps."""
        found = self.run(x.contiguous())
        cells = torch.cat([torch.cat(found[4 * level : 4 * level + 4], 1).permute(0, 2, 3, 1).flatten(1, 2) for level in range(3)], 1)
        return torch.cat([cells[..., :2].sigmoid(), cells[..., 2:]], -1), found[4 * len(STRIDES) :]


def centres(side: int) -> torch.Tensor:
    """Column, row and stride of every cell of a square picture (cells, 3)."""
    found = []
    for stride in STRIDES:
        row, column = np.divmod(np.arange((side // stride) ** 2), side // stride)
        found.append(np.stack([column, row, np.full(len(row), stride)], 1))
    return torch.from_numpy(np.concatenate(found)).float().to(device())


def best_face(cells: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each picture's face that scores best: score (n), box as corners (n, 4), key points (n, 5, 2), pixels."""
    score, index = (cells[..., 0] * cells[..., 1]).sqrt().max(1)
    best, cell = cells[torch.arange(len(cells), device=cells.device), index], at[index]
    middle, size = (cell[:, :2] + best[:, 2:4]) * cell[:, 2:], torch.exp(best[:, 4:6].clamp(-6, 6)) * cell[:, 2:]
    points = (cell[:, None, :2] + best[:, 6:].view(-1, 5, 2)) * cell[:, None, 2:]
    return score, torch.cat([middle - size / 2, middle + size / 2], 1), points
