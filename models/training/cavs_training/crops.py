"""The training pictures as arrays: aligned faces, and heads with what is around them."""

import io
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from .paths import SHARED, work

SIDE = 112
#: Heads are kept at this size.
HEAD = 256


def _unpacked(pattern: str, side: int, kept: str) -> tuple[np.ndarray, list[str]]:
    """All pictures of the archives, uint8 RGB (n, side, side, 3), with their names, in the order of the archives."""
    cache, names = work(f"{kept}.npy"), work(f"{kept}.txt")
    if not cache.exists():
        found = []
        for path in sorted((SHARED / "train").glob(pattern)):
            with tarfile.open(path) as tar:
                found += [(f"{path.stem}/{m.name}", tar.extractfile(m).read()) for m in tar if m.isfile() and m.name.endswith(".webp")]

        def decoded(entry: tuple[str, bytes]) -> np.ndarray:
            picture = Image.open(io.BytesIO(entry[1])).convert("RGB")
            return np.asarray(picture if picture.size == (side, side) else picture.resize((side, side), Image.BICUBIC))

        with ThreadPoolExecutor() as pool:
            pictures = np.stack(list(pool.map(decoded, found)))
        names.write_text("\n".join(name for name, _ in found))
        with open(f"{cache}.part", "wb") as file:
            np.save(file, pictures)
        work(f"{kept}.npy.part").rename(cache)
    return np.load(cache, mmap_mode="r"), names.read_text().split("\n")


def load_faces() -> tuple[np.ndarray, list[str]]:
    return _unpacked("faces112-*.tar", SIDE, "faces")


def load_heads() -> tuple[np.ndarray, list[str]]:
    return _unpacked("heads-*.tar", HEAD, "heads")


def is_validation(name: str) -> bool:
    """Five in a hundred, by name, so that more data never moves a face from one side to the other."""
    return zlib.crc32(name.encode()) % 20 == 0
