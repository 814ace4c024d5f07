"""Thresholds from the similarities of faces that training never saw, through the whole pack, and the errors to expect."""

import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from .crops import is_validation, load_faces
from .device import load
from .evaluate import analyze
from .paths import work

#: Templates in a gallery for which errors are foretold.
GALLERIES = (30, 300, 3000)
#: Probes of strangers, out of 1,000, that a gallery of 300 may take for somebody, and may leave to a reviewer; and those
#: that a camera may join to one of the 30 people in its room.
ACCEPTED, REVIEWED, JOINED = 5.0, 100.0, 10.0
#: From this similarity on, the teacher has hardly ever taken two persons for one.
SAME_PERSON = 0.5
#: Rates at which the table has an entry, pairs of a million.
TABLE = (100_000, 30_000, 10_000, 3000, 1000, 300, 100, 30, 10)
#: Pixels around an aligned face, its rim continued: detectors look for faces in something.
ROOM = 48
#: Faces that the detector is less sure of are measured as well: they are the harder ones, and which of them there are must
#: not follow from how far its scores were moved.
LEAST_SCORE = "0.3"


def _pictures() -> list[Path]:
    """The held-out faces, with room around them."""
    faces, names = load_faces()
    folder = work("held-out-faces")
    folder.mkdir(exist_ok=True)
    chosen = [at for at, name in enumerate(names) if is_validation(name)]
    for at in chosen:
        file = folder / f"{at}.png"
        if not file.exists():
            Image.fromarray(np.pad(np.array(faces[at]), ((ROOM, ROOM), (ROOM, ROOM), (0, 0)), "edge")).save(file)
    return [folder / f"{at}.png" for at in chosen]


def _embeddings(pack: Path, pictures: list[Path]) -> dict[str, np.ndarray]:
    """Of the face in the middle of each picture, where it is found."""
    found = {}
    for name, faces in analyze(pack, pictures, "--min-score", LEAST_SCORE).items():
        off = lambda f: abs(f["box"]["x"] + f["box"]["width"] / 2 - 104) + abs(f["box"]["y"] + f["box"]["height"] / 2 - 104)
        best = min(faces, key=off, default=None)
        if best is not None and off(best) < 60 and best["quality"]["landmark_confidence"] >= 50:
            found[name] = np.array(best["embedding"], np.float32)
    return found


def similarities(pack: Path, teachers: Path) -> np.ndarray:
    """Of each face to each other, -1 for itself and for pairs that the teacher, who errs far more seldom, takes for one
    person: the faces have no identities, and some people are there several times."""
    pictures = _pictures()
    student, teacher = _embeddings(pack, pictures), _embeddings(teachers, pictures)
    names = sorted(set(student) & set(teacher))
    print(f"calibrate: {len(names)} of {len(pictures)} held-out faces are found by both", flush=True)
    of = lambda embeddings: np.stack([embeddings[name] for name in names])
    found, known = of(student), of(teacher)
    similar = found @ found.T
    np.fill_diagonal(similar, -1)
    similar[known @ known.T > SAME_PERSON] = -1
    return similar


def per_1000(similar: np.ndarray, threshold: float, gallery: int) -> float:
    """Strangers taken for one of `gallery` templates. Probes differ: some people look like many others."""
    share = (similar >= threshold).sum(1) / (similar.shape[1] - 1)
    return float(1000 * np.mean(1 - (1 - share) ** gallery))


def threshold_for(similar: np.ndarray, wanted: float, gallery: int) -> float:
    candidates = np.arange(0.1, 0.95, 0.005)
    return float(next(t for t in candidates if per_1000(similar, t, gallery) <= wanted))


def write(pack: Path, teachers: Path, genuine: tuple[float, float], liveness: float | None) -> None:
    """Writes `calibration.toml`. `genuine` is mean and deviation of ORL's genuine pairs."""
    similar = similarities(pack, teachers)
    pairs = np.sort(similar[np.triu_indices(len(similar), 1)])[::-1]
    pairs = pairs[pairs > -1]
    accept = threshold_for(similar, ACCEPTED, 300)
    # Where at most one in a hundred of the held-out upright faces is below, spoilt as cameras spoil them.
    if work("refiner.pt").exists():
        upright = load(work("refiner.pt"))["figures"]["spoilt"]["threshold"]
    else:
        upright = tomllib.loads((pack / "pack.toml").read_text())["thresholds"]["upright"]
    lines = [
        "[thresholds]", f"accept = {accept:.3f}", f"review = {threshold_for(similar, REVIEWED, 300):.3f}", "margin = 0.05",
        f"track = {threshold_for(similar, JOINED, 30):.3f}", f"upright = {upright:.3f}",
        *([] if liveness is None else [f"liveness = {liveness:.3f}"]), "",
        "[calibration]",
        f'data = "{len(similar)} faces that training never saw, through the whole pack, each against all that the teacher takes for others; genuine pairs of ORL"',
        f"genuine = {{ mean = {genuine[0]:.3f}, deviation = {genuine[1]:.3f} }}",
        f"impostor = {{ mean = {pairs.mean():.3f}, deviation = {pairs.std():.3f} }}",
    ]
    for gallery in GALLERIES:
        lines += ["", "[[calibration.false_matches]]", f"gallery = {gallery}", f"per_1000 = {per_1000(similar, accept, gallery):.2f}"]
    for per_million in TABLE:
        count = round(per_million / 1e6 * len(pairs))
        if count >= 10:
            lines += ["", "[[calibration.false_match_rates]]", f"similarity = {pairs[count - 1]:.4f}", f"per_million = {per_million}"]
    work("calibration.toml").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
