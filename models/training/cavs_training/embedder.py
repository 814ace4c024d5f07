"""Trains the embedder by distillation: the student sees spoilt pictures, the teacher is asked about the clean ones."""

import numpy as np
import torch
import torch.nn.functional as F

from . import effects
from .crops import is_validation
from .device import Average, Schedule, compiled, device, half, load, save
from .paths import work
from .student import Student
from .teachers import Recogniser

#: Faces a step; the student sees each in two ways.
FACES = 384
RATE, DECAY, WARM_UP = 3e-3, 0.03, 500
#: How far the landmarks that align a face are off: shift in parts of half the side, logarithm of the scale, angle.
MISPLACED, MISSCALED, MISTURNED = 0.022, 0.045, 0.042


class Faces:
    """The crops of all sources, on the device."""

    def __init__(self, sources: dict[str, str]):
        pictures, self.names = [], []
        for label, file in sources.items():
            if work(file).exists():
                pictures.append(torch.from_numpy(np.load(work(file))))
                names = work(file.replace(".npy", ".txt")).read_text().split("\n")
                self.names += [f"{label}/{name}" for name in names]
        self.pictures = torch.cat(pictures).permute(0, 3, 1, 2).to(device())
        held_out = np.array([is_validation(name) for name in self.names])
        self.train, self.validation = (torch.from_numpy(np.flatnonzero(c)).to(device()) for c in (~held_out, held_out))

    def real(self) -> torch.Tensor:
        """Validation faces that are no renders."""
        return torch.tensor([i for i in self.validation.tolist() if self.names[i].startswith("faces/")], device=device())

    def get(self, chosen: torch.Tensor) -> torch.Tensor:
        return self.pictures[chosen].float()


def told(teacher: Recogniser, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Embeddings, and maps of the faces and of their mirror images, one behind the other.

    The mirrored picture is the same person: the mean of both embeddings is the better answer, and to learn it makes the
    student indifferent to mirroring.
    """
    embedding, maps = teacher.ask(torch.cat([x, x.flip(3)]))
    return F.normalize(embedding[: len(x)] + embedding[len(x) :]), maps


def _soft(n: int, channels: int, cells: int, side: int, at: torch.device) -> torch.Tensor:
    coarse = torch.randn(n, channels, cells, cells, device=at)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)


def others(x: torch.Tensor) -> torch.Tensor:
    """Half of the faces become people whom no picture shows: bent, or put together from two."""
    n, at, side = len(x), x.device, x.shape[2]
    # Bent: eyes further apart, a longer nose, another chin.
    bent = slice(n // 2, 7 * n // 8)
    theta = torch.eye(2, 3, device=at).expand(bent.stop - bent.start, 2, 3)
    grid = F.affine_grid(theta, [bent.stop - bent.start, 3, side, side], align_corners=False)
    shift = _soft(len(grid), 2, 5, side, at) * 0.035 * torch.rand(len(grid), 1, 1, 1, device=at)
    x = x.clone()
    x[bent] = F.grid_sample(x[bent], grid + shift.permute(0, 2, 3, 1), align_corners=False, padding_mode="border")
    # Put together: parts of one and of another, or something between the two.
    mixed = slice(3 * n // 4, n)
    parts = torch.sigmoid(_soft(mixed.stop - mixed.start, 1, 4, side, at) * 4 + torch.randn(mixed.stop - mixed.start, 1, 1, 1, device=at))
    even = torch.rand(len(parts), 1, 1, 1, device=at)
    share = torch.where(torch.rand(len(parts), 1, 1, 1, device=at) < 0.35, even, parts)
    x[mixed] = x[mixed] * share + x[: len(parts)] * (1 - share)
    return x


def misaligned(n: int, at: torch.device) -> torch.Tensor:
    """As landmarks that are a little off align a face; some are off twice as far."""
    strength = torch.where(torch.rand(n, device=at) < 0.25, 2.0, 1.0)
    drawn = torch.randn(4, n, device=at) * strength
    return effects.affine(drawn[0] * MISTURNED, torch.exp(drawn[1] * MISSCALED), drawn[2] * MISPLACED, drawn[3] * MISPLACED)


@torch.no_grad()
def lesson(teacher: Recogniser, x: torch.Tensor, spread: list[tuple[torch.Tensor, torch.Tensor]]):
    """Two spoilt views of each face, what the teacher said, and its maps as they lie in the views."""
    n = len(x)
    x = others(x)
    embedding, maps = told(teacher, x)
    views, hints = [], [[] for _ in maps]
    for _ in range(2):
        mirrored = (torch.rand(n, device=x.device) < 0.5)[:, None, None, None]
        theta = misaligned(n, x.device)
        views.append(effects.warp(torch.where(mirrored, x.flip(3), x), theta))
        for level, (mean, scale), kept in zip(maps, spread, hints):
            kept.append(effects.warp(((torch.where(mirrored, level[n:], level[:n]) - mean) * scale).float(), theta))
    # The effects that only the first or the last pictures suffer shall be of either view, and of any kind of face.
    order = torch.randperm(2 * n, device=x.device)
    seen = torch.cat(views)[order]
    spoilt = torch.where(effects.some(seen, 0.75) > 0, effects.camera(seen), seen)
    return spoilt.contiguous(memory_format=torch.channels_last), torch.cat([embedding, embedding])[order], [torch.cat(h)[order] for h in hints]


@torch.no_grad()
def agreement(student: Student, teacher: Recogniser, faces: Faces, chosen: torch.Tensor, spoil=lambda x: x) -> torch.Tensor:
    """Cosine between student and teacher, for each face."""
    training = student.training
    student.eval()
    found = []
    for part in chosen.split(FACES):
        x = faces.get(part)
        with half():
            y = student(spoil(x).contiguous(memory_format=torch.channels_last))
        found.append((F.normalize(y.float()) * told(teacher, x)[0]).sum(1))
    student.train(training)
    return torch.cat(found)


def train(sources: dict[str, str], epochs: float, minutes: float | None = None) -> None:
    """Trains for `epochs`, or until `minutes` have gone; goes on from the last checkpoint."""
    torch.manual_seed(1)
    faces, teacher, checkpoint = Faces(sources), Recogniser(), work("embedder.pt")
    student = Student().to(device(), memory_format=torch.channels_last)
    decayed = [p for p in student.parameters() if p.dim() > 1]
    free = [p for p in student.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": free, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, fused=device().type == "cuda")
    average = Average(student, 0.9995)
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = load(checkpoint)
        student.load_state_dict(saved.get("live", saved["student"]))
        average.network.load_state_dict(saved["student"])
        if "optimiser" in saved:  # weights alone may be gone on from, too
            optimiser.load_state_dict(saved["optimiser"])
        step, spent, average.updates = saved["step"], saved["spent"], saved["step"]
    schedule = Schedule(RATE, WARM_UP, epochs * len(faces.train) / FACES, minutes, spent)
    # One shape only: where it is compiled, another would be compiled anew.
    sample = faces.get(faces.train[:: max(1, len(faces.train) // FACES)][:FACES])
    _, maps = told(teacher, sample)
    spread = [(m.float().mean((0, 2, 3), keepdim=True), 1 / (m.float().std((0, 2, 3), keepdim=True) + 1e-3)) for m in maps]
    forward = compiled(student.lesson)
    best = 0.0

    def validate() -> float:
        real = faces.real()
        real = real[: len(real) // FACES * FACES] if len(real) >= FACES else real
        clean = agreement(average.network, teacher, faces, real)
        off = agreement(average.network, teacher, faces, real, lambda x: effects.warp(x, misaligned(len(x), x.device)))
        spoilt = agreement(average.network, teacher, faces, real, effects.camera)
        print(f"validation: cosine {clean.mean():.4f}, tenth percentile {clean.quantile(0.1):.4f}, "
              f"misaligned {off.mean():.4f}, spoilt {spoilt.mean():.4f}", flush=True)
        return clean.mean().item()

    def keep() -> None:
        save(checkpoint, {"student": average.network.state_dict(), "live": student.state_dict(), "optimiser": optimiser.state_dict(),
                          "step": step, "spent": schedule.spent, "best": best})

    logged = (schedule.spent, step)
    while schedule.done(step) < 1:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        chosen = faces.train[torch.randint(len(faces.train), (FACES,), device=device())]
        x, embedding, maps = lesson(teacher, faces.get(chosen), spread)
        with half():
            y, guesses = forward(x)
        y = F.normalize(y.float())
        similarity = (y * embedding).sum(1).mean()
        pairs = (y @ y.T - embedding @ embedding.T).pow(2).mean()
        hints = sum(F.smooth_l1_loss(guess.float(), hint) for guess, hint in zip(guesses, maps))
        # Where a trait lies is learned first; in the end only the embedding counts.
        loss = (1 - similarity) + 5 * pairs + (1 - 0.9 * min(schedule.done(step), 1.0)) * 0.5 * hints
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        step += 1
        average.update()
        if step % 200 == 0:
            now = schedule.spent
            print(f"step {step} epoch {step * FACES / len(faces.train):.2f} cosine {similarity:.4f} pairs {pairs:.5f} hints {hints:.4f} "
                  f"{(step - logged[1]) * FACES / (now - logged[0]):.0f} faces/s {100 * schedule.done(step):.1f} %", flush=True)
            logged = (now, step)
        if step % 1500 == 0:
            best = validate()
            keep()
    best = validate()
    keep()
