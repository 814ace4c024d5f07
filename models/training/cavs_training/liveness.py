"""The liveness network: a face with what is around it -> print or screen, or live.

It learns from faces and held-up pictures in lessons of the synthetic classroom, from real heads, and from pictures of such
heads on sheets and screens that are made up here. The teachers (MiniFASNet) are asked about what they were made for, faces
and lessons; what is made up has its own truth.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from . import effects
from .crops import is_validation, load_heads
from .device import Average, Schedule, device, load, save
from .evaluate import analyze
from .paths import PACK, cargo_run, work

SIDE = 80
#: The box is grown by so much before the crop, less where the picture is too small for it.
SCALE = 2.7
#: Lessons to learn from, and others to measure by; each has people, strangers and held-up pictures.
LESSONS, MEASURED = range(9600, 9660), range(9700, 9712)
SIZES = ("1280x720", "1920x1080", "960x540")
#: Heads and rendered portraits to learn from, crops of each, and how much of a label is the teachers'.
HEADS, PORTRAITS, CROPS, TAUGHT = 4000, 600, 3, 0.25
BATCH, RATE, DECAY, WARM_UP = 128, 3e-3, 0.02, 100


def conv(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


class Liveness(nn.Module):
    """BGR 0-255 (n, 3, 80, 80) -> probabilities of an attack and of a live face (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2), Block(32), conv(32, 48, 2), Block(48), conv(48, 64, 2), Block(64))
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(64 * 25, 48, bias=False), nn.BatchNorm1d(48), nn.ReLU(inplace=True), nn.Dropout(0.2))
        self.head = nn.Linear(48, 2)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.neck(self.maps((x - 127.5) * (1 / 128))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.logits(x), 1)


def grown(box: np.ndarray, width: int, height: int) -> np.ndarray:
    """The crop of a box (left, top, width, height), as the agent cuts it."""
    w, h = max(box[2], 1), max(box[3], 1)
    scale = max(min(SCALE, (height - 1) / h, (width - 1) / w), 0)
    sides, middle, limits = np.array([w, h]) * scale, box[:2] + box[2:] / 2, np.array([width, height])
    start = np.floor(np.maximum(np.minimum(middle - sides / 2, limits - 1 - sides), 0))
    return np.concatenate([start, np.maximum(np.minimum(np.floor(sides) + 1, limits - start), 1)])


def cut(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The crop of a face, bilinear, one sample a pixel: what a camera's pixels show finest is kept in part."""
    height, width = picture.shape[:2]
    x0, y0, w, h = grown(box, width, height)
    along = lambda start, length, limit: np.clip(start + (np.arange(SIDE) + 0.5) * length / SIDE - 0.5, start, min(start + length - 1, limit - 1))
    x, y = along(x0, w, width), along(y0, h, height)
    left, top = x.astype(int), y.astype(int)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = (x - left)[None, :, None], (y - top)[:, None, None]
    p = picture.astype(np.float32)
    upper = p[top][:, left] * (1 - fx) + p[top][:, right] * fx
    lower = p[below][:, left] * (1 - fx) + p[below][:, right] * fx
    return (upper * (1 - fy) + lower * fy + 0.5).astype(np.uint8)


def moved(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As detectors differ."""
    size = np.exp(rng.normal(0, 0.07))
    middle = box[:2] + box[2:] * (0.5 + rng.normal(0, 0.04, 2))
    sides = box[2:] * size
    return np.concatenate([middle - sides / 2, sides])


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    common = np.maximum(np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return common / (a[2:].prod() + b[2:].prod() - common)


def lessons(seeds: range) -> Path:
    """Renders lessons in which people hold up pictures."""
    for at, seed in enumerate(seeds):
        folder = work("attacks") / f"t{seed}"
        if not (folder / "frames" / "truth.jsonl").exists():
            subprocess.run(
                [*cargo_run(), "-p", "synthface", "--", "frames", "--roster-seed", str(seed), "--seed", str(seed), "--count", str(11 + at % 4),
                 "--strangers", "2", "--spoofs", str(5 + at % 6), "--preset", "stress" if at % 4 == 3 else "classroom",
                 "--size", SIZES[at % 3], "--seconds", "24", "--fps", "0.34", "--out", str(folder)], check=True)
    return work("attacks")


def _boxes(faces: list[dict]) -> list[tuple[np.ndarray, float | None]]:
    return [(np.array([f["box"][k] for k in ("x", "y", "width", "height")]), f.get("liveness")) for f in faces]


def seen_in_lessons(seeds: range, pack: Path) -> list[tuple[Path, np.ndarray, bool, float | None, str]]:
    """Picture, box, whether it is a face, the pack's liveness, and which track it is of: of each face that a pack finds."""
    folder, found = lessons(seeds), []
    truth = {}
    for seed in seeds:
        frames = folder / f"t{seed}" / "frames"
        for line in (frames / "truth.jsonl").read_text().splitlines():
            told = json.loads(line)
            truth[str(frames / Path(told["file"]).name)] = (seed, told["faces"])
    for name, faces in analyze(pack, [Path(name) for name in sorted(truth)]).items():
        seed, known = truth[name]
        for box, live in _boxes(faces):
            best = max(known, key=lambda face: _overlap(box, np.array(face["box"])), default=None)
            if best is not None and _overlap(box, np.array(best["box"])) > 0.35:
                who = best.get("shows") or best.get("student") or "stranger"
                found.append((Path(name), box, not best.get("spoof"), live, f"{seed}-{who}-{best.get('spoof')}"))
    return found


def _shown(head: np.ndarray, box: np.ndarray, behind: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a head on a sheet or a screen that somebody holds, and where the face is on it."""
    side = int(rng.integers(260, 520))
    canvas = np.asarray(Image.fromarray(behind).resize((side, side), Image.BILINEAR)).astype(np.float32)
    share = rng.uniform(0.35, 0.85)
    screen = rng.random() < 0.5
    picture = head.astype(np.float32)
    height, width = picture.shape[:2]
    if screen:
        # Light of its own, bluer, a lattice that beats with the camera's, a lamp that is mirrored.
        picture = picture * rng.uniform(0.75, 1.25) + rng.uniform(0, 35)
        picture *= np.array([1, 1, rng.uniform(1.0, 1.18)])
        y, x = np.mgrid[:height, :width]
        for _ in range(rng.integers(1, 3)):
            angle, period = rng.uniform(0, np.pi), rng.uniform(2.2, 14)
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period + rng.uniform(0, 6))
            picture *= 1 + rng.uniform(0.01, 0.09) * wave[..., None] * rng.uniform(0.4, 1, 3)
        if rng.random() < 0.4:
            glare = np.exp(-(((x - rng.uniform(0, width)) / (0.2 * width)) ** 2 + ((y - rng.uniform(0, height)) / (0.2 * height)) ** 2))
            picture += rng.uniform(30, 120) * glare[..., None]
    else:
        # Paper is never white nor black in a room, and takes the room's colour.
        white, black = rng.uniform(165, 235), rng.uniform(15, 60)
        picture = black + picture / 255 * (white - black)
        picture *= rng.uniform(0.9, 1.08, 3)
        if rng.random() < 0.5:
            picture += rng.normal(0, rng.uniform(1, 7), (height, width, 1))
        y, x = np.mgrid[:height, :width]
        slope = rng.uniform(-0.25, 0.25, 2)
        picture *= (1 + slope[0] * (x / width - 0.5) + slope[1] * (y / height - 0.5))[..., None]
    # Its rim: white paper, a dark frame, or none.
    rim = int(width * rng.choice([0, 0.03, 0.07, 0.12]))
    colour = rng.uniform(5, 45) if screen else rng.uniform(170, 240)
    framed = np.full((height + 2 * rim, width + 2 * rim, 3), colour, np.float32)
    framed[rim : rim + height, rim : rim + width] = picture
    # Held at an angle: a perspective map from the canvas to it.
    size = share * side
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
    turn, tilt = rng.normal(0, 0.12), rng.normal(0, 0.12, 2)
    depth = 1 + corners @ (tilt / size)
    c, s = np.cos(turn), np.sin(turn)
    corners = corners @ np.array([[c, s], [-s, c]]) / depth[:, None]
    centre = side / 2 + rng.uniform(-0.5, 0.5, 2) * (side - size) * 0.8
    corners += centre
    fh, fw = framed.shape[:2]
    from_corners = np.array([[0, 0], [fw, 0], [fw, fh], [0, fh]], float)
    # Eight coefficients of PIL's perspective: picture = (a x + b y + c) / (g x + h y + 1).
    rows, right = [], []
    for (x, y), (u, v) in zip(corners, from_corners):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    map_ = np.linalg.solve(np.array(rows), np.array(right))
    sheet = Image.fromarray(framed.clip(0, 255).astype(np.uint8)).transform((side, side), Image.PERSPECTIVE, map_.tolist(), Image.BICUBIC)
    mask = Image.new("L", (fw, fh), 255).transform((side, side), Image.PERSPECTIVE, map_.tolist(), Image.BILINEAR)
    alpha = np.asarray(mask).astype(np.float32)[..., None] / 255
    canvas = canvas * (1 - alpha) + np.asarray(sheet) * alpha
    back = np.linalg.inv(np.array([[*map_[:3]], [*map_[3:6]], [*map_[6:], 1]]))
    points = np.array([[box[0] + rim, box[1] + rim, 1], [box[0] + box[2] + rim, box[1] + rim, 1],
                       [box[0] + rim, box[1] + box[3] + rim, 1], [box[0] + box[2] + rim, box[1] + box[3] + rim, 1]]) @ back.T
    points = points[:, :2] / points[:, 2:]
    low, high = points.min(0), points.max(0)
    return canvas.clip(0, 255).astype(np.uint8), np.concatenate([low, high - low])


def crops(teachers: Path) -> dict[str, torch.Tensor]:
    """Crops (n, 3, 80, 80), labels (0 attack, 1 live) and whether they are held out; made once."""
    kept = work("liveness-crops.pt")
    if kept.exists():
        return load(kept)
    rng, found = np.random.default_rng(5), []

    def add(picture: np.ndarray, box: np.ndarray, label: float, held_out: bool, kind: int) -> None:
        for _ in range(1 if held_out else CROPS):
            found.append((cut(picture, box if held_out else moved(box, rng)), label, held_out, kind))

    taught = lambda truth, live: truth if live is None else (1 - TAUGHT) * truth + TAUGHT * live
    picture, name = None, None
    for path, box, face, live, _ in seen_in_lessons(LESSONS, teachers):
        if path != name:
            picture, name = np.asarray(Image.open(path).convert("RGB")), path
        add(picture, box, taught(float(face), live), False, 0)
    # Portraits are faces, too, though no room is around them.
    for path, faces in analyze(teachers, sorted((work("renders") / "faces").rglob("*.jpg"))[:PORTRAITS]).items():
        for box, live in _boxes(faces)[:1]:
            add(np.asarray(Image.open(path).convert("RGB")), box, taught(1.0, live), False, 0)
    print(f"liveness: {len(found)} crops of lessons and portraits", flush=True)
    heads, names = load_heads()
    folder = work("liveness-heads")
    folder.mkdir(exist_ok=True)
    chosen = rng.choice(len(heads), HEADS, replace=False)
    for at in chosen:
        if not (folder / f"{at}.png").exists():
            Image.fromarray(np.array(heads[at])).save(folder / f"{at}.png")
    for path, faces in analyze(teachers, [folder / f"{at}.png" for at in chosen]).items():
        at = int(Path(path).stem)
        held_out = is_validation(names[at])
        for box, live in _boxes(faces)[:1]:
            head = np.array(heads[at])
            add(head, box, taught(1.0, live), held_out, 1)
            behind = np.array(heads[rng.choice(chosen)]) if rng.random() < 0.3 else _place(rng)
            for _ in range(1 if held_out else 2):
                add(*_shown(head, box, behind, rng), 0.0, held_out, 2)
            if rng.random() < 0.5:
                # Before a place, and no picture of one: nobody must be an attack because of what is behind.
                add(*_before(head, box, _place(rng), rng), taught(1.0, live), held_out, 1)
    print(f"liveness: {len(found)} crops in all", flush=True)
    pictures, labels, held_out, kinds = zip(*found)
    kept_crops = {"x": torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), "y": torch.tensor(labels),
                  "held_out": torch.tensor(held_out), "kind": torch.tensor(kinds)}
    save(kept, kept_crops)
    return kept_crops


def _place(rng: np.random.Generator) -> np.ndarray:
    """A part of a photograph without people."""
    places = sorted(work("backgrounds").glob("*.jpg"))
    with Image.open(places[rng.integers(len(places))]) as picture:
        side = min(picture.size)
        part = int(rng.uniform(0.4, 1) * side)
        x, y = (int(rng.integers(0, limit - part + 1)) for limit in picture.size)
        return np.asarray(picture.convert("RGB").crop((x, y, x + part, y + part)))


def _before(head: np.ndarray, box: np.ndarray, behind: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A head before another background: it fades into it, as no sheet does."""
    side = int(rng.integers(300, 520))
    size = int(side * rng.uniform(0.45, 0.8))
    canvas = np.asarray(Image.fromarray(behind).resize((side, side), Image.BILINEAR)).astype(np.float32)
    scale = size / head.shape[0]
    small = np.asarray(Image.fromarray(head).resize((size, size), Image.BILINEAR)).astype(np.float32)
    y, x = np.mgrid[:size, :size]
    cx, cy = (box[0] + box[2] / 2) * scale, (box[1] + box[3] / 2) * scale
    distance = np.hypot((x - cx) / (box[2] * scale * 0.85), (y - cy) / (box[3] * scale * 0.95))
    alpha = np.clip((1.25 - distance) / rng.uniform(0.1, 0.4), 0, 1)[..., None]
    left, top = (int(rng.integers(0, side - size + 1)) for _ in range(2))
    part = canvas[top : top + size, left : left + size]
    canvas[top : top + size, left : left + size] = part * (1 - alpha) + small * alpha
    return canvas.clip(0, 255).astype(np.uint8), box * scale + np.array([left, top, 0, 0])


def spoilt(x: torch.Tensor) -> torch.Tensor:
    """What cameras do; less than to faces that are to be recognised, as the traces of paper and screens are fine."""
    x = torch.where(effects.some(x, 0.5) > 0, x.flip(3), x)
    x = (x - 127.5) * effects.uniform(x, 0.7, 1.25) + 127.5 + effects.uniform(x, -22, 22)
    x = x * effects.uniform(x, 0.93, 1.07, 3)
    x = effects.blur(x, 0.25, 1.0)
    return (x + torch.randn_like(x) * effects.uniform(x, 0, 6) * effects.some(x, 0.4)).clamp(0, 255)


def train(teachers: Path, steps: float, minutes: float | None = None) -> None:
    torch.manual_seed(7)
    data, checkpoint = crops(teachers), work("liveness.pt")
    network = Liveness().to(device(), memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    average, step, spent = Average(network, 0.998), 0, 0.0
    if checkpoint.exists():
        saved = load(checkpoint)
        network.load_state_dict(saved["live"])
        average.network.load_state_dict(saved["liveness"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent, average.updates = saved["step"], saved["spent"], saved["step"]
    schedule = Schedule(RATE, WARM_UP, steps, minutes, spent)
    # RGB in the archive, BGR to the network, as its teachers take it.
    x, y = data["x"].flip(1), data["y"]
    groups = [torch.nonzero((data["kind"] == kind) & ~data["held_out"] & (y >= 0.5 if live else y < 0.5)).ravel()
              for kind, live in ((0, True), (0, False), (1, True), (2, False))]
    held_out = {kind: torch.nonzero((data["kind"] == kind) & data["held_out"]).ravel() for kind in (1, 2)}

    @torch.no_grad()
    def validate() -> None:
        live, made_up = (average.network(x[at].float().to(device()))[:, 1].cpu() for at in held_out.values())
        threshold = live.quantile(0.03)
        print(f"validation: real heads: 3 % are below {threshold:.3f}; made-up attacks above it: {100 * (made_up >= threshold).float().mean():.2f} %", flush=True)

    def keep() -> None:
        save(checkpoint, {"liveness": average.network.state_dict(), "live": network.state_dict(), "optimiser": optimiser.state_dict(),
                          "step": step, "spent": schedule.spent})

    while schedule.done(step) < 1:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        at = torch.cat([g[torch.randint(len(g), (BATCH // len(groups),))] for g in groups])
        batch = spoilt(x[at].float().to(device())).contiguous(memory_format=torch.channels_last)
        target = y[at].float().to(device())
        loss = F.cross_entropy(network.logits(batch), torch.stack([1 - target, target], 1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average.update()
        step += 1
        if step % 100 == 0:
            print(f"step {step} loss {loss:.4f} {schedule.spent:.0f} s {100 * schedule.done(step):.1f} %", flush=True)
        if step % 500 == 0:
            validate()
            keep()
    validate()
    keep()


def measure(pack: Path | None = PACK) -> dict[str, float]:
    """On lessons that nothing learned from: the share of attacks that pass where 3 % of live faces are left to a person
    (APCER and BPCER of ISO/IEC 30107-3), by kind, face by face and by the mean of each track."""
    tracks: dict[str, list[float]] = {}
    for _, _, _, live, track in seen_in_lessons(MEASURED, pack):
        tracks.setdefault(track, []).append(live)
    figures = {}
    for name, scores in (("face", {track: values for track, values in tracks.items()}), ("track", {track: [float(np.mean(v))] for track, v in tracks.items()})):
        of = lambda kind: np.concatenate([np.array(v) for track, v in scores.items() if track.endswith(kind)])
        live = of("None")
        threshold = float(np.quantile(live, 0.03))
        figures |= {f"{name}_threshold": threshold, f"{name}_live": len(live)}
        figures |= {f"{name}_apcer_{kind}": float((of(kind) >= threshold).mean()) for kind in ("print", "screen")}
    return figures
