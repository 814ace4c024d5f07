"""The bars: what a pack does on people and pictures that training never saw, by the agent's own `analyze`."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .detector import boxes as detected
from .device import device
from .paths import ROOT, SHARED, cargo_run, work
from .teachers import Finder, centres

#: Sets of pictures of one person each in `images/people`.
SAME_PERSON = ("stock-emotions-a", "stock-emotions-b", "person-vlado")


def analyze(pack: Path | None, pictures: list[Path], *options: str) -> dict[str, list[dict]]:
    """Faces of each picture, largest first."""
    command = [*cargo_run(), "-p", "cavs-edge-agent", "--", "analyze", "--embeddings", "--files-from", "-", *options]
    if pack is not None:
        command += ["--pack", str(pack.resolve())]
    listed = "\n".join(str(p) for p in pictures)
    done = subprocess.run(command, input=listed, capture_output=True, text=True, cwd=ROOT)
    if done.returncode == 2:
        raise RuntimeError(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["image"]: line["faces"] for line in lines}


def orl_pictures() -> list[tuple[str, Path]]:
    """ORL's pictures, four times as large, with their persons."""
    found = []
    for picture in sorted((SHARED / "images" / "orl").glob("s*/*.pgm")):
        person = picture.parent.name
        target = work("orl") / f"{person}-{picture.stem}.png"
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with Image.open(picture) as small:
                small.convert("RGB").resize((small.width * 4, small.height * 4), Image.BICUBIC).save(target)
        found.append((person, target))
    return found


def orl(pack: Path | None) -> dict[str, float]:
    pictures = orl_pictures()
    faces = analyze(pack, [path for _, path in pictures])
    persons, vectors = [], []
    for person, path in pictures:
        if faces[str(path)]:
            persons.append(person)
            vectors.append(faces[str(path)][0]["embedding"])
    persons, vectors = np.array(persons), np.array(vectors, np.float32)
    similarity = vectors @ vectors.T
    same = persons[:, None] == persons[None]
    pairs = np.triu_indices(len(persons), 1)
    genuine, impostor = similarity[pairs][same[pairs]], similarity[pairs][~same[pairs]]
    threshold, stricter = np.quantile(impostor, [0.99, 0.999])
    # Three enrolled pictures, drawn twenty times; a picture without a found face is a miss.
    rng, right, asked = np.random.default_rng(0), 0, 0
    for _ in range(20):
        found = [np.flatnonzero(persons == p) for p in np.unique(persons)]
        enrolled = np.concatenate([rng.choice(f, min(3, len(f)), replace=False) for f in found])
        probes = np.setdiff1d(np.arange(len(persons)), enrolled)
        best = enrolled[similarity[probes][:, enrolled].argmax(1)]
        right += (persons[best] == persons[probes]).sum()
        asked += len(probes) + len(pictures) - len(persons)
    return {
        "orl_found": len(persons) / len(pictures),
        "orl_rank1": right / asked,
        "orl_tar_at_far_1": float((genuine >= threshold).mean() * (len(persons) / len(pictures)) ** 2),
        "orl_tar_at_far_01": float((genuine >= stricter).mean() * (len(persons) / len(pictures)) ** 2),
        "genuine_mean": float(genuine.mean()), "genuine_deviation": float(genuine.std()),
        "impostor_mean": float(impostor.mean()), "impostor_deviation": float(impostor.std()),
    }


def people(pack: Path | None) -> dict[str, float]:
    """Each picture's nearest other picture, where it has one of the same person."""
    pictures = sorted((SHARED / "images" / "people").glob("*.jpg"))
    pictures = [p for p in pictures if "group" not in p.name and p.stem not in ("background", "solvay1927")]
    faces = analyze(pack, pictures)
    named = [(p, faces[str(p)][0]["embedding"]) for p in pictures if faces[str(p)]]
    vectors = np.array([v for _, v in named], np.float32)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    group = [next((s for s in SAME_PERSON if p.name.startswith(s)), p.name) for p, _ in named]
    asked = [i for i, g in enumerate(group) if g in SAME_PERSON]
    wrong = [named[i][0].name for i in asked if group[similarity[i].argmax()] != group[i]]
    expected = sum(any(p.name.startswith(s) for s in SAME_PERSON) for p in pictures)
    if wrong:
        print("people: wrongly matched:", *wrong)
    return {"people_right": (len(asked) - len(wrong)) / expected}


def _overlap(a: list[float], b: list[float]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def detection(pack: Path | None) -> dict[str, float]:
    """Against the reference detector's faces: of 24 pixels or more, scoring above 0.8."""
    reference = json.loads((SHARED / "reference" / "yunet_faces.json").read_text())
    faces = analyze(pack, [SHARED / name for name in reference])
    counts: dict[str, int] = defaultdict(int)
    for name, known in reference.items():
        found = [[f["box"][k] for k in ("x", "y", "width", "height")] for f in faces[str(SHARED / name)]]
        for face in known["faces"]:
            if face["score"] > 0.8 and min(face["box_xywh"][2:]) >= 24:
                counts["wanted"] += 1
                counts["found"] += any(_overlap(face["box_xywh"], box) >= 0.5 for box in found)
        counts["detections"] += len(found)
        # A box that lies on a smaller part or a rim of a known face is a false one, too.
        counts["false"] += sum(all(_overlap(face["box_xywh"], box) < 0.4 for face in known["faces"]) for box in found)
    return {"detector_recall": counts["found"] / counts["wanted"], "detector_false": counts["false"] / counts["detections"],
            "detections": counts["detections"], "wanted": counts["wanted"]}


#: Sizes at which the teacher is asked about large and about small pictures; and others, which say how far it is from itself.
SIZES, OTHER_SIZES = ((640, 800), (320, 448)), ((576, 736), (384, 416))


def _averaged(teacher: Finder, picture: Image.Image, boxes: np.ndarray, sizes=SIZES) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's points (n, 5, 2) of the faces in some boxes (n, 4: corners), the median of two sizes of the picture
    and of its mirror image; and in how many of these it is sure of the face."""
    points, sure = [], []
    for side in sizes[0] if max(picture.size) > 500 else sizes[1]:
        scale = side / max(picture.size)
        small = picture.resize([max(1, round(v * scale)) for v in picture.size], Image.BOX if scale < 1 else Image.BILINEAR)
        at = centres(side)
        for mirrored in (False, True):
            shown = small.transpose(Image.FLIP_LEFT_RIGHT) if mirrored else small
            square = np.zeros((side, side, 3), np.float32)
            square[: shown.height, : shown.width] = np.asarray(shown)[..., ::-1]
            cells = teacher.ask(torch.from_numpy(square).permute(2, 0, 1)[None].to(device()))[0][0]
            corners = detected(cells[:, 2:6], at).cpu().numpy() / scale
            # A pixel's middle is at its number, in every size of the picture.
            found = (((cells[:, 6:].view(-1, 5, 2) + at[:, None, :2]) * at[:, None, 2:]).cpu().numpy() + 0.5) / scale - 0.5
            if mirrored:
                corners[:, [0, 2]] = picture.width - corners[:, [2, 0]]
                found[..., 0] = picture.width - 1 - found[..., 0]
                found = found[:, [1, 0, 2, 4, 3]]
            score = (cells[:, 0] * cells[:, 1]).sqrt().cpu().numpy()
            low, high = np.maximum(corners[None, :, :2], boxes[:, None, :2]), np.minimum(corners[None, :, 2:], boxes[:, None, 2:])
            common, area = (high - low).clip(0).prod(2), lambda b: (b[..., 2:] - b[..., :2]).prod(-1)
            near = common / (area(corners)[None] + area(boxes)[:, None] - common) > 0.5
            best = (score[None] * near).argmax(1)
            points.append(found[best])
            sure.append((score[None] * near).max(1) > 0.6)
    return np.median(np.stack(points), 0), np.sum(sure, 0)


def _boxes(known: dict) -> np.ndarray:
    """Corners (n, 4) of the reference's faces of 40 pixels or more."""
    boxes = np.array([f["box_xywh"] for f in known["faces"] if min(f["box_xywh"][2:]) >= 40], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def teacher_again() -> dict[str, float]:
    """How far the teacher's points, averaged over two other sizes, are off from the truth that is made of its own: no
    student can be expected to be nearer."""
    teacher, errors = Finder(maps=False, often=False), []
    reference = json.loads((SHARED / "reference" / "yunet_faces.json").read_text())
    for name, truth in landmark_truth().items():
        if truth:
            with Image.open(SHARED / name) as picture:
                found, _ = _averaged(teacher, picture.convert("RGB"), _boxes(reference[name]), OTHER_SIZES)
            for points in np.array(truth):
                off = np.linalg.norm(found - points, axis=2).mean(1) / max(np.linalg.norm(points[0] - points[1]), 1e-3)
                errors.append(off.min())
    return {"landmarks_0_median": 100 * float(np.median(errors)), "landmarks_0_p95": 100 * float(np.quantile(errors, 0.95))}


def landmark_truth() -> dict[str, list[list[list[float]]]]:
    """The averaged teacher's points of faces of 40 pixels or more that it is sure of, by picture; made once."""
    kept = work("landmark-truth.json")
    if not kept.exists():
        teacher, truth = Finder(maps=False, often=False), {}
        for name, known in json.loads((SHARED / "reference" / "yunet_faces.json").read_text()).items():
            boxes = _boxes(known)
            if not name.startswith("images/synthetic") and len(boxes):
                with Image.open(SHARED / name) as picture:
                    points, sure = _averaged(teacher, picture.convert("RGB"), boxes)
                truth[name] = points[sure >= 3].tolist()
        kept.write_text(json.dumps(truth))
    return json.loads(kept.read_text())


def _rolled(name: str, angle: float) -> tuple[Path, np.ndarray]:
    """A picture turned clockwise by so many degrees, whole, and the affine map (2, 3) of its points."""
    file = work("rolled") / f"{angle:.0f}-{name.replace('/', '-')}.png"
    with Image.open(SHARED / name) as picture:
        picture = picture.convert("RGB")
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        width, height = (int(np.ceil(abs(a * picture.width) + abs(b * picture.height))) for a, b in ((c, s), (s, c)))
        middle = np.array([picture.width, picture.height]) / 2
        there = np.array([[c, -s], [s, c]])
        shift = np.array([width - 1, height - 1]) / 2 - there @ (middle - 0.5)
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            # PIL counts from a pixel's corner.
            corner = shift + 0.5 - there @ np.array([0.5, 0.5])
            back = np.concatenate([there.T, (-there.T @ corner)[:, None]], 1)
            picture.transform((width, height), Image.AFFINE, back.ravel().tolist(), Image.BICUBIC).save(file)
    return file, np.concatenate([there, shift[:, None]], 1)


def landmarks(pack: Path | None, rolls: tuple[float, ...] = (0, 15, 30, 45)) -> dict[str, float]:
    """How far the five points are off, in per cent of the distance of the eyes, where the pack finds the face."""
    figures = {}
    for roll in rolls:
        errors, wanted, asked = [], 0, {}
        for name, truth in landmark_truth().items():
            path, there = _rolled(name, roll) if roll else (SHARED / name, np.eye(2, 3))
            asked[str(path)] = [np.array(points) @ there[:, :2].T + there[:, 2] for points in truth]
        for name, faces in analyze(pack, [Path(name) for name in asked]).items():
            found = np.array([f["landmarks"] for f in faces]).reshape(-1, 5, 2)
            for points in asked[name]:
                wanted += 1
                off = np.linalg.norm(found - points, axis=2).mean(1) / max(np.linalg.norm(points[0] - points[1]), 1e-3)
                # A face whose middle is elsewhere is another one.
                size = np.linalg.norm(points[:2].mean(0) - points[3:].mean(0))
                near = np.linalg.norm(found.mean(1) - points.mean(0), axis=1) < size
                errors += [off[near].min()] if near.any() else []
        prefix = f"landmarks_{roll:.0f}"
        figures |= {f"{prefix}_median": 100 * float(np.median(errors)), f"{prefix}_p95": 100 * float(np.quantile(errors, 0.95)),
                    f"{prefix}_found": len(errors) / wanted}
    return figures


BARS = {"orl_rank1": (0.995, "least"), "orl_tar_at_far_1": (0.90, "least"), "orl_tar_at_far_01": (0.95, "least"),
        "people_right": (1.0, "least"), "detector_recall": (0.97, "least"), "detector_false": (0.02, "most"),
        "landmarks_0_median": (4.5, "most"), "landmarks_0_p95": (9.0, "most"),
        "liveness_track_apcer_print": (0.02, "most"), "liveness_track_apcer_screen": (0.02, "most")}
#: Heads that are tilted by so much, in degrees, may have their points that much further off.
TILTED, WORSE = (15, 30, 45), 1.3


def without_refiner(pack: Path) -> Path:
    """The same pack with the detector's own points."""
    bare = work("without-refiner")
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(pack, bare)
    manifest = (bare / "pack.toml").read_text()
    (bare / "pack.toml").write_text(re.sub(r"(?ms)^\[refiner.*?(?=^\[embedder\])", "", manifest))
    return bare


def attacks(pack: Path) -> dict[str, float]:
    """Held-up pictures that pass where 3 % of live faces are left to a person, by the mean of each track."""
    from . import liveness

    return {f"liveness_{name}": figure for name, figure in liveness.measure(pack).items()}


def report(pack: Path | None) -> tuple[dict[str, float], bool]:
    """Prints a line a bar; false where any is short."""
    figures = orl(pack) | people(pack) | detection(pack) | landmarks(pack)
    if pack is not None and "[[liveness]]" in (pack / "pack.toml").read_text():
        figures |= attacks(pack)
    bars = dict(BARS)
    for roll in TILTED:
        bars |= {f"landmarks_{roll}_{part}": (WORSE * figures[f"landmarks_0_{part}"], "most") for part in ("median", "p95")}
    good = True
    for name, figure in figures.items():
        bar, kind = bars.get(name, (None, None))
        if bar is None:
            print(f"# {name} {figure:.4f}")
            continue
        met = figure >= bar if kind == "least" else figure <= bar
        good &= met
        print(f"{name} {figure:.4f} {bar:.4f} {'ok' if met else 'SHORT'}")
    return figures, good
