"""The embedder: a slim residual network.

After He et al. 2016, "Deep Residual Learning for Image Recognition" (blocks), with the head of Chen et al. 2018,
"MobileFaceNets" (a global depthwise convolution instead of an average). Dense 3x3 convolutions train several times
faster on matrix units than depthwise ones, and cost the same at inference.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .teachers import Recogniser


@dataclass(frozen=True)
class Config:
    stem: int = 32
    stages: tuple[int, ...] = (56, 112, 224)
    blocks: tuple[int, ...] = (2, 4, 2)
    head: int = 512
    embedding: int = Recogniser.EMBEDDING


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels_in == channels
            else nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        )
        self.bend = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bend(self.body(x) + self.shortcut(x))


class Global(nn.Conv2d):
    """A depthwise convolution as large as its input: one weighted sum a channel, without a convolution's cost."""

    def __init__(self, channels: int, side: int):
        super().__init__(channels, channels, side, groups=channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.onnx.is_in_onnx_export():
            return super().forward(x)
        return (x * self.weight.squeeze(1).to(x.dtype)).sum((2, 3), keepdim=True)


class Student(nn.Module):
    """RGB 112x112, 0-255 -> an embedding, not normalised."""

    def __init__(self, config: Config = Config()):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, config.stem, 3, 2, 1, bias=False), nn.BatchNorm2d(config.stem), nn.PReLU(config.stem)
        )
        stages, channels = [], config.stem
        for width, blocks in zip(config.stages, config.blocks):
            stages.append(nn.Sequential(*(Block(width if i else channels, width, 1 if i else 2) for i in range(blocks))))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(
            nn.Conv2d(channels, config.head, 1, bias=False),
            nn.BatchNorm2d(config.head),
            nn.PReLU(config.head),
            Global(config.head, 7),
            nn.BatchNorm2d(config.head),
            nn.Flatten(),
            nn.Linear(config.head, config.embedding, bias=False),
        )
        #: Only for training: what the teacher's maps would be.
        self.hints = nn.ModuleList(nn.Conv2d(width, c, 1) for width, c in zip(config.stages, Recogniser.MAPS.values()))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        x, found = self.stem((x - 127.5) * (1 / 128)), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def lesson(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The embedding, and guesses of the teacher's maps."""
        maps = self.maps(x)
        return self.head(maps[-1]), [hint(level) for hint, level in zip(self.hints, maps)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.maps(x)[-1])
