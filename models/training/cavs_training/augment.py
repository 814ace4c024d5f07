"""What a classroom camera does to a face."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


def _rand(n: int, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, 1, 1, 1)


def _some(n: int, share: float) -> torch.Tensor:
    return torch.rand(n) < share


def affine(n: int, strength: float) -> torch.Tensor:
    """Small misalignments, as inverse maps of `affine_grid` (n, 2, 3)."""
    angle = (torch.rand(n) - 0.5) * 0.14 * strength
    scale = 1 + (torch.rand(n) - 0.5) * 0.12 * strength
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.cos(angle) * scale
    theta[:, 0, 1] = -torch.sin(angle) * scale
    theta[:, 1, 0] = torch.sin(angle) * scale
    theta[:, :, 2] = (torch.rand(n, 2) - 0.5) * 0.08 * strength
    return theta


def warp(x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False, padding_mode="border")


def _shrink(x: torch.Tensor) -> torch.Tensor:
    side = int(np.random.choice([24, 32, 40, 56, 72]))
    small = F.interpolate(x, size=(side, side), mode="area")
    return F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Out of focus, or moved: a Gaussian along one axis, both, or a line."""
    sigma = np.random.uniform(0.5, 2.0)
    at = torch.arange(-4, 5, dtype=x.dtype)
    line = torch.exp(-(at**2) / (2 * sigma**2))
    line = (line / line.sum()).repeat(3, 1, 1)
    across, down = line[:, None], line[:, :, :, None]
    kind = np.random.randint(3)
    if kind != 1:
        x = F.conv2d(F.pad(x, (4, 4, 0, 0), "replicate"), across, groups=3)
    if kind != 2:
        x = F.conv2d(F.pad(x, (0, 0, 4, 4), "replicate"), down, groups=3)
    return x


def _occlude(x: torch.Tensor) -> torch.Tensor:
    """A hand, a book, the head in front: a box of one colour at the border or the lower half."""
    x = x.clone()
    for picture in x:
        width, height = np.random.randint(16, 64), np.random.randint(16, 48)
        left, top = np.random.randint(-16, 112 - 16), np.random.randint(-16, 112 - 16)
        colour = torch.rand(3, 1, 1) * 255
        picture[:, max(top, 0) : top + height, max(left, 0) : left + width] = colour
    return x


def _jpeg(x: torch.Tensor) -> torch.Tensor:
    pictures = []
    for picture in x.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=int(np.random.randint(25, 85)))
        pictures.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()


def camera(x: torch.Tensor) -> torch.Tensor:
    """Light, colour, blur, low resolution, occlusion, noise and JPEG. RGB 0-255 (n, 3, h, w)."""
    n = len(x)
    gain, offset = _rand(n, 0.6, 1.35), _rand(n, -30, 30)
    # One side lit more than the other.
    slope = _rand(n, -0.35, 0.35) * (torch.rand(n, 1, 1, 1) < 0.4)
    ramp = torch.linspace(-1, 1, x.shape[3])[None, None, None]
    x = (x - 127.5) * gain * (1 + slope * ramp) + 127.5 + offset + 60 * slope * ramp
    x = x * (1 + 0.12 * (torch.rand(n, 3, 1, 1) - 0.5))
    grey = x.mean(1, keepdim=True)
    saturation = torch.where(_some(n, 0.15)[:, None, None, None], torch.zeros(n, 1, 1, 1), _rand(n, 0.6, 1.3))
    x = grey + (x - grey) * saturation
    for share, change in ((0.2, _shrink), (0.15, _blur), (0.1, _occlude)):
        chosen = _some(n, share)
        if chosen.any():
            x[chosen] = change(x[chosen])
    x = x + torch.randn_like(x) * _rand(n, 0, 7)
    chosen = _some(n, 0.15)
    if chosen.any():
        x[chosen] = _jpeg(x[chosen])
    return x.clamp(0, 255)
