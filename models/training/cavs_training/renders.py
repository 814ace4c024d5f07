"""Renders of the synthetic classroom, as aligned crops for the embedder and as pictures for the detector's scenes."""

import json
import subprocess

import numpy as np
from PIL import Image

from .crops import SIDE
from .paths import cargo_run, work

#: ArcFace's places of the five landmarks in the crop, pixels.
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
#: Nothing else in the project uses these seeds, so that demonstrations and tests show other people.
PEOPLE, VIEWS, PEOPLE_SEED, CLASS_SEEDS = 350, 4, 9200, range(9001, 9007)


def render() -> None:
    """Portraits of 350 people and six lessons, once."""
    folder = work("renders")
    jobs = {"faces": ["portraits", "--count", PEOPLE, "--views", VIEWS, "--seed", PEOPLE_SEED, "--size", 192]}
    for seed in CLASS_SEEDS:
        jobs[f"f{seed}"] = ["frames", "--roster-seed", seed, "--count", 24, "--strangers", 0, "--seconds", 10, "--fps", 0.5]
    for name, arguments in jobs.items():
        if not (folder / name).exists():
            part = folder / f"{name}.part"
            command = [*cargo_run(), "-p", "synthface", "--", *map(str, arguments), "--out", str(part.resolve())]
            subprocess.run(command, check=True)
            part.rename(folder / name)


def similarity(landmarks: np.ndarray) -> np.ndarray:
    """The least-squares similarity from the crop to the picture (2, 3), after Umeyama 1991."""
    source, target = TEMPLATE, landmarks
    ms, mt = source.mean(0), target.mean(0)
    s, t = source - ms, target - mt
    # As complex numbers a similarity is one factor.
    z = (np.conj(s[:, 0] + 1j * s[:, 1]) @ (t[:, 0] + 1j * t[:, 1])) / (s**2).sum()
    matrix = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return np.concatenate([matrix, (mt - matrix @ ms)[:, None]], 1)


def load() -> None:
    """Writes `renders.npy` and `renders.txt`: the well visible faces, aligned."""
    crops, names = [], []
    for truth in sorted(work("renders").rglob("truth.jsonl")):
        for line in truth.read_text().splitlines():
            picture = json.loads(line)
            with Image.open(truth.parent / picture["file"]) as opened:
                image = opened.convert("RGB")
            for index, face in enumerate(picture["faces"]):
                if face["visible"] < 0.8 or face.get("spoof") or abs(face["pose"]["yaw"]) > 50:
                    continue
                affine = similarity(np.array(face["landmarks"], np.float64))
                crop = image.transform((SIDE, SIDE), Image.AFFINE, affine.flatten().tolist(), Image.BILINEAR)
                crops.append(np.asarray(crop))
                names.append(f"{truth.parent.name}/{picture['file']}/{index}")
    np.save(work("renders.npy"), np.array(crops, np.uint8).reshape(-1, SIDE, SIDE, 3))
    work("renders.txt").write_text("\n".join(names))


def portraits(side: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The portraits at that size (n, side, side, 3), their names, and the landmarks (n, 5, 2) of faces that look ahead;
    none where nothing was rendered."""
    pictures, names, points = [], [], []
    truth = work("renders") / "faces" / "truth.jsonl"
    for line in truth.read_text().splitlines() if truth.exists() else ():
        picture = json.loads(line)
        face = picture["faces"][0]
        if face["visible"] >= 0.8 and abs(face["pose"]["yaw"]) < 50:
            with Image.open(truth.parent / picture["file"]) as opened:
                scale = side / opened.width
                pictures.append(np.asarray(opened.convert("RGB").resize((side, side), Image.BICUBIC)))
            names.append(f"renders/{picture['file']}")
            points.append((np.array(face["landmarks"]) + 0.5) * scale - 0.5)
    return np.array(pictures, np.uint8).reshape(-1, side, side, 3), names, np.array(points, np.float32).reshape(-1, 5, 2)
