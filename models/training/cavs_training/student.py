"""The embedder: a slim residual network.

After He et al. 2016, "Deep Residual Learning for Image Recognition" (blocks), with the head of Chen et al. 2018,
"MobileFaceNets" (a global depthwise convolution instead of an average). Dense 3x3 convolutions with ReLU train
several times faster on a CPU with matrix units than depthwise ones, and cost the same at inference.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .crops import EMBEDDING, MAP_CHANNELS


@dataclass(frozen=True)
class Config:
    stem: int = 32
    stages: tuple[int, ...] = (48, 96, 192)
    blocks: int = 2
    head: int = 512
    embedding: int = EMBEDDING


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels_in == channels
            else nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


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
        layers = [nn.Conv2d(3, config.stem, 3, 2, 1, bias=False), nn.BatchNorm2d(config.stem), nn.ReLU(inplace=True)]
        channels = config.stem
        for width in config.stages:
            for index in range(config.blocks):
                layers.append(Block(channels, width, 2 if index == 0 else 1))
                channels = width
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Conv2d(channels, config.head, 1, bias=False),
            nn.BatchNorm2d(config.head),
            nn.ReLU(inplace=True),
            Global(config.head, 7),
            nn.BatchNorm2d(config.head),
            nn.Flatten(),
            nn.Linear(config.head, config.embedding, bias=False),
        )
        #: Only for training: what the teacher's map would be.
        self.hint = nn.Conv2d(channels, MAP_CHANNELS, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.trunk((x - 127.5) * (1 / 128))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))
