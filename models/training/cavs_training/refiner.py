"""The refiner: the crop around a detection -> five points, and whether they are those of an upright face.

Labels are the detector's teacher's points, averaged over sizes and mirror images of the picture: alone, its points of a
picture and of the mirrored one differ by 5.6 % of the eye distance.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import effects, scenes
from .crops import HEAD, is_validation, load_faces, load_heads
from .crops import SIDE as FACE
from .detector import Detector
from .device import Average, Schedule, compiled, device, half, load, save
from .paths import work
from .renders import TEMPLATE, portraits
from .teachers import Finder, best_face, centres

SIDE = 64
#: The crop: its middle and its side in the pixels of the aligned face (its eyes are 35.2 apart).
MIDDLE, SPAN = (56.0, 66.0), 140.0
EYES = float(np.linalg.norm(TEMPLATE[0] - TEMPLATE[1]))
BATCH, HEADS_SHARE = 1024, 0.75
RATE, DECAY, WARM_UP = 4e-3, 0.02, 200
#: The teacher must have seen a face with this score, in the median of its looks.
SURE = 0.65
FLIP = [1, 0, 2, 4, 3]
#: Errors count in parts of the distance of the eyes, or of this part of what it is in a face that looks ahead.
PROFILE = 0.35
#: Scenes without a face, of which parts are shown.
EMPTY = 300
#: Turned pictures and others that are no upright faces; then crops as from boxes, and as from a first look's points.
TURNED, FALSE, SHIFTED, SIZED, PIECES, THINGS, BOXES = 0.10, 0.07, 0.04, 0.025, 0.035, 0.06, 0.40


def conv(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class Refiner(nn.Module):
    """RGB 0-255 (n, 3, 64, 64) -> five points in halves of the crop's side from its middle (10), and a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2), conv(32, 32))
        self.more = nn.Sequential(conv(32, 32), nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32))
        self.late = nn.Sequential(conv(32, 48, 2), conv(48, 48), conv(48, 48, 2))
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(48 * 16, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(inplace=True))
        self.head = nn.Linear(64, 11)
        nn.init.zeros_(self.head.weight)  # begins with the mean face
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([*((TEMPLATE - MIDDLE) * 2 / SPAN).ravel(), 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.early((x - 127.5) * (1 / 128))
        return self.head(self.neck(self.late(torch.relu(x + self.more(x)))))


# A frame is a square: middle x and y, side, angle; pixels and radians, (n, 4).


def frame_of_points(points: torch.Tensor) -> torch.Tensor:
    """Of five points (n, 5, 2): by the least-squares similarity from the aligned face, as the agent aligns."""
    template = torch.from_numpy(TEMPLATE).to(points)
    p, q = template - template.mean(0), points - points.mean(1, keepdim=True)
    spread = (p**2).sum()
    a, b = (p * q).sum((1, 2)) / spread, (p[:, 0] * q[..., 1] - p[:, 1] * q[..., 0]).sum(1) / spread
    x, y = (torch.tensor(MIDDLE).to(points) - template.mean(0)).tolist()
    middle = points.mean(1)
    return torch.stack([middle[:, 0] + a * x - b * y, middle[:, 1] + b * x + a * y, SPAN * torch.hypot(a, b), torch.atan2(b, a)], 1)


def moved(frame: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor, log: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Shifted by parts of its side, grown and turned."""
    c, s, size = torch.cos(frame[:, 3]), torch.sin(frame[:, 3]), frame[:, 2]
    x, y = frame[:, 0] + size * (dx * c - dy * s), frame[:, 1] + size * (dx * s + dy * c)
    return torch.stack([x, y, size * torch.exp(log), frame[:, 3] + angle], 1)


def to_crop(points: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
    """Points (n, k, 2) of the picture in halves of the frame's side from its middle."""
    d = (points - frame[:, None, :2]) * (2 / frame[:, None, 2:3])
    c, s = torch.cos(frame[:, None, 3]), torch.sin(frame[:, None, 3])
    return torch.stack([d[..., 0] * c + d[..., 1] * s, -d[..., 0] * s + d[..., 1] * c], -1)


def cut(pictures: torch.Tensor, frame: torch.Tensor, samples: int, padding: str) -> torch.Tensor:
    """Crops (n, 3, SIDE, SIDE); each pixel is the mean of `samples` x `samples`."""
    n, side = len(pictures), pictures.shape[3]
    half_side = frame[:, 2] / side
    theta = effects.affine(frame[:, 3], half_side, (frame[:, 0] * 2 + 1) / side - 1, (frame[:, 1] * 2 + 1) / side - 1)
    grid = F.affine_grid(theta, [n, 3, SIDE * samples, SIDE * samples], align_corners=False)
    found = F.grid_sample(pictures, grid, align_corners=False, padding_mode=padding)
    return F.avg_pool2d(found, samples) if samples > 1 else found


def _seen(finder, pictures: torch.Tensor, room: float, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best face of each of many pictures, looked at with room around at that size, in the picture's pixels."""
    at, found = centres(side), []
    whole = pictures.shape[3] * (1 + 2 * room)
    theta = effects.affine(*(torch.full((128,), v, device=pictures.device) for v in (0.0, 1 + 2 * room, 0.0, 0.0)))
    for part in pictures.split(128):
        x = part.float()
        # One shape only: where it is compiled, another would be compiled anew.
        x = torch.cat([x, x[:1].expand(128 - len(x), *x.shape[1:])])
        grid = F.affine_grid(theta, [128, 3, side, side], align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False, padding_mode="border")
        score, box, points = best_face(finder(x.flip(1)), at)
        found.append((score[: len(part)], box[: len(part)], points[: len(part)]))
    score, box, points = (torch.cat(kind) for kind in zip(*found))
    scale, shift = whole / side, room * pictures.shape[3]
    # A pixel's middle is at its number: half a pixel to the left of where the networks count from.
    return score, (box + 0.5) * scale - shift - 0.5, (points + 0.5) * scale - shift - 0.5


def labelled(pictures: torch.Tensor, room: float, sizes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (n, 5, 2) in the pictures' pixels and scores (n): means of the middle half of the looks."""
    teacher, points, scores = Finder(maps=False, often=False), [], []
    side = pictures.shape[3]
    for size in sizes:
        for mirrored in (False, True):
            score, _, found = _seen(lambda x: teacher.ask(x)[0], pictures.flip(3) if mirrored else pictures, room, size)
            if mirrored:
                found = torch.stack([side - 1 - found[..., 0], found[..., 1]], -1)[:, FLIP]
            points.append(found)
            scores.append(score)
    looks = len(points)
    return torch.stack(points).sort(0).values[looks // 4 : looks - looks // 4].mean(0), torch.stack(scores).median(0).values


def _on_device(load) -> torch.Tensor:
    return torch.from_numpy(np.array(load()[0])).permute(0, 3, 1, 2).contiguous().to(device())


def labels() -> dict:
    """Points (n, 5, 2) of heads and faces, and which are good; made once."""
    kept = work("refiner-labels.pt")
    if not kept.exists():
        heads, score = labelled(_on_device(load_heads), 0.25, (192, 256, 288, 352))
        faces, sure = labelled(_on_device(load_faces), 0.36, (192, 256))
        template = torch.from_numpy(TEMPLATE).float().to(faces.device)
        # They were aligned by another detector, and the two should nearly agree.
        agree = (faces - template).norm(dim=2).mean(1) < 8
        save(kept, {"heads": heads, "heads_good": score >= SURE, "faces": faces, "faces_good": (sure >= SURE) & agree})
    return load(kept)


def nobody() -> np.ndarray:
    return scenes.without_faces(EMPTY)


class Pictures:
    """Heads and aligned faces with their points, pictures without a face, and where detectors err."""

    def __init__(self) -> None:
        at, told = device(), labels()
        self.heads, self.faces = _on_device(load_heads), _on_device(load_faces)
        # Renders have their own truth.
        pictures, names, truth = portraits(HEAD)
        self.heads = torch.cat([self.heads, torch.from_numpy(pictures).permute(0, 3, 1, 2).to(at)])
        told["heads"] = torch.cat([told["heads"], torch.from_numpy(truth).to(at)])
        told["heads_good"] = torch.cat([told["heads_good"], torch.ones(len(truth), dtype=torch.bool, device=at)])
        self.points, self.training, self.held_out, self.weights = {}, {}, {}, {}
        for kind, names in (("heads", load_heads()[1] + names), ("faces", load_faces()[1])):
            good = told[f"{kind}_good"].cpu().numpy()
            held_out = np.array([is_validation(name) for name in names])
            self.points[kind] = told[kind]
            self.training[kind], self.held_out[kind] = (torch.from_numpy(np.flatnonzero(good & c)).to(at) for c in (~held_out, held_out))
            print(f"refiner: {kind}: {good.sum()} of {len(good)} are sure", flush=True)
            chosen = self.points[kind][self.training[kind]]
            apart = (chosen[:, 0] - chosen[:, 1]).norm(dim=1) / frame_of_points(chosen)[:, 2] * SPAN / EYES
            # Few heads are turned away, and their points are the hard ones.
            self.weights[kind] = (1 / apart.clamp(0.25)).pow(2).clamp(1, 8)
        self.things = torch.from_numpy(nobody()).permute(0, 3, 1, 2).contiguous().to(at)
        self._measure()

    def _measure(self) -> None:
        """Boxes of the detector: from which side and middle the crop follows, how far it is off, and where it sees
        faces in turned pictures."""
        finders = [("teacher", Finder(maps=False, often=False).ask)]
        if work("detector.pt").exists():
            detector = Detector().to(device(), memory_format=torch.channels_last)
            detector.load_state_dict(load(work("detector.pt"))["detector"])
            detector.eval()

            @torch.no_grad()
            def own(x):
                raw = detector.raw(x.contiguous(memory_format=torch.channels_last))[0]
                return [torch.cat([raw[..., :2].sigmoid(), raw[..., 2:]], -1)]

            finders.append(("detector", own))
        good = torch.cat([self.training["heads"], self.held_out["heads"]])
        truth = frame_of_points(self.points["heads"])
        for name, finder in finders:
            # The size is 1.5 times the head's picture: faces are about a third of it.
            score, box, points = _seen(lambda x: finder(x)[0], self.heads, 0.25, 224)
            size, middle = (box[:, 2:] - box[:, :2]).prod(1).clamp(1).sqrt(), (box[:, :2] + box[:, 2:]) / 2
            off = (middle - truth[:, :2]).norm(dim=1) < truth[:, 2] / 2
            seen = good[(score[good] > 0.5) & off[good]]
            if len(seen) < len(good) / 2:
                print(f"refiner: {name}: finds too few of the faces", flush=True)
                continue
            eyes = (self.points["heads"][seen, 0] - self.points["heads"][seen, 1]).norm(dim=1)
            error = (points[seen] - self.points["heads"][seen]).norm(dim=2).mean(1) / eyes * 100
            self.factor = (truth[seen, 2] / size[seen]).median().item()
            self.down = ((truth[seen, 1] - middle[seen, 1]) / size[seen]).median().item()
            frame = torch.stack([middle[:, 0], middle[:, 1] + self.down * size, self.factor * size, torch.zeros_like(size)], 1)[seen]
            at = truth[seen]
            upright = at[:, 3].abs() < 0.5
            self.errors = torch.stack([(frame[:, 0] - at[:, 0]) / at[:, 2], (frame[:, 1] - at[:, 1]) / at[:, 2], (frame[:, 2] / at[:, 2]).log()], 1)[upright]
            print(f"refiner: {name}: points are off by {error.median():.2f} (median), {error.quantile(0.95):.2f} % (95th percentile); "
                  f"crop {self.factor:.4f} of the box, {self.down:.4f} lower, off by", self.errors.std(0).tolist(), flush=True)
        turned = []
        for name, finder in finders:
            for quarter in (1, 2, 3):
                # Turned against the clock by quarters, so the upright crop there is one turned with it here.
                score, box, _ = _seen(lambda x: finder(x)[0], self.heads.rot90(quarter, (2, 3)), 0.25, 224)
                size, middle = (box[:, 2:] - box[:, :2]).prod(1).clamp(1).sqrt() * self.factor, (box[:, :2] + box[:, 2:]) / 2 - (HEAD - 1) / 2
                middle[:, 1] += self.down / self.factor * size
                c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter]
                x, y = middle[:, 0] * c - middle[:, 1] * s, middle[:, 0] * s + middle[:, 1] * c
                frame = torch.stack([x + (HEAD - 1) / 2, y + (HEAD - 1) / 2, size, torch.full_like(size, quarter * torch.pi / 2)], 1)
                seen = good[score[good] > 0.35]
                turned.append((seen, frame[seen]))
                print(f"refiner: {name}: {len(seen)} of {len(good)} pictures turned by {90 * quarter} degrees are faces to it", flush=True)
        where, frames = torch.cat([t[0] for t in turned]), torch.cat([t[1] for t in turned])
        kept = torch.isin(where, self.training["heads"])
        self.turned = {"train": (where[kept], frames[kept]), "held_out": (where[~kept], frames[~kept])}

    def batch(self, size: int, held_out: bool = False, spoil: bool = True):
        """Crops, targets (n, 5, 2), eye distances in crop units (0: no points to learn), upright (1, 0, or -1: either)."""
        at, parts = device(), []
        of_heads = int(size * HEADS_SHARE)
        for kind, count in (("heads", of_heads), ("faces", size - of_heads)):
            if not count:
                continue
            allowed = (self.held_out if held_out else self.training)[kind]
            if held_out:
                drawn = torch.randint(len(allowed), (count,), device=at)
            else:
                drawn = torch.multinomial(self.weights[kind], count, replacement=True)
            parts.append(self._samples(kind, allowed[drawn], held_out))
        x, target, eye, upright = (torch.cat(kind) for kind in zip(*parts))
        order = torch.randperm(len(x), device=at)
        x = effects.camera(x[order], 0.18) if spoil else x[order]
        return x.contiguous(memory_format=torch.channels_last), target[order], eye[order], upright[order]

    def _samples(self, kind: str, chosen: torch.Tensor, held_out: bool):
        n, at, side = len(chosen), device(), HEAD if kind == "heads" else FACE
        normal, uniform = lambda s, k=n: torch.randn(k, device=at) * s, lambda low, high, k=n: low + (high - low) * torch.rand(k, device=at)
        # What is done to which part of the batch.
        ends, begun = [], 0
        for share in (TURNED, FALSE if kind == "heads" else 0, SHIFTED, SIZED, PIECES, THINGS, BOXES):
            ends.append(slice(begun, begun + int(share * n)))
            begun = ends[-1].stop
        turned, false, shifted, sized, pieces, things, boxes = ends
        looks = slice(begun, n)
        places, frames = self.turned["held_out" if held_out else "train"]
        count = false.stop - false.start
        if count and len(places):
            drawn = torch.randint(len(places), (count,), device=at)
            chosen = chosen.clone()
            chosen[false] = places[drawn]
        points, pictures = self.points[kind][chosen], (self.heads if kind == "heads" else self.faces)[chosen].float()
        # Mirrored, but for what was seen where it is.
        mirrored = torch.rand(n, device=at) < 0.5
        mirrored[false] = False
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        points = torch.where(mirrored[:, None, None], torch.stack([side - 1 - points[..., 0], points[..., 1]], -1)[:, FLIP], points)
        good = frame_of_points(points)
        frame = moved(good, normal(0.03), normal(0.03), normal(0.07), normal(0.09))  # a second look
        count = lambda part: part.stop - part.start
        k = count(boxes)
        off = self.errors[torch.randint(len(self.errors), (k,), device=at)] * torch.where(mirrored[boxes], -1.0, 1.0)[:, None].expand(k, 3) ** torch.tensor([1, 0, 0], device=at)
        roll = torch.where(torch.rand(k, device=at) < 0.55, normal(0.2, k), uniform(-0.82, 0.82, k))
        jitter = lambda s: normal(s, k)
        frame[boxes] = moved(torch.cat([good[boxes, :3], torch.zeros(k, 1, device=at)], 1), off[:, 0] + jitter(0.04), off[:, 1] + jitter(0.035), off[:, 2] + jitter(0.07), roll)
        k = count(turned)
        frame[turned] = moved(good[turned], normal(0.08, k), normal(0.08, k), normal(0.2, k), torch.pi / 2 * torch.randint(1, 4, (k,), device=at) + normal(0.25, k))
        k = count(false)
        if k and len(places):
            frame[false] = moved(frames[drawn], normal(0.04, k), normal(0.04, k), normal(0.08, k), normal(0.12, k))
        k = count(shifted)
        angle, far = uniform(0, 6.2832, k), uniform(0.35, 0.9, k)
        frame[shifted] = moved(good[shifted], far * torch.cos(angle), far * torch.sin(angle), normal(0.3, k), normal(0.3, k))
        k = count(sized)
        sign = torch.where(torch.rand(k, device=at) < 0.5, -1.0, 1.0)
        frame[sized] = moved(good[sized], normal(0.1, k), normal(0.1, k), sign * uniform(0.75, 1.4, k), normal(0.3, k))
        k = count(pieces)
        angle = uniform(0, 6.2832, k)
        frame[pieces] = moved(good[pieces], 0.8 * torch.cos(angle), 0.8 * torch.sin(angle), uniform(-1.5, -0.3, k), uniform(-3.1, 3.1, k))
        target = to_crop(points, frame)
        turn = torch.remainder(good[:, 3] - frame[:, 3] + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
        away = to_crop(good[:, None, :2], frame).abs().amax((1, 2))
        log = (frame[:, 2] / good[:, 2]).log().abs()
        a_face = torch.zeros(n, dtype=torch.bool, device=at)
        a_face[boxes] = a_face[looks] = True
        upright = torch.where(a_face & (turn < 0.85), 1.0, torch.where((turn > 1.0) | (away > 0.6) | (log > 0.7), 0.0, -1.0))
        eye = torch.maximum((target[:, 0] - target[:, 1]).norm(dim=1), PROFILE * 2 * EYES / SPAN * good[:, 2] / frame[:, 2])
        eye = torch.where(a_face & (turn < 1.0), eye, 0.0)
        # Three kinds of border, with and without smoothing.
        order, crops = torch.randperm(n, device=at), []
        for part, padding, samples in zip(order.chunk(4), ("border", "reflection", "zeros", "zeros"), (3, 1, 3, 2)):
            value = uniform(0, 255, len(part))[:, None, None, None] * (samples == 2)
            crops.append(cut(pictures[part] - value, frame[part], samples, padding) + value)
        x = torch.empty_like(torch.cat(crops))
        x[order] = torch.cat(crops)
        k = count(things)
        pieces_of = self.things[torch.randint(len(self.things), (k,), device=at)].float()
        whole = pieces_of.shape[3]
        size = torch.exp(uniform(np.log(24), np.log(400), k))
        place = torch.stack([uniform(0, whole, k), uniform(0, whole, k), size, normal(0.4, k)], 1)
        x[things] = cut(pieces_of, place, 3, "reflection")
        upright[things], eye[things] = 0.0, 0.0
        return x, target, eye, upright


def losses(out: torch.Tensor, target: torch.Tensor, eye: torch.Tensor, upright: torch.Tensor):
    """Points in eye distances, the score's, and each face's mean error as a part of the eye distance."""
    face, known = (eye > 0).float(), (upright >= 0).float()
    d = (out[:, :10].view(-1, 5, 2) - target) / eye.clamp(0.05)[:, None, None]
    points = (F.smooth_l1_loss(d, torch.zeros_like(d), beta=0.04, reduction="none").mean((1, 2)) * face).sum() / face.sum().clamp(1)
    score = F.binary_cross_entropy_with_logits(out[:, 10], upright.clamp(0), reduction="none")
    return points, (score * known).sum() / known.sum().clamp(1), d.detach().norm(dim=2).mean(1)


def train(steps: float, minutes: float | None = None) -> None:
    """Trains for `steps`, or until `minutes` have gone; goes on from the last checkpoint."""
    torch.manual_seed(3)
    network, checkpoint = Refiner().to(device(), memory_format=torch.channels_last), work("refiner.pt")
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=device().type == "cuda")
    average = Average(network, 0.999)
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = load(checkpoint)
        network.load_state_dict(saved.get("live", saved["refiner"]))
        average.network.load_state_dict(saved["refiner"])
        if "optimiser" in saved:  # weights alone may be gone on from, too
            optimiser.load_state_dict(saved["optimiser"])
        step, spent, average.updates = saved["step"], saved["spent"], saved["step"]
    schedule = Schedule(RATE, WARM_UP, steps, minutes, spent)
    pictures = Pictures()
    forward, figures = compiled(network), {}

    @torch.no_grad()
    def validate() -> None:
        """On held-out heads: clean crops as from the detector's boxes, and spoilt ones."""
        torch.manual_seed(4)
        for name, spoil in (("clean", False), ("spoilt", True)):
            errors, yes, no = [], [], []
            for _ in range(8):
                x, target, eye, upright = pictures.batch(BATCH, True, spoil)
                out = average.network(x).float()
                error, scores = losses(out, target, eye, upright)[2], out[:, 10].sigmoid()
                errors.append(error[eye > 0])
                yes.append(scores[upright == 1])
                no.append(scores[upright == 0])
            errors, yes, no = torch.cat(errors) * 100, torch.cat(yes), torch.cat(no)
            threshold = yes.quantile(0.01)
            figures[name] = {"median": errors.median().item(), "p95": errors.quantile(0.95).item(), "threshold": threshold.item(), "passing": (no > threshold).float().mean().item()}
            print(f"validation, {name}: points off by {errors.median():.2f} (median), {errors.quantile(0.95):.2f} % (95th percentile); "
                  f"threshold {threshold:.3f} keeps 99 % and passes {100 * (no > threshold).float().mean():.2f} % of others", flush=True)
        torch.manual_seed(step)

    def keep() -> None:
        save(checkpoint, {"refiner": average.network.state_dict(), "live": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step,
                          "spent": schedule.spent, "factor": pictures.factor, "down": pictures.down, "figures": figures})

    while schedule.done(step) < 1:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        with torch.no_grad():
            x, target, eye, upright = pictures.batch(BATCH)
        with half():
            out = forward(x)
        points, score, _ = losses(out.float(), target, eye, upright)
        optimiser.zero_grad(set_to_none=True)
        (10 * points + 0.4 * score).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimiser.step()
        average.update()
        step += 1
        if step % 100 == 0:
            print(f"step {step} points {points:.4f} score {score:.4f} {schedule.spent:.0f} s {100 * schedule.done(step):.1f} %", flush=True)
        if step % 1000 == 0:
            validate()
            keep()
    validate()
    keep()
