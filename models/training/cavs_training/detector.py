"""The detector: of YuNet's kind, with heads that YuNet's decoder reads.

After Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector" (one face a cell, three strides,
top-down features by adding, depthwise separable units). The first layers are dense, which costs as little there and
learns faster.
"""

import io
import math
import shutil
import time
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import nn

from .paths import SHARED, work
from .scenes import SIDE, load_scenes

STRIDES = (8, 16, 32)
#: Training sees parts of scenes at any scale, this large, pixels; every `WHOLE`th batch is of whole scenes, which
#: alone have room for large faces, and so fewer that it costs the same.
PART, PARTS, WHOLE, WHOLES = 320, 32, 6, 8
RATE = 2e-3
#: From this score on, the teacher's box and key points are learned.
SURE = 0.3
#: Channels of each kind of output, in the order of the teacher's.
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
#: The teacher's maps that the student's must be a linear function of: behind its backbone and in front of its heads.
HINTS = ("241", "250", "259", "287", "291", "295")


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

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Behind the backbone and in front of the heads, three each, in the order of `HINTS`."""
        backbone = [self.early((x - 127.5) * (1 / 128))]
        backbone.append(self.middle(backbone[0]))
        backbone.append(self.late(backbone[1]))
        far = self.lateral[2](backbone[2])
        middle = self.lateral[1](backbone[1] + F.interpolate(far, scale_factor=2.0, mode="nearest"))
        near = self.lateral[0](backbone[0] + F.interpolate(middle, scale_factor=2.0, mode="nearest"))
        return [*backbone, near, middle, far]

    def raw(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits and offsets of all cells (n, cells, 16), in the order of `Teacher.ask`; and the maps."""
        cells, maps = [], self.maps(x)
        for index, level in enumerate(maps[3:]):
            out = torch.cat([self.heads[kind][index](level) for kind in OUTPUTS], 1)
            cells.append(out.permute(0, 2, 3, 1).flatten(1, 2))
        return torch.cat(cells, 1), maps

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = self.maps(x)[3:]
        outputs = []
        for kind in OUTPUTS:
            for index, level in enumerate(levels):
                out = self.heads[kind][index](level).permute(0, 2, 3, 1)
                out = out.reshape(out.shape[0], -1, OUTPUTS[kind])
                outputs.append(torch.sigmoid(out) if kind in ("cls", "obj") else out)
        return tuple(outputs)


class Teacher:
    """YuNet, asked about the very pictures that the student sees."""

    def __init__(self) -> None:
        model = onnx.load(SHARED / "models" / "yunet_n_dynamic.onnx")
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in HINTS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def ask(self, pictures: np.ndarray) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Of RGB pictures (n, side, side, 3): scores and offsets of all cells (n, cells, 16), and the hints."""
        names = [f"{kind}_{stride}" for kind in OUTPUTS for stride in STRIDES]
        levels, hints = [[] for _ in STRIDES], [[] for _ in HINTS]
        for picture in pictures:  # one by one: its maps stay in the cache
            blob = picture[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
            found = self.session.run([*names, *HINTS], {"input": blob})
            for level, of_level in enumerate(levels):
                of_level.append(np.concatenate([o.reshape(1, -1, o.shape[-1]) for o in found[level : len(names) : 3]], 2))
            for of_hint, hint in zip(hints, found[len(names) :]):
                of_hint.append(hint)
        cells = torch.from_numpy(np.concatenate([np.concatenate(level) for level in levels], 1))
        return cells, [torch.from_numpy(np.concatenate(hint)) for hint in hints]


def look(rng: np.random.Generator, scene: np.ndarray, side: int) -> np.ndarray:
    """A part of a scene as another camera would see it: any scale and place, mirrored, other light, blur, noise."""
    part = int(SIDE * rng.uniform(0.3, 1)) if side < SIDE else SIDE
    x, y = rng.integers(0, SIDE - part + 1, 2)
    picture = Image.fromarray(scene).resize((side, side), Image.BILINEAR, (x, y, x + part, y + part))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
    if rng.random() < 0.1:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    if rng.random() < 0.3:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(20, 90)))
        picture = Image.open(file)
    light = (np.arange(256) / 255)[None] ** np.exp(rng.normal(0, 0.25)) * 255
    contrast = np.full((3, 1), rng.uniform(0.6, 1.3)) if rng.random() < 0.6 else rng.uniform(0.6, 1.3, (3, 1))
    light = (light - 128) * contrast + 128 + rng.uniform(-40, 40)
    return np.asarray(picture.convert("RGB").point(light.clip(0, 255).astype(np.uint8).flatten().tolist()))


class Lessons(torch.utils.data.IterableDataset):
    """Batches without end: pictures, and the teacher's answers and hints."""

    def __init__(self, scenes: np.ndarray, seed: int) -> None:
        self.scenes, self.seed = scenes, seed

    def __iter__(self) -> Iterator[tuple[np.ndarray, torch.Tensor, list[torch.Tensor]]]:
        info = torch.utils.data.get_worker_info()
        rng, teacher, count = np.random.default_rng((self.seed, info.id if info else 0)), Teacher(), 0
        while True:
            count += 1
            side, size = (SIDE, WHOLES) if count % WHOLE == 0 else (PART, PARTS)
            chosen = rng.choice(len(self.scenes), size, replace=False)
            pictures = np.stack([look(rng, self.scenes[index], side) for index in chosen])
            yield pictures, *teacher.ask(pictures)


def _centres(scene: int) -> torch.Tensor:
    """Column, row and stride of every cell of a square scene (cells, 3)."""
    found = []
    for stride in STRIDES:
        side = scene // stride
        row, column = np.divmod(np.arange(side * side), side)
        found.append(np.stack([column, row, np.full(side * side, stride)], 1))
    return torch.from_numpy(np.concatenate(found)).float()


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


def hint_loss(adapters: nn.ModuleList, maps: list[torch.Tensor], hints: list[torch.Tensor]) -> torch.Tensor:
    """Squared error of the maps, as a part of what the hints vary by."""
    total = torch.zeros(())
    for adapter, found, hint in zip(adapters, maps, hints):
        spread = hint.var((0, 2, 3), keepdim=True) + 1e-3
        total = total + ((adapter(found.float()) - hint) ** 2 / spread).mean()
    return total / len(hints)


def _input(pictures: np.ndarray) -> torch.Tensor:
    """RGB pictures as the network wants them: BGR, channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1])).permute(0, 3, 1, 2).float()


def train(scenes: int, steps: int, minutes: float | None = None) -> None:
    """Trains for `steps`, or until `minutes` have gone; goes on from the last checkpoint."""
    torch.manual_seed(2)
    pictures = load_scenes(scenes)
    held_out = len(pictures) // 40
    detector = Detector().to(memory_format=torch.channels_last)
    adapters = nn.ModuleList(nn.Conv2d(64, 64, 1) for _ in HINTS)
    optimiser = torch.optim.AdamW([*detector.parameters(), *adapters.parameters()], lr=RATE, weight_decay=0.01)
    checkpoint = work("detector.pt")
    centres = {PART: _centres(PART), SIDE: _centres(SIDE)}
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        detector.load_state_dict(saved["detector"])
        adapters.load_state_dict(saved["adapters"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["spent"]
    begun, seen = time.time() - spent, 0
    validation = np.asarray(pictures[:held_out])
    answers = Teacher().ask(validation)[0]

    def save() -> None:
        state = {"detector": detector.state_dict(), "adapters": adapters.state_dict(), "step": step}
        state |= {"optimiser": optimiser.state_dict(), "spent": time.time() - begun}
        torch.save(state, f"{checkpoint}.part")
        work("detector.pt.part").rename(checkpoint)

    @torch.no_grad()
    def validate() -> None:
        detector.eval()
        found = []
        for at in range(0, held_out, WHOLES):
            raw, _ = detector.raw(_input(validation[at : at + WHOLES]))
            found.append(torch.stack(loss_of(raw, answers[at : at + WHOLES], centres[SIDE])))
        detector.train()
        print("validation: scores %.4f overlap %.4f offsets %.4f" % tuple(torch.stack(found).mean(0)), flush=True)

    forward = torch.compile(detector.raw) if shutil.which("g++") else detector.raw
    lessons = torch.utils.data.DataLoader(Lessons(pictures[held_out:], step), batch_size=None, num_workers=1, prefetch_factor=4)
    for shown, target, hints in lessons:
        done = step / steps
        if minutes is not None:
            done = max(done, (time.time() - begun) / 60 / minutes)
        if done >= 1:
            break
        rate = RATE * min(1, (step + 1) / 200) * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            raw, maps = forward(_input(np.asarray(shown)))
        scores, overlap, offsets = loss_of(raw.float(), target, centres[shown.shape[1]])
        hint = hint_loss(adapters, maps, hints)
        loss = scores + 2 * overlap + 2 * offsets + 2 * hint
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimiser.step()
        step, seen = step + 1, seen + 1
        if step % 50 == 0:
            print(f"step {step} scores {scores:.4f} overlap {overlap:.4f} offsets {offsets:.4f} hint {hint:.4f} "
                  f"{(time.time() - begun - spent) / seen:.2f} s a step {100 * done:.1f} %", flush=True)
        if step % 250 == 0:
            save()
        if step % 1000 == 0:
            validate()
    validate()
    save()


def _faces(scores: torch.Tensor, offsets: torch.Tensor, least: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells and corners of the faces that score at least that, of overlapping ones the best."""
    cells = (scores >= least).nonzero()[:, 0]
    cells = cells[scores[cells].argsort(descending=True)]
    corners = boxes(offsets[cells], _centres(SIDE)[cells])
    near, kept = _overlaps(corners, corners) >= 0.3, []
    free = torch.ones(len(cells), dtype=torch.bool)
    for index in range(len(cells)):
        if free[index]:
            kept.append(index)
            free &= ~near[index]
    return cells[kept], corners[kept]


def _overlaps(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each with each."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(0).prod(2)
    area = lambda r: (r[:, 2:] - r[:, :2]).prod(1)
    return common / (area(a)[:, None] + area(b)[None] - common + 1e-6)


#: The agent takes a detection for a face from this score on.
ACCEPTED = 0.6
#: Of the student's faces in held-out scenes, how many its teacher must see, too, if only faintly.
PRECISION, FAINT = 0.988, 0.3


@torch.no_grad()
def balanced(detector: Detector, scenes: int) -> Detector:
    """Lowers all scores by what makes `ACCEPTED` mean `PRECISION`: soft labels leave a student unsure, and how unsure
    depends on how long it was trained."""
    detector.eval()
    pictures = np.asarray(load_scenes(scenes)[: scenes // 40])
    told = Teacher().ask(pictures)[0]
    logits, right = [], []
    for picture, cells in zip(pictures, told):
        _, known = _faces((cells[:, 0] * cells[:, 1]).sqrt(), cells[:, 2:6], FAINT)
        raw = detector.raw(_input(picture[None]))[0][0]
        at, found = _faces(raw[:, :2].sigmoid().prod(1).sqrt(), raw[:, 2:6], FAINT)
        logits.append(raw[at, :2])
        right.append((_overlaps(found, known) >= 0.5).any(1))
    logits, right = torch.cat(logits), torch.cat(right)

    def precision(shift: float) -> float:
        accepted = (logits + shift).sigmoid().prod(1).sqrt() >= ACCEPTED
        return float(right[accepted].float().mean()) if accepted.any() else 1.0

    shift = next((s for s in np.arange(0.6, -1.2, -0.02) if precision(s) >= PRECISION), -1.2)
    print(f"detector: scores are moved by {shift:.2f} to a precision of {precision(shift):.4f} on held-out scenes")
    for kind in ("cls", "obj"):
        for unit in detector.heads[kind]:
            unit[-1].bias += shift
    return detector
