"""Composed scenes for the detector: heads pasted on backgrounds.

A scene is 640x640. Heads come from photographs with some context and from renders of the synthetic
classroom; backgrounds are landscapes, animals and things of the distribution's own picture packages
(`BACKGROUNDS`), noise, gradients, and anything in the heads' pictures seen so large that no face is left in
it. A scene has no labels: training asks the teacher (`detector.py`), so a face that blends into another is
as hard for the student as it is for the teacher.
"""

import contextlib
import ctypes
import io
import multiprocessing
import os
import queue
import shutil
import string
import subprocess
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from . import crops
from .paths import work

SIDE = 640
#: Debian packages with photographs, face-free but for a few (which the teacher finds), free licences.
BACKGROUNDS = (
    "gnome-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds",
    "plasma-workspace-wallpapers", "tuxpaint-stamps-default", "ukui-wallpapers",
)  # fmt: skip
#: Larger ones are reduced: a scene shows a part of them, at any scale.
BACKGROUND_SIDE = 1024


class Heads:
    """Pictures of heads, one by one."""

    def __init__(self) -> None:
        self.pictures = crops.load_heads()[0]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pictures[index])


def load_renders() -> list[Image.Image]:
    """Frames and portraits that `synthface` wrote, if any."""
    pictures = []
    for path in sorted(work("renders").rglob("*.jpg")):
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB"))
    return pictures


def load_backgrounds() -> list[Image.Image]:
    """Photographs of the picture packages, which are fetched and reduced once; nothing is installed."""
    folder = work("backgrounds")
    if not folder.exists():
        part = work("backgrounds.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for package in BACKGROUNDS:
            subprocess.run(["apt-get", "download", package], cwd=part, check=True)
        _reduced(part)
        part.rename(folder)
    pictures = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB"))
    return pictures


def _reduced(folder: Path) -> None:
    """The photographs of the packages in a folder, instead of these."""
    seen = set()
    for archive in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, folder / "unpacked"], check=True)
        for path in sorted((folder / "unpacked").rglob("*")):
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
                    on.save(folder / f"{len(seen):04}.jpg", quality=85)
        shutil.rmtree(folder / "unpacked")
        archive.unlink()


def _texture(rng: np.random.Generator) -> Image.Image:
    """Coloured noise of a random coarseness."""
    small = rng.integers(0, 256, (rng.integers(2, 40), rng.integers(2, 40), 3), np.uint8)
    how = [Image.NEAREST, Image.BILINEAR, Image.BICUBIC][rng.integers(3)]
    return Image.fromarray(small).resize((SIDE, SIDE), how)


def _far_too_near(rng: np.random.Generator, heads: Heads) -> Image.Image:
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


def _from_behind(rng: np.random.Generator, head: Image.Image, side: int) -> tuple[Image.Image, Image.Image]:
    """A head that looks away: hair alone, sometimes with ears and a neck, and the mask of what it covers."""
    w, h = head.size
    top = rng.uniform(0, 0.12) * h
    hair = head.crop((int(0.25 * w), int(top), int(0.75 * w), int(top + rng.uniform(0.08, 0.2) * h))).resize((side, side), Image.BICUBIC)
    skin = tuple(int(v) for v in np.asarray(head.resize((8, 8), Image.BOX), np.float32)[4, int(rng.integers(2, 6))] * rng.uniform(0.7, 1.0))
    mask = Image.new("L", (side, side))
    draw, cover = ImageDraw.Draw(hair), ImageDraw.Draw(mask)
    inset, below = side * rng.uniform(0.05, 0.2), side * rng.uniform(0.75, 0.95)
    if rng.random() < 0.6:
        neck = (side * 0.33, below - side * 0.15, side * 0.67, side)
        draw.rectangle(neck, skin), cover.rectangle(neck, 255)
    if rng.random() < 0.6:
        for x in (inset, side - inset):
            ear = (x - side * 0.05, side * 0.42, x + side * 0.05, side * 0.62)
            draw.ellipse(ear, skin), cover.ellipse(ear, 255)
    cover.ellipse((inset, 0, side - inset, below), 255)
    return hair, mask.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.005, 0.03)))


def _text(rng: np.random.Generator, side: int) -> tuple[Image.Image, Image.Image]:
    """Letters and figures, as on banners, shirts and signs, and their mask."""
    letters = np.array(list(string.ascii_letters + string.digits + "&%?!@#OQ08"))
    lines = ["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(rng.integers(1, 4))]
    font = ImageFont.load_default(max(8, side // (1 + max(len(line) for line in lines) // 2)))
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).multiline_text((0, 0), "\n".join(lines), 255, font, spacing=1)
    return Image.new("RGB", (side, side), tuple(int(c) for c in rng.integers(0, 256, 3))), mask.rotate(rng.normal(0, 12), Image.BILINEAR)


def _body(rng: np.random.Generator, scene: Image.Image, head: Image.Image, size: float, x: int, y: int, heads: Heads, backgrounds: list[Image.Image]) -> None:
    """Shoulders, cloth and arms below a head that will be pasted at that place."""
    width, height = int(size * rng.uniform(1.2, 2.4)), int(size * rng.uniform(0.8, 2.5))
    side, kind = max(width, height, 8), rng.random()
    if kind < 0.45:
        cloth = Image.new("RGB", (side, side), tuple(int(c) for c in rng.integers(0, 256, 3)))
    elif kind < 0.75:
        pictures = heads if rng.random() < 0.4 else backgrounds
        cloth = _pattern(rng, pictures[rng.integers(len(pictures))], side)
    else:
        picture = backgrounds[rng.integers(len(backgrounds))]
        part = int(rng.uniform(0.1, 0.6) * min(picture.size))
        left, top = rng.integers(0, picture.width - part + 1), rng.integers(0, picture.height - part + 1)
        cloth = picture.crop((left, top, left + part, top + part)).resize((side, side), Image.BILINEAR)
    skin = np.asarray(head.resize((8, 8), Image.BOX), np.float32)[5, int(rng.integers(3, 5))]
    skin = tuple(int(v) for v in skin * rng.uniform(0.75, 1.05))
    draw = ImageDraw.Draw(cloth)
    middle, reach = side / 2, size * rng.uniform(0.12, 0.3)
    if rng.random() < 0.6:  # a neckline
        draw.polygon([(middle - reach, 0), (middle + reach, 0), (middle, size * rng.uniform(0.1, 0.6))], skin)
    if rng.random() < 0.25:  # a tie, buttons
        draw.line((middle, 0, middle, height), tuple(int(c) for c in rng.integers(0, 256, 3)), max(1, int(size * rng.uniform(0.02, 0.12))))
    if side > 24 and rng.random() < 0.2:
        letters, where = _text(rng, side // 2)
        cloth.paste(letters, (side // 4, side // 3), where)
    for end in (-1, 1):
        if rng.random() < 0.5:  # an arm, and a fist at its end
            thick = max(2, int(size * rng.uniform(0.12, 0.25)))
            elbow = (middle + end * width * rng.uniform(0.25, 0.5), height * rng.uniform(0.4, 0.9))
            hand = (middle + rng.uniform(-0.4, 0.4) * width, height * rng.uniform(0.1, 0.8))
            draw.line([(middle + end * width * 0.45, height * 0.2), elbow, hand], skin, thick, "curve")
            draw.ellipse((hand[0] - thick, hand[1] - thick, hand[0] + thick, hand[1] + thick), skin)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).rounded_rectangle((middle - width / 2, 0, middle + width / 2, height * 1.3), width * rng.uniform(0.15, 0.45), 255)
    shade = (np.asarray(cloth, np.float32) * np.linspace(rng.uniform(0.7, 1.1), rng.uniform(0.5, 1.1), side)[None, :, None]).clip(0, 255)
    scene.paste(Image.fromarray(shade.astype(np.uint8)), (x - side // 2, y + int(size * rng.uniform(0.25, 0.5))), mask)


def _distract(rng: np.random.Generator, scene: Image.Image, heads: Heads, backgrounds: list[Image.Image]) -> None:
    """Pastes what small detectors take for faces: scrambled faces, patterns, hands, heads from behind, writing."""
    for _ in range(rng.integers(0, 14)):
        side = int(np.exp(rng.uniform(np.log(16), np.log(300))))
        head, kind, mask = heads[rng.integers(len(heads))], rng.random(), None
        if kind < 0.25:
            thing = _scrambled(rng, head, side)
        elif kind < 0.45:
            pictures = heads if rng.random() < 0.5 else backgrounds
            thing = _pattern(rng, pictures[rng.integers(len(pictures))], side)
        elif kind < 0.65:
            thing, mask = _hand(rng, head, side)
        elif kind < 0.85:
            thing, mask = _from_behind(rng, head, side)
        else:
            thing, mask = _text(rng, side)
        x, y = (int(v) for v in rng.integers(-side // 2, SIDE - side // 2, 2))
        scene.paste(thing, (x, y), mask)


def _background(rng: np.random.Generator, heads: Heads, renders: list[Image.Image], backgrounds: list[Image.Image]) -> Image.Image:
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
    rng: np.random.Generator, heads: Heads, renders: list[Image.Image], backgrounds: list[Image.Image], empty: bool = False
) -> np.ndarray:
    """One scene, uint8 RGB (640, 640, 3)."""
    scene = _background(rng, heads, renders, backgrounds)
    if rng.random() < 0.6:
        _shapes(rng, scene)
    if rng.random() < 0.7:
        _distract(rng, scene, heads, backgrounds)
    clothed, turned = (0.8 if rng.random() < 0.6 else 0.0), (rng.uniform(0, 0.3) if rng.random() < 0.4 else 0.0)

    def person(size: float, x: int, y: int) -> None:
        head = heads[rng.integers(len(heads))]
        if rng.random() < clothed:
            _body(rng, scene, head, size, x, y, heads, backgrounds)
        if not rng.random() < turned:
            _paste(rng, scene, head, size, x, y)
        else:
            side = max(10, int(size))
            behind, mask = _from_behind(rng, head, side)
            scene.paste(behind, (x - side // 2, y - side // 2), mask)

    kind = rng.random()
    if empty or kind < 0.12:
        if rng.random() < 0.5:  # nobody, but for clothes
            for _ in range(rng.integers(1, 9)):
                size = float(np.exp(rng.uniform(np.log(20), np.log(250))))
                x, y = rng.integers(0, SIDE, 2)
                _body(rng, scene, heads[rng.integers(len(heads))], size, int(x), int(y), heads, backgrounds)
    elif kind < 0.5:  # a crowd: rows of heads of about one size
        size = float(np.exp(rng.uniform(np.log(18), np.log(140))))
        apart = size * rng.uniform(0.75, 1.6)
        for row in range(int(SIDE / apart) + 1):
            for column in range(int(SIDE / apart) + 1):
                if rng.random() < 0.7:
                    x = (column + 0.5 * (row % 2) + rng.normal(0, 0.12)) * apart
                    y = (row + rng.normal(0, 0.12)) * apart
                    person(size * rng.uniform(0.8, 1.25), int(x), int(y))
    else:
        for _ in range(rng.integers(1, 13)):
            size = float(np.exp(rng.uniform(np.log(20), np.log(800))))
            x, y = rng.integers(0, SIDE, 2)
            person(size, int(x), int(y))
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


class Composer:
    """What scenes are made of, in one process."""

    def __init__(self) -> None:
        self.parts = Heads(), load_renders(), load_backgrounds()

    def scene(self, seed: tuple[int, ...], empty: bool = False) -> np.ndarray:
        return compose(np.random.default_rng(seed), *self.parts, empty)


_COMPOSER: Composer


def _start() -> None:
    global _COMPOSER
    _COMPOSER = Composer()


def _scene(job: tuple[tuple[int, ...], bool]) -> np.ndarray:
    return _COMPOSER.scene(*job)


def _made(name: str, seeds: list[tuple[int, ...]], empty: bool) -> np.ndarray:
    made = work(name)
    if not made.exists():
        load_backgrounds()
        with multiprocessing.get_context("spawn").Pool(processes(), _start) as pool:
            found = np.stack(pool.map(_scene, [(seed, empty) for seed in seeds], 4))
        np.save(made, found)
    return np.load(made)


def held_out(count: int) -> np.ndarray:
    """Scenes (n, 640, 640, 3) that no training sees, made once."""
    return _made(f"scenes-held-out-{count}.npy", [(1, i) for i in range(count)], False)


def without_faces(count: int) -> np.ndarray:
    """Scenes with nobody in them, made once."""
    return _made(f"scenes-empty-{count}.npy", [(2, i) for i in range(count)], True)


def processes() -> int:
    return int(os.environ.get("CAVS_PROCESSES", max(1, (os.cpu_count() or 2) - 2)))


#: Scenes are handed over so many at a time, in one of so many places of memory that all processes share.
AT_ONCE, PLACES = 4, 48


def _compose_for_ever(memory: ctypes.Array, free: multiprocessing.Queue, ready: multiprocessing.Queue, seed: tuple[int, ...]) -> None:
    composer, count, places = Composer(), 0, _places(memory)
    while True:
        found = np.stack([composer.scene((*seed, count, i)) for i in range(AT_ONCE)])
        place = free.get()
        places[place] = found.transpose(0, 3, 1, 2)
        ready.put(place)
        count += 1


def _places(memory: ctypes.Array) -> np.ndarray:
    return np.frombuffer(memory, np.uint8).reshape(PLACES, AT_ONCE, 3, SIDE, SIDE)


class Stream:
    """New scenes all the time, made by other processes; the last `room` of them are on the device."""

    def __init__(self, room: int, seed: int, at: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        memory = context.RawArray(ctypes.c_uint8, PLACES * AT_ONCE * 3 * SIDE * SIDE)
        self.places, self.free, self.ready, self.made = torch.from_numpy(_places(memory)), context.Queue(), context.Queue(), 0
        for place in range(PLACES):
            self.free.put(place)
        self.beside = torch.cuda.Stream() if at.type == "cuda" else None
        room = (room + AT_ONCE - 1) // AT_ONCE * AT_ONCE
        self.scenes = torch.empty((room, 3, SIDE, SIDE), dtype=torch.uint8, device=at)
        for index in range(processes()):
            context.Process(target=_compose_for_ever, args=(memory, self.free, self.ready, (3, seed, index)), daemon=True).start()

    def take(self, least: int = 0) -> None:
        """Those that are ready; waits until there are at least so many."""
        while True:
            try:
                place = self.ready.get(block=self.made < least)
            except queue.Empty:
                return
            begun = self.made % len(self.scenes)
            # Beside what the device computes; that a scene changes while it is seen does no harm.
            with torch.cuda.stream(self.beside) if self.beside else contextlib.nullcontext():
                self.scenes[begun : begun + AT_ONCE].copy_(self.places[place])
            self.free.put(place)
            self.made += AT_ONCE
            if self.made >= least and self.ready.empty():
                return

    def draw(self, count: int) -> torch.Tensor:
        there = min(self.made, len(self.scenes))
        return self.scenes[torch.randint(there, (count,), device=self.scenes.device)]
