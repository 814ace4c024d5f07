"""Trains the embedder by distillation: the student sees a spoilt picture, the teacher saw the clean one."""

import math
import queue
import shutil
import threading
import time

import numpy as np
import torch
import torch.nn.functional as F

from . import augment
from .crops import is_validation, teach
from .paths import work
from .student import Student

BATCH = 128
RATE = 3e-3
WARM_UP = 300


class Faces:
    """The crops of all sources with the teacher's answers."""

    def __init__(self, sources: dict[str, str]):
        self.pictures, self.names, embeddings, self.maps, self.start = [], [], [], [], [0]
        for label, file in sources.items():
            pictures = np.load(work(file))
            names = work(file.replace(".npy", ".txt")).read_text().split("\n")
            embedding, feature = teach(file, label)
            self.pictures.append(pictures)
            self.names += [f"{label}/{name}" for name in names]
            embeddings.append(embedding)
            self.maps.append(feature)
            self.start.append(len(self.names))
        both = np.concatenate(embeddings, 1)
        # The mirrored picture is the same person: the mean of both is the better answer, and to learn it
        # makes the student indifferent to mirroring.
        mean = both[0] + both[1]
        self.embeddings = torch.from_numpy(mean / np.linalg.norm(mean, axis=1, keepdims=True))
        sample = self.maps[0][0, ::64].astype(np.float32)
        self.mean = torch.from_numpy(sample.mean((0, 1, 2)))[None, :, None, None]
        self.scale = 1 / (torch.from_numpy(sample.std((0, 1, 2)))[None, :, None, None] + 1e-3)
        held_out = np.array([is_validation(name) for name in self.names])
        self.train, self.validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def picture(self, at: int) -> np.ndarray:
        source = np.searchsorted(self.start, at, "right") - 1
        return self.pictures[source][at - self.start[source]]

    def map(self, at: int, mirrored: bool) -> np.ndarray:
        source = np.searchsorted(self.start, at, "right") - 1
        return self.maps[source][int(mirrored), at - self.start[source]]

    def batch(self, chosen: np.ndarray, strength: float):
        """Spoilt pictures, unit embeddings, standardised maps."""
        mirrored = np.random.rand(len(chosen)) < 0.5
        x = np.stack([self.picture(i)[:, ::-1] if m else self.picture(i) for i, m in zip(chosen, mirrored)])
        x = torch.from_numpy(x).permute(0, 3, 1, 2).float()
        feature = np.stack([self.map(i, m) for i, m in zip(chosen, mirrored)]).astype(np.float32)
        feature = (torch.from_numpy(feature).permute(0, 3, 1, 2) - self.mean) * self.scale
        theta = augment.affine(len(chosen), strength)
        x = augment.camera(augment.warp(x, theta))
        feature = augment.warp(feature, theta)
        return x.contiguous(memory_format=torch.channels_last), self.embeddings[chosen], feature

    def batches(self, seed: int, stop: threading.Event):
        """Batches for ever, made ahead by another thread."""
        ready: queue.Queue = queue.Queue(4)

        def make():
            order = np.random.default_rng(seed)
            while not stop.is_set():
                shuffled = order.permutation(self.train)
                for at in range(0, len(shuffled) - BATCH + 1, BATCH):
                    made = self.batch(shuffled[at : at + BATCH], 1.0)
                    while not stop.is_set():
                        try:
                            ready.put(made, timeout=1)
                            break
                        except queue.Full:
                            continue
                    if stop.is_set():
                        return

        threading.Thread(target=make, daemon=True).start()
        while True:
            yield ready.get()


@torch.no_grad()
def agreement(student: Student, faces: Faces, chosen: np.ndarray) -> torch.Tensor:
    """Cosine between student and teacher, for each face."""
    student.eval()
    found = []
    for at in range(0, len(chosen), BATCH):
        part = chosen[at : at + BATCH]
        x = torch.from_numpy(np.stack([faces.picture(i) for i in part])).permute(0, 3, 1, 2).float()
        with torch.autocast("cpu", torch.bfloat16):
            y = student(x.contiguous(memory_format=torch.channels_last))
        found.append((F.normalize(y.float()) * faces.embeddings[part]).sum(1))
    student.train()
    return torch.cat(found)


def train(sources: dict[str, str], epochs: float, minutes: float | None = None) -> None:
    """Trains for `epochs`, or until `minutes` have gone; goes on from the last checkpoint."""
    torch.manual_seed(1)
    faces = Faces(sources)
    student = Student().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.02)
    checkpoint = work("embedder.pt")
    step, spent, best = 0, 0.0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        student.load_state_dict(saved["student"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent, best = saved["step"], saved["spent"], saved["best"]
    steps = int(epochs * len(faces.train) / BATCH)
    begun, stop, cosine, hint = time.time() - spent, threading.Event(), 0.0, 0.0

    def save() -> None:
        state = {"student": student.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
        state |= {"spent": time.time() - begun, "best": best}
        torch.save(state, f"{checkpoint}.part")
        work("embedder.pt.part").rename(checkpoint)

    def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        trunk = student.features(x)
        return student.head(trunk), student.hint(trunk)

    # Fused, it trains a quarter faster.
    forward = torch.compile(both) if shutil.which("g++") else both

    for x, embedding, feature in faces.batches(step, stop):
        done = step / steps
        if minutes is not None:
            done = max(done, (time.time() - begun) / 60 / minutes)
        if done >= 1:
            break
        rate = RATE * min(1, (step + 1) / WARM_UP) * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            y, guess = forward(x)
        y = F.normalize(y.float())
        similarity = (y * embedding).sum(1).mean()
        pairs = (y @ y.T - embedding @ embedding.T).pow(2).mean()
        hints = F.smooth_l1_loss(guess.float(), feature)
        loss = (1 - similarity) + 5 * pairs + hints
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        step += 1
        cosine = 0.98 * cosine + 0.02 * similarity.item()
        hint = 0.98 * hint + 0.02 * hints.item()
        if step % 100 == 0:
            pace = step * BATCH / (time.time() - begun)
            print(f"step {step} epoch {step * BATCH / len(faces.train):.2f} cosine {cosine:.4f} hint {hint:.4f} "
                  f"{pace:.0f}/s {100 * done:.1f} %", flush=True)
        if step % 500 == 0:
            best = agreement(student, faces, faces.validation).mean().item()
            print(f"validation: cosine {best:.4f}", flush=True)
            save()
    stop.set()
    best = agreement(student, faces, faces.validation).mean().item()
    print(f"validation: cosine {best:.4f}", flush=True)
    save()
