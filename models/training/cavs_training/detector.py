"""The detector: of YuNet's kind, with heads that YuNet's decoder reads.

After Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector" (one face a cell, three strides,
top-down features by adding, depthwise separable units). The first layers are dense, which costs as little there and
learns faster.
"""

import math
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .paths import work
from .scenes import SIDE, STRIDES, load_scenes

BATCH = 32
#: Training sees a part of each scene, another one each time, pixels.
CROP = 320
RATE = 2e-3
#: From this score on, the teacher's box and key points are learned.
SURE = 0.3
#: Channels of each kind of output, in the order of the teacher's.
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def conv(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )


class Unit(nn.Sequential):
    """Pointwise, then depthwise."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1, last: bool = False):
        super().__init__(
            nn.Conv2d(channels_in, channels, 1, bias=True),
            nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=last),
            *([] if last else [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]),
        )


class Detector(nn.Module):
    """BGR 0-255, sides multiples of 32 -> twelve outputs: cls, obj, bbox, kps of strides 8, 16, 32."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.early = nn.Sequential(conv(3, 16, 2), conv(16, 24, 2), Unit(24, 32), conv(32, 48, 2), Unit(48, width), Unit(width, width))
        self.middle = nn.Sequential(Unit(width, width, 2), Unit(width, width), Unit(width, width))
        self.late = nn.Sequential(Unit(width, width, 2), Unit(width, width), Unit(width, width))
        self.lateral = nn.ModuleList(Unit(width, width) for _ in STRIDES)
        self.heads = nn.ModuleDict(
            {
                kind: nn.ModuleList(Unit(width, channels, last=True) for _ in STRIDES)
                for kind, channels in OUTPUTS.items()
            }
        )
        for kind in ("cls", "obj"):
            for unit in self.heads[kind]:
                nn.init.constant_(unit[-1].bias, -4.0)

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        near = self.early((x - 127.5) * (1 / 128))
        middle = self.middle(near)
        far = self.lateral[2](self.late(middle))
        middle = self.lateral[1](middle + F.interpolate(far, scale_factor=2.0, mode="nearest"))
        near = self.lateral[0](near + F.interpolate(middle, scale_factor=2.0, mode="nearest"))
        return [near, middle, far]

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """Logits and offsets of all cells (n, cells, 16), in the order of `scenes.answers`."""
        cells = []
        for index, level in enumerate(self.levels(x)):
            out = torch.cat([self.heads[kind][index](level) for kind in OUTPUTS], 1)
            cells.append(out.permute(0, 2, 3, 1).flatten(1, 2))
        return torch.cat(cells, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = self.levels(x)
        outputs = []
        for kind in OUTPUTS:
            for index, level in enumerate(levels):
                out = self.heads[kind][index](level).permute(0, 2, 3, 1)
                out = out.reshape(out.shape[0], -1, OUTPUTS[kind])
                outputs.append(torch.sigmoid(out) if kind in ("cls", "obj") else out)
        return tuple(outputs)


def _centres(scene: int) -> torch.Tensor:
    """Column, row and stride of every cell of a square scene (cells, 3)."""
    found = []
    for stride in STRIDES:
        side = scene // stride
        row, column = np.divmod(np.arange(side * side), side)
        found.append(np.stack([column, row, np.full(side * side, stride)], 1))
    return torch.from_numpy(np.concatenate(found)).float()


def crop(x: torch.Tensor, cells: torch.Tensor, left: int, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A part of the scenes and of their answers; `left` and `top` are multiples of the largest stride."""
    levels, at = [], 0
    for stride in STRIDES:
        side, column, row, part = SIDE // stride, left // stride, top // stride, CROP // stride
        level = cells[:, at : at + side * side].unflatten(1, (side, side))
        levels.append(level[:, row : row + part, column : column + part].flatten(1, 2))
        at += side * side
    return x[:, :, top : top + CROP, left : left + CROP], torch.cat(levels, 1)


def mirror(x: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A scene and its answers seen in a mirror."""
    levels, at = [], 0
    for stride in STRIDES:
        side = x.shape[3] // stride
        level = cells[:, at : at + side * side].unflatten(1, (side, side)).flip(2).flatten(1, 2).clone()
        at += side * side
        # Offsets are from the cell's corner of the grid, and the mirrored corner is the other one of the grid's
        # last column: column c becomes side - 1 - c, and an x of (c + o) * s becomes side * s - (c + o) * s.
        level[:, :, 2] = 1 - level[:, :, 2]
        points = level[:, :, 6:16].unflatten(2, (5, 2))
        points = points[:, :, [1, 0, 2, 4, 3]]
        points[..., 0] = 1 - points[..., 0]
        level[:, :, 6:16] = points.flatten(2)
        levels.append(level)
    return x.flip(3), torch.cat(levels, 1)


def boxes(offsets: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Corners, pixels."""
    middle = (centres[:, :2] + offsets[..., :2]) * centres[:, 2:]
    size = torch.exp(offsets[..., 2:4].clamp(-6, 6)) * centres[:, 2:]
    return torch.cat([middle - size / 2, middle + size / 2], -1)


def overlap_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 - intersection over union."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    common = (high - low).clamp(0).prod(1)
    area = lambda r: (r[:, 2:] - r[:, :2]).prod(1)
    return 1 - common / (area(a) + area(b) - common + 1e-6)


def loss_of(raw: torch.Tensor, target: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    logits, wanted = raw[..., :2], target[..., :2]
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    # Quality focal loss (Li et al. 2020): cells that are right already say little.
    weight = (torch.sigmoid(logits.detach()) - wanted).abs().pow(1.5)
    score = (target[..., 0] * target[..., 1]).sqrt()
    sure = score > SURE
    faces = sure.sum().clamp(1)
    scores = (entropy * weight).sum() / faces
    worth, at = score[sure], centres.expand(len(raw), -1, -1)[sure]
    overlap = (worth * overlap_loss(boxes(raw[sure][:, 2:6], at), boxes(target[sure][:, 2:6], at))).sum() / faces
    offsets = F.smooth_l1_loss(raw[sure][:, 2:], target[sure][:, 2:], beta=0.1, reduction="none").mean(1)
    return scores, overlap, (worth * offsets).sum() / faces


def train(scenes: int, epochs: float, minutes: float | None = None) -> None:
    """Trains for `epochs`, or until `minutes` have gone; goes on from the last checkpoint."""
    torch.manual_seed(2)
    pictures, answers = load_scenes(scenes)
    held_out = len(pictures) // 20
    detector = Detector().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=RATE, weight_decay=0.01)
    checkpoint, centres, whole = work("detector.pt"), _centres(CROP), _centres(SIDE)
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        detector.load_state_dict(saved["detector"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["spent"]
    steps, begun = int(epochs * (len(pictures) - held_out) / BATCH), time.time() - spent
    order = np.random.default_rng(step)

    def batch(chosen: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = np.sort(chosen)
        x = torch.from_numpy(pictures[chosen][..., ::-1].copy()).permute(0, 3, 1, 2).float()
        return x, torch.from_numpy(answers[chosen].astype(np.float32))

    def save() -> None:
        state = {"detector": detector.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
        torch.save(state | {"spent": time.time() - begun}, f"{checkpoint}.part")
        work("detector.pt.part").rename(checkpoint)

    @torch.no_grad()
    def validate() -> None:
        detector.eval()
        found = []
        for at in range(0, held_out, BATCH):
            x, target = batch(np.arange(at, min(at + BATCH, held_out)))
            raw = detector.raw(x.contiguous(memory_format=torch.channels_last))
            found.append(torch.stack(loss_of(raw, target, whole)))
        detector.train()
        print("validation: scores %.4f overlap %.4f offsets %.4f" % tuple(torch.stack(found).mean(0)), flush=True)

    forward = torch.compile(detector.raw) if shutil.which("g++") else detector.raw
    while True:
        done = step / steps
        if minutes is not None:
            done = max(done, (time.time() - begun) / 60 / minutes)
        if done >= 1:
            break
        rate = RATE * min(1, (step + 1) / 200) * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        x, target = batch(held_out + order.choice(len(pictures) - held_out, BATCH, replace=False))
        x, target = crop(x, target, *(int(v) for v in 32 * order.integers(0, (SIDE - CROP) // 32 + 1, 2)))
        if order.random() < 0.5:
            x, target = mirror(x, target)
        x = (x - 127.5) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1)) + 127.5 + 50 * (torch.rand(len(x), 1, 1, 1) - 0.5)
        x = x.clamp(0, 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            raw = forward(x)
        scores, overlap, offsets = loss_of(raw.float(), target, centres)
        loss = scores + 2 * overlap + 2 * offsets
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimiser.step()
        step += 1
        if step % 100 == 0:
            print(f"step {step} scores {scores:.4f} overlap {overlap:.4f} offsets {offsets:.4f} "
                  f"{step * BATCH / (time.time() - begun):.0f}/s {100 * done:.1f} %", flush=True)
        if step % 1000 == 0:
            validate()
            save()
    validate()
    save()
