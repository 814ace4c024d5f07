"""Composed scenes for the detector: heads pasted on backgrounds.

A scene is 640x640. Heads come from photographs with some context and from renders of the synthetic
classroom; backgrounds are landscapes, animals and things of the distribution's own picture packages
(`BACKGROUNDS`), noise, gradients, and anything in the heads' pictures seen so large that no face is left in
it. A scene has no labels: training asks the teacher (`detector.py`), so a face that blends into another is
as hard for the student as it is for the teacher.
"""

import io
import multiprocessing
import subprocess
import tarfile

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .paths import SHARED, work

SIDE = 640
CHUNK = 100
#: Debian packages with photographs, face-free but for a few (which the teacher finds), free licences.
BACKGROUNDS = (
    "gnome-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds",
    "plasma-workspace-wallpapers", "tuxpaint-stamps-default", "ukui-wallpapers",
)  # fmt: skip
#: Larger ones are reduced: a scene shows a part of them, at any scale.
BACKGROUND_SIDE = 1280


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


def unpack_backgrounds() -> None:
    """Fetches and unpacks the picture packages once; nothing is installed."""
    folder = work("backgrounds")
    for package in BACKGROUNDS:
        if not (folder / package).exists():
            folder.mkdir(exist_ok=True)
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
            [archive] = folder.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, folder / f"{package}.part"], check=True)
            (folder / f"{package}.part").rename(folder / package)
            archive.unlink()


def load_backgrounds() -> list[Image.Image]:
    """Photographs of the picture packages."""
    pictures, seen = [], set()
    for path in sorted(work("backgrounds").rglob("*")):
        if path.suffix in (".jpg", ".png", ".webp") and path.is_file():
            with Image.open(path) as picture:
                if min(picture.size) < 200:
                    continue
                picture.draft("RGB", (BACKGROUND_SIDE, BACKGROUND_SIDE))
                picture = picture.convert("RGBA")
            picture.thumbnail((BACKGROUND_SIDE, BACKGROUND_SIDE))
            on = Image.new("RGB", picture.size, (200, 200, 200))
            on.paste(picture, mask=picture.getchannel("A"))
            # Packages hold one picture in many sizes.
            look = (np.asarray(on.convert("L").resize((6, 6))) >> 5).tobytes()
            if look not in seen:
                seen.add(look)
                pictures.append(on)
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
        x, y = rng.integers(-80, SIDE, 2)
        w, h = rng.integers(4, 320, 2)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        [draw.rectangle, draw.ellipse][rng.integers(2)]((x, y, x + w, y + h), fill=colour if rng.random() < 0.7 else None,
                                                       outline=colour, width=int(rng.integers(1, 5)))


def _scrambled(rng: np.random.Generator, head: Image.Image, side: int) -> Image.Image:
    """The parts of a face where no face has them: eyes, ears and hair alone are none."""
    head = head.resize((side, side), Image.BILINEAR)
    count = int(rng.integers(2, 5))
    cell = side // count
    scrambled = Image.new("RGB", (cell * count, cell * count))
    for at, place in enumerate(rng.permutation(count * count)):
        y, x = divmod(int(place), count)
        part = head.crop((x * cell, y * cell, (x + 1) * cell, (y + 1) * cell))
        if rng.random() < 0.5:
            part = part.rotate(int(90 * rng.integers(1, 4)))
        scrambled.paste(part, (at % count * cell, at // count * cell))
    return scrambled


def _pattern(rng: np.random.Generator, picture: Image.Image, side: int) -> Image.Image:
    """Cloth, bricks, tiles: a small piece again and again."""
    piece = [max(4, int(v)) for v in side * rng.uniform(0.08, 0.5, 2)]
    x, y = rng.integers(0, max(1, picture.width - 40)), rng.integers(0, max(1, picture.height - 40))
    tile = picture.crop((x, y, x + rng.integers(8, 40), y + rng.integers(8, 40))).resize(piece, Image.BILINEAR)
    lines = ImageDraw.Draw(tile)
    for _ in range(rng.integers(0, 4)):
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        lines.line([tuple(int(v) for v in rng.uniform(0, piece)) for _ in range(2)], colour, int(rng.integers(1, 5)))
    pattern = Image.new("RGB", (side, side))
    shift = piece[0] // 2 if rng.random() < 0.4 else 0
    for row, top in enumerate(range(0, side, piece[1])):
        for left in range(-piece[0], side, piece[0]):
            pattern.paste(tile, (left + row % 2 * shift, top))
    return pattern


def _hand(rng: np.random.Generator, head: Image.Image, side: int) -> tuple[Image.Image, Image.Image]:
    """Fingers of the colour of somebody's cheek, and the mask of what they cover."""
    skin = np.asarray(head.resize((8, 8), Image.BOX), np.float32)[4, int(rng.integers(2, 6))]
    large = 2 * side
    hand, mask = Image.new("RGB", (large, large)), Image.new("L", (large, large))
    draw, cover = ImageDraw.Draw(hand), ImageDraw.Draw(mask)
    turn, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
    fingers, width = int(rng.integers(3, 6)), large * rng.uniform(0.1, 0.17)
    for finger in range(fingers):
        away = (finger - (fingers - 1) / 2) * width * rng.uniform(0.95, 1.2)
        along = large * rng.uniform(0.2, 0.35)
        points = []
        for part, turned in ((-0.6, 0), (0.3, 0), (1.0, bend)):
            c, s = np.cos(turn + turned), np.sin(turn + turned)
            points.append((large / 2 + c * along * part - s * away, large / 2 + s * along * part + c * away))
        for inset, light in ((1.0, 0.55), (0.86, rng.uniform(0.9, 1.05)), (0.4, rng.uniform(1.0, 1.15))):
            colour = tuple(int(v) for v in (skin * light).clip(0, 255))
            draw.line(points, colour, int(width * inset), "curve")
            for x, y in points:
                r = width * inset / 2
                draw.ellipse((x - r, y - r, x + r, y + r), colour)
                cover.ellipse((x - r, y - r, x + r, y + r), 255)
            cover.line(points, 255, int(width * inset), "curve")
    blur = ImageFilter.GaussianBlur(large * rng.uniform(0.003, 0.02))
    return hand.filter(blur).resize((side, side), Image.BOX), mask.filter(blur).resize((side, side), Image.BOX)


def _distract(rng: np.random.Generator, scene: Image.Image, heads: list[Image.Image], backgrounds: list[Image.Image]) -> None:
    """Pastes what small detectors take for faces: scrambled faces, patterns, hands."""
    for _ in range(rng.integers(0, 14)):
        side = int(np.exp(rng.uniform(np.log(20), np.log(300))))
        head, kind, mask = heads[rng.integers(len(heads))], rng.random(), None
        if kind < 0.35:
            thing = _scrambled(rng, head, side)
        elif kind < 0.65:
            pictures = heads if rng.random() < 0.5 else backgrounds
            thing = _pattern(rng, pictures[rng.integers(len(pictures))], side)
        else:
            thing, mask = _hand(rng, head, side)
        x, y = (int(v) for v in rng.integers(-side // 2, SIDE - side // 2, 2))
        scene.paste(thing, (x, y), mask)


def _background(rng: np.random.Generator, heads: list[Image.Image], renders: list[Image.Image], backgrounds: list[Image.Image]) -> Image.Image:
    kind = rng.random()
    if kind < 0.07:  # what a letterboxed picture is put on
        return Image.new("RGB", (SIDE, SIDE), tuple(int(c) for c in rng.choice([0, 114, 128, 255], 1).repeat(3)))
    if kind < 0.14:
        return _texture(rng)
    if kind < 0.6:
        source = renders if renders and kind < 0.28 else backgrounds
        picture = source[rng.integers(len(source))]
        side = int(rng.uniform(0.3, 1) * min(picture.size))
        x, y = rng.integers(0, picture.width - side + 1), rng.integers(0, picture.height - side + 1)
        return picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.BILINEAR)
    scene = _far_too_near(rng, heads)
    # A patchwork has more edges than one piece.
    for _ in range(rng.integers(0, 6)):
        part = _far_too_near(rng, heads).resize(tuple(int(v) for v in rng.integers(20, SIDE, 2)))
        scene.paste(part, tuple(int(v) for v in rng.integers(-80, SIDE, 2)))
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


def compose(
    rng: np.random.Generator, heads: list[Image.Image], renders: list[Image.Image], backgrounds: list[Image.Image]
) -> np.ndarray:
    """One scene, uint8 RGB (640, 640, 3)."""
    scene = _background(rng, heads, renders, backgrounds)
    if rng.random() < 0.6:
        _shapes(rng, scene)
    if rng.random() < 0.7:
        _distract(rng, scene, heads, backgrounds)
    pick = lambda: heads[rng.integers(len(heads))]
    kind = rng.random()
    if kind < 0.12:
        pass  # nobody
    elif kind < 0.4:  # a crowd: rows of heads of about one size
        size = float(np.exp(rng.uniform(np.log(22), np.log(140))))
        apart = size * rng.uniform(0.75, 1.6)
        for row in range(int(SIDE / apart) + 1):
            for column in range(int(SIDE / apart) + 1):
                if rng.random() < 0.7:
                    x = (column + 0.5 * (row % 2) + rng.normal(0, 0.12)) * apart
                    y = (row + rng.normal(0, 0.12)) * apart
                    _paste(rng, scene, pick(), size * rng.uniform(0.8, 1.25), int(x), int(y))
    else:
        for _ in range(rng.integers(1, 13)):
            size = float(np.exp(rng.uniform(np.log(20), np.log(800))))
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


_HEADS: list[Image.Image] = []
_RENDERS: list[Image.Image] = []
_BACKGROUNDS: list[Image.Image] = []


def _start() -> None:
    _HEADS.extend(load_heads())
    _RENDERS.extend(load_renders())
    _BACKGROUNDS.extend(load_backgrounds())


def _chunk(index: int) -> tuple[int, np.ndarray]:
    rng = np.random.default_rng(1000 + index)
    return index, np.stack([compose(rng, _HEADS, _RENDERS, _BACKGROUNDS) for _ in range(CHUNK)])


def load_scenes(count: int) -> np.ndarray:
    """Scenes (n, 640, 640, 3), made once."""
    made = work("scenes.npy")
    if not made.exists():
        unpack_backgrounds()
        scenes = np.lib.format.open_memmap(f"{made}.part", "w+", np.uint8, (count, SIDE, SIDE, 3))
        with multiprocessing.get_context("spawn").Pool(initializer=_start) as pool:
            for index, chunk in pool.imap_unordered(_chunk, range(count // CHUNK)):
                scenes[index * CHUNK : (index + 1) * CHUNK] = chunk
                print(f"scenes: {index * CHUNK} of {count}", flush=True)
        scenes.flush()
        work("scenes.npy.part").rename(made)
    return np.load(made, mmap_mode="r")
