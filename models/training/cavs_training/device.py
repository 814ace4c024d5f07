"""Where the networks are trained, how long, and what all trainings share."""

import copy
import math
import os
import time
from pathlib import Path

import torch
from torch import nn


def device() -> torch.device:
    """`CAVS_DEVICE`, or an accelerator where there is one."""
    name = os.environ.get("CAVS_DEVICE", "auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def compiled(function):
    """Fused kernels where a compiler is there; CAVS_COMPILE=0 starts sooner."""
    return function if os.environ.get("CAVS_COMPILE", "1") == "0" else torch.compile(function, dynamic=False)


def layout() -> torch.memory_format:
    """Of pictures and maps in memory; `CAVS_LAYOUT=planes` where depthwise convolutions are slow otherwise."""
    return torch.contiguous_format if os.environ.get("CAVS_LAYOUT") == "planes" else torch.channels_last


def half() -> torch.autocast:
    return torch.autocast(device().type, torch.bfloat16)


class Schedule:
    """A cosine over steps or minutes, whichever ends first; goes on where a checkpoint left it."""

    def __init__(self, rate: float, warm_up: int, steps: float, minutes: float | None, spent: float = 0.0):
        self.top, self.warm_up, self.steps, self.minutes = rate, warm_up, steps, minutes
        self.begun = time.time() - spent

    @property
    def spent(self) -> float:
        return time.time() - self.begun

    def done(self, step: int) -> float:
        done = step / self.steps
        return done if self.minutes is None else max(done, self.spent / 60 / self.minutes)

    def rate(self, step: int) -> float:
        left = 0.5 * (1 + math.cos(math.pi * min(self.done(step), 1.0)))
        return self.top * min(1, (step + 1) / self.warm_up) * (0.003 + 0.997 * left)


class Average:
    """The running average of a network's weights and statistics, which is what is kept in the end."""

    def __init__(self, network: nn.Module, decay: float):
        self.network, self.decay, self.updates = copy.deepcopy(network).eval(), decay, 0
        self.pairs = ([], [])
        for kept, live in zip(self.network.state_dict().values(), network.state_dict().values()):
            if kept.is_floating_point():
                self.pairs[0].append(kept)
                self.pairs[1].append(live)

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        torch._foreach_lerp_(self.pairs[0], self.pairs[1], 1 - decay)


def save(file: Path, state: dict) -> None:
    """Whole or not at all; and what counts of it in `CAVS_WEIGHTS_DIR`, too, if set."""
    part = file.with_suffix(".part")
    torch.save(state, part)
    part.rename(file)
    if folder := os.environ.get("CAVS_WEIGHTS_DIR"):
        part = (Path(folder) / file.name).with_suffix(".part")
        torch.save({key: value for key, value in state.items() if key not in ("live", "optimiser", "adapters")}, part)
        part.rename(part.with_suffix(".pt"))


def load(file: Path) -> dict:
    return torch.load(file, map_location=device(), weights_only=False)
