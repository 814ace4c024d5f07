"""Composed scenes for the detector: heads pasted on backgrounds, and what the teacher finds in them.

A scene is 320x320. Heads come from photographs with some context and from renders of the synthetic
classroom; backgrounds are made of noise, of gradients, and of anything in the heads' pictures seen so large
that no face is left in it. The teacher answers for every cell of its three grids, so a scene needs no labels:
a face that blends into another is as hard for the student as it is for the teacher.
"""

import io
import multiprocessing
import tarfile

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFilter

from .paths import SHARED, work

SIDE = 320
STRIDES = (8, 16, 32)
CELLS = sum((SIDE // stride) ** 2 for stride in STRIDES)
#: cls, obj, box (4), key points (10) of a cell.
CHANNELS = 16
CHUNK = 200


def load_heads() -> list[Image.Image]:
    heads = []
    for path in sorted((SHARED / "train").glob("heads-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and member.name.endswith(".webp"):
                    picture = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")
                    picture.load()
                    heads.append(picture)
    return heads


def load_renders() -> list[Image.Image]:
    """Frames and portraits that `synthface` wrote, if any."""
    pictures = []
    for path in sorted(work("renders").rglob("*.jpg")):
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB"))
    return pictures


def _texture(rng: np.random.Generator) -> Image.Image:
    """Coloured noise of a random coarseness."""
    small = rng.integers(0, 256, (rng.integers(2, 40), rng.integers(2, 40), 3), np.uint8)
    how = [Image.NEAREST, Image.BILINEAR, Image.BICUBIC][rng.integers(3)]
    return Image.fromarray(small).resize((SIDE, SIDE), how)


def _far_too_near(rng: np.random.Generator, heads: list[Image.Image]) -> Image.Image:
    """A small piece of a picture, so large that it is hair, cloth, skin or wall, but no face."""
    picture = heads[rng.integers(len(heads))]
    edge = min(picture.size)
    side = max(6, int(edge * rng.uniform(0.06, 0.25)))
    # Mostly from the border, where the background is.
    if rng.random() < 0.7:
        x, y = rng.choice([0, picture.width - side]), rng.integers(0, picture.height - side + 1)
    else:
        x, y = rng.integers(0, picture.width - side + 1), rng.integers(0, picture.height - side + 1)
    return picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.BICUBIC)


def _shapes(rng: np.random.Generator, scene: Image.Image) -> None:
    """Things with edges: furniture, windows, balls."""
    draw = ImageDraw.Draw(scene)
    for _ in range(rng.integers(0, 12)):
        x, y = rng.integers(-40, SIDE, 2)
        w, h = rng.integers(4, 160, 2)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        [draw.rectangle, draw.ellipse][rng.integers(2)]((x, y, x + w, y + h), fill=colour if rng.random() < 0.7 else None,
                                                       outline=colour, width=int(rng.integers(1, 5)))


def _background(rng: np.random.Generator, heads: list[Image.Image], renders: list[Image.Image]) -> Image.Image:
    kind = rng.random()
    if kind < 0.07:  # what a letterboxed picture is put on
        return Image.new("RGB", (SIDE, SIDE), tuple(int(c) for c in rng.choice([0, 114, 128, 255], 1).repeat(3)))
    if kind < 0.2:
        return _texture(rng)
    if kind < 0.3 and renders:
        picture = renders[rng.integers(len(renders))]
        side = int(rng.uniform(0.3, 1) * min(picture.size))
        x, y = rng.integers(0, picture.width - side + 1), rng.integers(0, picture.height - side + 1)
        return picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.BILINEAR)
    scene = _far_too_near(rng, heads)
    # A patchwork has more edges than one piece.
    for _ in range(rng.integers(0, 6)):
        part = _far_too_near(rng, heads).resize(tuple(int(v) for v in rng.integers(20, SIDE, 2)))
        scene.paste(part, tuple(int(v) for v in rng.integers(-40, SIDE, 2)))
    return scene


def _paste(rng: np.random.Generator, scene: Image.Image, head: Image.Image, size: float, x: int, y: int) -> None:
    side = max(10, int(size))
    if rng.random() < 0.2:  # a passport picture: hardly anything but the face
        inset = rng.uniform(0, 0.2, 4) * head.width
        head = head.crop((int(inset[0]), int(inset[1]), int(head.width - inset[2]), int(head.height - inset[3])))
    how = [Image.BILINEAR, Image.BICUBIC, Image.BOX][rng.integers(3)]
    head = head.resize((side, max(10, round(side * head.height / head.width))), how)
    if rng.random() < 0.5:
        head = head.transpose(Image.FLIP_LEFT_RIGHT)
    edge = rng.random()
    mask = Image.new("L", head.size, 255)
    if edge < 0.5:  # cut out along an oval, softly
        mask = Image.new("L", head.size, 0)
        inset = side * rng.uniform(0, 0.08)
        ImageDraw.Draw(mask).ellipse((inset, inset / 2, head.width - inset, head.height * rng.uniform(1, 1.3)), fill=255)
        mask = mask.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.005, 0.04)))
    turn = rng.normal(0, 12) if rng.random() < 0.85 else rng.uniform(-60, 60)
    head, mask = head.rotate(turn, Image.BILINEAR, expand=True), mask.rotate(turn, Image.BILINEAR, expand=True)
    light = np.asarray(head, np.float32)
    light = (light - 128) * rng.uniform(0.6, 1.2) + 128 + rng.uniform(-40, 30)
    head = Image.fromarray(light.clip(0, 255).astype(np.uint8))
    scene.paste(head, (x - head.width // 2, y - head.height // 2), mask)


def compose(rng: np.random.Generator, heads: list[Image.Image], renders: list[Image.Image]) -> np.ndarray:
    """One scene, uint8 RGB (320, 320, 3)."""
    scene = _background(rng, heads, renders)
    if rng.random() < 0.6:
        _shapes(rng, scene)
    pick = lambda: heads[rng.integers(len(heads))]
    kind = rng.random()
    if kind < 0.12:
        pass  # nobody
    elif kind < 0.4:  # a crowd: rows of heads of about one size
        size = float(np.exp(rng.uniform(np.log(18), np.log(80))))
        apart = size * rng.uniform(0.75, 1.6)
        for row in range(int(SIDE / apart) + 1):
            for column in range(int(SIDE / apart) + 1):
                if rng.random() < 0.7:
                    x = (column + 0.5 * (row % 2) + rng.normal(0, 0.12)) * apart
                    y = (row + rng.normal(0, 0.12)) * apart
                    _paste(rng, scene, pick(), size * rng.uniform(0.8, 1.25), int(x), int(y))
    else:
        for _ in range(rng.integers(1, 9)):
            size = float(np.exp(rng.uniform(np.log(16), np.log(420))))
            x, y = rng.integers(0, SIDE, 2)
            _paste(rng, scene, pick(), size, int(x), int(y))
    if rng.random() < 0.15:
        scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.5)))
    if rng.random() < 0.15:
        scene = scene.convert("L").convert("RGB")
    if rng.random() < 0.4:
        file = io.BytesIO()
        scene.save(file, "JPEG", quality=int(rng.integers(20, 90)))
        scene = Image.open(file)
    picture = np.asarray(scene, np.float32)
    if rng.random() < 0.3:
        picture = picture + rng.normal(0, rng.uniform(1, 10), picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def teacher() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(SHARED / "models" / "yunet_n_dynamic.onnx"), options, ["CPUExecutionProvider"])


def answers(session: onnxruntime.InferenceSession, picture: np.ndarray) -> np.ndarray:
    """What the teacher says of a picture: (cells, 16)."""
    blob = picture[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
    found = [o.reshape(-1, o.shape[-1]) for o in session.run(names, {session.get_inputs()[0].name: blob})]
    levels = [np.concatenate(found[level::3], 1) for level in range(3)]
    return np.concatenate(levels).astype(np.float16)


_HEADS: list[Image.Image] = []
_RENDERS: list[Image.Image] = []


def _start() -> None:
    _HEADS.extend(load_heads())
    _RENDERS.extend(load_renders())


def _chunk(index: int) -> tuple[int, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1000 + index)
    session = teacher()
    pictures = np.stack([compose(rng, _HEADS, _RENDERS) for _ in range(CHUNK)])
    return index, pictures, np.stack([answers(session, picture) for picture in pictures])


def load_scenes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes (n, 320, 320, 3) and answers (n, 2100, 16), made once."""
    to_pictures, to_answers = work("scenes.npy"), work("scenes-answers.npy")
    if not to_answers.exists():
        pictures = np.lib.format.open_memmap(to_pictures, "w+", np.uint8, (count, SIDE, SIDE, 3))
        labels = np.lib.format.open_memmap(f"{to_answers}.part", "w+", np.float16, (count, CELLS, CHANNELS))
        with multiprocessing.get_context("spawn").Pool(initializer=_start) as pool:
            for index, made, found in pool.imap_unordered(_chunk, range(count // CHUNK)):
                pictures[index * CHUNK : (index + 1) * CHUNK] = made
                labels[index * CHUNK : (index + 1) * CHUNK] = found
                print(f"scenes: {index * CHUNK} of {count}", flush=True)
        labels.flush()
        pictures.flush()
        work("scenes-answers.npy.part").rename(to_answers)
    return np.load(to_pictures, mmap_mode="r"), np.load(to_answers, mmap_mode="r")
