"""What a classroom camera does to pictures, for whole batches on any device: RGB 0-255 (n, 3, h, w).

Batches are drawn at random, so what happens to a share of the pictures happens to the first ones, or to each with some
probability: no value has to come back from the device.
"""

import torch
import torch.nn.functional as F


def uniform(x: torch.Tensor, low: float, high: float, channels: int = 1) -> torch.Tensor:
    return low + (high - low) * torch.rand(len(x), channels, 1, 1, device=x.device)


def some(x: torch.Tensor, share: float) -> torch.Tensor:
    return (torch.rand(len(x), 1, 1, 1, device=x.device) < share).to(x.dtype)


def light(x: torch.Tensor) -> torch.Tensor:
    """Exposure, contrast, a lamp on one side, colour, grey."""
    x = (x - 127.5) * uniform(x, 0.55, 1.4) + 127.5 + uniform(x, -35, 35)
    angle, amount = uniform(x, 0, 6.2832), uniform(x, 0, 60) * some(x, 0.35)
    across = torch.linspace(-1, 1, x.shape[3], device=x.device)[None, None, None]
    down = torch.linspace(-1, 1, x.shape[2], device=x.device)[None, None, :, None]
    x = x + amount * (torch.cos(angle) * across + torch.sin(angle) * down)
    gamma = torch.exp(torch.randn(len(x), 1, 1, 1, device=x.device) * 0.2)
    x = 255 * (x.clamp(0, 255) / 255 + 1e-6) ** gamma
    x = x * uniform(x, 0.9, 1.1, 3)
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * uniform(x, 0.6, 1.3) * (1 - some(x, 0.15))


def _line(x: torch.Tensor, weights: torch.Tensor, axis: int) -> torch.Tensor:
    reach = weights.shape[1] // 2
    pads = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    padded, out = F.pad(x, pads, "replicate"), torch.zeros_like(x)
    for at in range(weights.shape[1]):
        out = out + weights[:, at, None, None, None] * padded.narrow(axis, at, x.shape[axis])
    return out


def blur(x: torch.Tensor, share: float, most: float) -> torch.Tensor:
    """Out of focus, or moved along an axis: a Gaussian along both or one, of up to `most` pixels."""
    at = torch.arange(-4, 5, device=x.device, dtype=x.dtype)[None]
    sigma = (0.3 + (most - 0.3) * torch.rand(len(x), 1, device=x.device)) * (torch.rand(len(x), 1, device=x.device) < share)
    kind = torch.rand(len(x), 1, device=x.device)
    for axis, spared in ((3, kind < 0.25), (2, kind > 0.75)):
        weights = torch.exp(-(at**2) / (2 * (sigma * ~spared + 0.05) ** 2))
        x = _line(x, weights / weights.sum(1, keepdim=True), axis)
    return x


def shrink(x: torch.Tensor, share: float, sides: tuple[float, ...]) -> torch.Tensor:
    """Low resolution: the first pictures, as if they had been these parts of their size."""
    each, out, at = int(len(x) * share / len(sides)), [], 0
    for part in sides:
        small = F.interpolate(x[at : at + each], size=(round(x.shape[2] * part), round(x.shape[3] * part)), mode="area")
        out.append(F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False))
        at += each
    return torch.cat([*out, x[at:]])


def occlude(x: torch.Tensor, share: float) -> torch.Tensor:
    """A hand, a book, a mask, the head in front: a box or an ellipse, of one colour or of another picture."""
    across = torch.linspace(-1, 1, x.shape[3], device=x.device)[None, None, None]
    down = torch.linspace(-1, 1, x.shape[2], device=x.device)[None, None, :, None]
    u = (across - uniform(x, -1.1, 1.1)).abs() / uniform(x, 0.12, 0.6)
    v = (down - uniform(x, -1.1, 1.1)).abs() / uniform(x, 0.12, 0.5)
    power = torch.where(some(x, 0.5) > 0, 2.0, 12.0)
    inside = ((u**power + v**power) < 1) * some(x, share)
    other = torch.where(some(x, 0.35) > 0, x.roll(1, 0), uniform(x, 0, 255, 3).expand_as(x))
    return x * (1 - inside) + other * inside


_LUMA = torch.tensor([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
]).float().view(8, 8)
_CHROMA = torch.tensor([
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
] + [99] * 32).float().view(8, 8)
_DCT = torch.cos((2 * torch.arange(8)[None] + 1) * torch.arange(8)[:, None] * torch.pi / 16) * 0.5
_DCT[0] *= 0.5**0.5
_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_TO_RGB = torch.linalg.inv(_TO_YCC)


def _quantised(plane: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    n, h, w = plane.shape
    dct = _DCT.to(plane.device)
    blocks = plane.view(n, h // 8, 8, w // 8, 8)
    found = torch.einsum("ui,nyixj,vj->nyxuv", dct, blocks, dct)
    found = torch.round(found / table[:, None, None]) * table[:, None, None]
    return torch.einsum("ui,nyxuv,vj->nyixj", dct, found, dct).reshape(n, h, w)


def jpeg(x: torch.Tensor, share: float, low: int = 20, high: int = 90) -> torch.Tensor:
    """The last pictures as JPEG leaves them, colour at half the resolution; sides are multiples of 16."""
    count = int(len(x) * share)
    if not count:
        return x
    y = x[len(x) - count :]
    quality = low + (high - low) * torch.rand(count, 1, 1, device=x.device)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    tables = [((table.to(x.device)[None] * scale + 50) / 100).floor().clamp(1, 255) for table in (_LUMA, _CHROMA, _CHROMA)]
    planes = torch.einsum("ij,njhw->nihw", _TO_YCC.to(x.device), y.clamp(0, 255).round() - 128)
    small = F.avg_pool2d(planes[:, 1:], 2)
    colour = torch.stack([_quantised(small[:, i].contiguous(), tables[i + 1]) for i in range(2)], 1)
    colour = F.interpolate(colour, scale_factor=2, mode="nearest")
    planes = torch.cat([_quantised(planes[:, 0].contiguous(), tables[0])[:, None], colour], 1)
    return torch.cat([x[: len(x) - count], torch.einsum("ij,njhw->nihw", _TO_RGB.to(x.device), planes) + 128])


def camera(x: torch.Tensor, hidden: float = 0.15) -> torch.Tensor:
    """All of it."""
    x = shrink(x, 0.2, (0.22, 0.29, 0.36, 0.5, 0.64))
    x = light(x)
    x = occlude(x, hidden)
    x = blur(x, 0.2, 0.016 * x.shape[3])
    x = x + torch.randn_like(x) * uniform(x, 0, 8) * some(x, 0.7)
    return jpeg(x, 0.25).clamp(0, 255)


def affine(angle: torch.Tensor, scale: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    """Maps of `affine_grid` (n, 2, 3): output to input, in halves of the side."""
    c, s = torch.cos(angle) * scale, torch.sin(angle) * scale
    return torch.stack([torch.stack([c, -s, dx], 1), torch.stack([s, c, dy], 1)], 1)


def warp(x: torch.Tensor, theta: torch.Tensor, padding: str = "border") -> torch.Tensor:
    grid = F.affine_grid(theta.to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False, padding_mode=padding)
