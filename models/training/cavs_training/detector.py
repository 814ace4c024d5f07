"""The detector: of YuNet's kind, with heads that YuNet's decoder reads.

After Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector" (one face a cell, three strides,
top-down features by adding, depthwise separable units). The first layers are dense, which costs as little there and
learns faster.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import effects, scenes
from .device import Average, Schedule, compiled, device, half, layout, load, save
from .paths import work
from .scenes import SIDE
from .teachers import OUTPUTS, STRIDES, Finder, centres

#: Training sees parts of scenes at any scale, this large, pixels; every `WHOLE`th batch is of whole scenes, which
#: alone have room for large faces, and so fewer that it costs the same.
PART, PARTS, WHOLE, WHOLES = 320, 64, 6, 16
RATE, WARM_UP = 2e-3, 300
#: Scenes that no training sees, and how many there must be before training begins.
HELD_OUT, LEAST = 100, 300
#: From this score on, the teacher's box and key points are learned.
SURE = 0.3
#: Seconds between two checkpoints.
KEPT = 100


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
        """Behind the backbone and in front of the heads, three each, in the order of `Finder.MAPS`."""
        backbone = [self.early((x - 127.5) * (1 / 128))]
        backbone.append(self.middle(backbone[0]))
        backbone.append(self.late(backbone[1]))
        far = self.lateral[2](backbone[2])
        middle = self.lateral[1](backbone[1] + F.interpolate(far, scale_factor=2.0, mode="nearest"))
        near = self.lateral[0](backbone[0] + F.interpolate(middle, scale_factor=2.0, mode="nearest"))
        return [*backbone, near, middle, far]

    def raw(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits and offsets of all cells (n, cells, 16), in the order of `Finder.ask`; and the maps."""
        cells, maps = [], self.maps(x)
        # Half precision would round places, too.
        with torch.autocast(x.device.type, enabled=False):
            for index, level in enumerate(maps[3:]):
                out = torch.cat([self.heads[kind][index](level.float()) for kind in OUTPUTS], 1)
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


def look(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """Scenes, or parts of them, as another camera would see them: any scale and place, mirrored, other light, blur, noise."""
    n, at = len(pictures), pictures.device
    x = pictures.float()
    mirror = torch.where(torch.rand(n, device=at) < 0.5, -1.0, 1.0)
    if side < SIDE:
        part = 0.3 + 0.7 * torch.rand(n, device=at)
        theta = effects.affine(torch.zeros(n, device=at), part, *((2 * torch.rand(2, n, device=at) - 1) * (1 - part)))
        theta[:, 0] = theta[:, 0] * torch.stack([mirror, mirror, torch.ones_like(mirror)], 1)
        # Twice as fine, then the mean: parts are up to twice as large.
        grid = F.affine_grid(theta, [n, 3, 2 * side, 2 * side], align_corners=False)
        x = F.avg_pool2d(F.grid_sample(x, grid, align_corners=False, padding_mode="border"), 2)
    else:
        x = torch.where((mirror < 0)[:, None, None, None], x.flip(3), x)
    x = effects.blur(x[torch.rand(n, device=at).argsort()], 0.12, 1.6)
    x = torch.where(effects.some(x, 0.75) > 0, effects.light(x), x)
    x = x + torch.randn_like(x) * effects.uniform(x, 0, 6) * effects.some(x, 0.3)
    return effects.jpeg(x, 0.3).clamp(0, 255).round()


def boxes(offsets: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Corners, pixels."""
    middle = (cells[:, :2] + offsets[..., :2]) * cells[:, 2:]
    size = torch.exp(offsets[..., 2:4].clamp(-6, 6)) * cells[:, 2:]
    return torch.cat([middle - size / 2, middle + size / 2], -1)


def overlap_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 - intersection over union."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    area = lambda sides: sides[..., 0] * sides[..., 1]
    common = area((high - low).clamp(0))
    return 1 - common / (area(a[..., 2:] - a[..., :2]) + area(b[..., 2:] - b[..., :2]) - common + 1e-6)


def loss_of(raw: torch.Tensor, target: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of scores, boxes, offsets and key points; over all cells, so that nothing waits to know how many hold faces."""
    logits, wanted = raw[..., :2], target[..., :2]
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    # Quality focal loss (Li et al. 2020): cells that are right already say little.
    weight = (torch.sigmoid(logits.detach()) - wanted).abs().pow(1.5)
    score = (target[..., 0] * target[..., 1]).sqrt()
    sure = score > SURE
    faces, worth = sure.sum().clamp(1), score * sure
    scores = (entropy * weight).sum() / faces
    overlap = (worth * overlap_loss(boxes(raw[..., 2:6], cells), boxes(target[..., 2:6], cells))).sum() / faces
    offsets = F.smooth_l1_loss(raw[..., 2:], target[..., 2:], beta=0.1, reduction="none").mean(-1)
    # Key points are used relative to each other: their errors count in parts of the distance of the eyes.
    points, right = raw[..., 6:].unflatten(-1, (5, 2)), target[..., 6:].unflatten(-1, (5, 2))
    eyes = (right[..., 0, :] - right[..., 1, :]).norm(dim=-1).clamp(0.5)[..., None, None]
    placed = F.smooth_l1_loss(points / eyes, right / eyes, beta=0.05, reduction="none").mean((-1, -2))
    return scores, overlap, (worth * offsets).sum() / faces, (worth * placed).sum() / faces


def hint_loss(adapters: nn.ModuleList, maps: list[torch.Tensor], hints: list[torch.Tensor]) -> torch.Tensor:
    """Squared error of the maps, as a part of what the hints vary by."""
    total = torch.zeros((), device=maps[0].device)
    for adapter, found, hint in zip(adapters, maps, hints):
        spread = hint.var((0, 2, 3), keepdim=True) + 1e-3
        total = total + ((adapter(found.float()) - hint) ** 2 / spread).mean()
    return total / len(hints)


def train(room: int, steps: float, minutes: float | None = None) -> None:
    """Trains for `steps`, or until `minutes` have gone; goes on from the last checkpoint. `room`: scenes kept at a time."""
    torch.manual_seed(2)
    validation = torch.from_numpy(scenes.held_out(HELD_OUT)).permute(0, 3, 1, 2).to(device())
    detector = Detector().to(device(), memory_format=layout())
    adapters = nn.ModuleList(nn.Conv2d(64, 64, 1) for _ in Finder.MAPS).to(device())
    optimiser = torch.optim.AdamW([*detector.parameters(), *adapters.parameters()], lr=RATE, weight_decay=0.01, fused=device().type == "cuda")
    average, checkpoint = Average(detector, 0.999), work("detector.pt")
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = load(checkpoint)
        detector.load_state_dict(saved.get("live", saved["detector"]))
        average.network.load_state_dict(saved["detector"])
        if "optimiser" in saved:  # weights alone may be gone on from, too
            adapters.load_state_dict(saved["adapters"])
            optimiser.load_state_dict(saved["optimiser"])
        step, spent, average.updates = saved["step"], saved["spent"], saved["step"]
    schedule = Schedule(RATE, WARM_UP, steps, minutes, spent)
    stream, teacher = scenes.Stream(room, step, device()), Finder()
    at = {PART: centres(PART), SIDE: centres(SIDE)}

    def save_all() -> None:
        save(checkpoint, {"detector": average.network.state_dict(), "live": detector.state_dict(), "adapters": adapters.state_dict(), "step": step,
                          "optimiser": optimiser.state_dict(), "spent": schedule.spent, "scenes": stream.made})

    @torch.no_grad()
    def validate() -> None:
        found = []
        for part in validation.split(WHOLES):
            if len(part) == WHOLES:
                x = part.flip(1).float()
                raw, _ = average.network.raw(x.contiguous(memory_format=layout()))
                found.append(torch.stack(loss_of(raw, teacher.ask(x)[0], at[SIDE])))
        print("validation: scores %.4f overlap %.4f offsets %.4f points %.4f" % tuple(torch.stack(found).mean(0)), flush=True)

    def lesson(shown: torch.Tensor, target: torch.Tensor, hints: list[torch.Tensor], cells: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with half():
            raw, maps = detector.raw(shown)
        return *loss_of(raw.float(), target, cells), hint_loss(adapters, maps, hints)

    lesson, seen, last = compiled(lesson), compiled(look), schedule.spent
    stream.take(LEAST)
    while schedule.done(step) < 1:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        if step % 8 == 0:
            stream.take()
        side, size = (SIDE, WHOLES) if step % WHOLE == WHOLE - 1 else (PART, PARTS)
        with torch.no_grad():
            shown = seen(stream.draw(size), side).flip(1).contiguous(memory_format=layout())
            target, hints = teacher.ask(shown)
        scores, overlap, offsets, points, hint = lesson(shown, target, hints, at[side])
        loss = scores + 2 * overlap + 2 * offsets + 4 * points + 2 * (1 - 0.8 * min(schedule.done(step), 1.0)) * hint
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimiser.step()
        average.update()
        step += 1
        if step % 100 == 0:
            print(f"step {step} scores {scores:.4f} overlap {overlap:.4f} offsets {offsets:.4f} points {points:.4f} hint {hint:.4f} "
                  f"{stream.made} scenes {schedule.spent:.0f} s {100 * schedule.done(step):.1f} %", flush=True)
        if schedule.spent - last > KEPT:
            last = schedule.spent
            validate()
            save_all()
    validate()
    save_all()


def _faces(scores: torch.Tensor, offsets: torch.Tensor, least: float, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells and corners of the faces that score at least that, of overlapping ones the best."""
    cells = (scores >= least).nonzero()[:, 0]
    cells = cells[scores[cells].argsort(descending=True)]
    corners = boxes(offsets[cells], at[cells])
    near, kept = _overlaps(corners, corners) >= 0.3, []
    free = torch.ones(len(cells), dtype=torch.bool, device=cells.device)
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
#: Of the faces that its teacher is sure of (`CERTAIN`) in held-out scenes, how many the student must find; the teacher
#: looks from as much further away as pictures are smaller where it is the measure (640 pixels, and 768).
FOUND, CERTAIN, FURTHER = 0.97, 0.8, 544
#: Less than that is nobody's face.
FAINT = 0.3


@torch.no_grad()
def balanced(detector: Detector) -> Detector:
    """Lowers all scores as far as `FOUND` allows: soft labels leave a student unsure, and how unsure depends on how long
    it was trained. Prints how many of the accepted ones the teacher does not accept."""
    detector = detector.to(device()).eval()
    teacher, at, further, scenes_seen = Finder(maps=False, often=False), centres(SIDE), centres(FURTHER), []
    for picture in torch.from_numpy(scenes.held_out(HELD_OUT)).permute(0, 3, 1, 2).split(4):
        x = picture.flip(1).float().to(device())
        small = F.interpolate(x, size=(FURTHER, FURTHER), mode="bilinear", antialias=True, align_corners=False).clamp(0, 255).round()
        for cells, raw in zip(teacher.ask(small)[0], detector.raw(x)[0]):
            score = (cells[:, 0] * cells[:, 1]).sqrt()
            known, corners = _faces(score, cells[:, 2:6], FAINT, further)
            which, found = _faces(raw[:, :2].sigmoid().prod(1).sqrt(), raw[:, 2:6], FAINT, at)
            scenes_seen.append((raw[which, :2], score[known], _overlaps(found, corners * (SIDE / FURTHER))))

    def found_and_false(shift: float) -> tuple[float, float]:
        sure = right = accepted = false = 0
        for logits, score, overlaps in scenes_seen:
            of = overlaps[(logits + shift).sigmoid().prod(1).sqrt() >= ACCEPTED]
            certain = score >= CERTAIN
            sure += int(certain.sum())
            right += int(((of >= 0.5).any(0) & certain).sum())
            accepted += len(of)
            false += int((~((of >= 0.4) & (score >= ACCEPTED)).any(1)).sum())
        return right / max(sure, 1), false / max(accepted, 1)

    shifts = np.arange(0.6, -1.2, -0.02)
    shift = next((high for high, low in zip(shifts, shifts[1:]) if found_and_false(low)[0] < FOUND), shifts[-1])
    print("detector: scores are moved by %.2f: %.4f are found in held-out scenes, %.4f are false" % (shift, *found_and_false(shift)))
    for kind in ("cls", "obj"):
        for unit in detector.heads[kind]:
            unit[-1].bias += shift
    return detector.cpu()
