"""Writes MODEL_CARD.md from what was measured."""

from pathlib import Path

import numpy as np

from .device import device, load
from .embedder import Faces, agreement
from .evaluate import BARS
from .paths import PACK, work
from .student import Student
from .teachers import Recogniser

CARD = Path(__file__).resolve().parents[1] / "MODEL_CARD.md"

#: Skin tones by individual typology angle, degrees (Del Bino and Bernerd 2013), darkest first.
TONES = (("dark", -90), ("brown", -30), ("tan", 10), ("intermediate", 28), ("light", 41), ("very light", 55))


def typology_angle(face: np.ndarray) -> float:
    """Individual typology angle of an aligned face's cheeks: atan((L - 50) / b) in CIE Lab, degrees."""
    cheeks = np.concatenate([face[66:82, 36:48].reshape(-1, 3), face[66:82, 64:76].reshape(-1, 3)])
    rgb = np.median(cheeks, 0) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    z = linear @ [0.0193, 0.1192, 0.9505] / 1.089
    curve = lambda t: np.cbrt(t) if t > 0.008856 else 7.787 * t + 16 / 116
    lightness, blue = 116 * curve(y) - 16, 200 * (curve(y) - curve(z))
    return float(np.degrees(np.arctan2(lightness - 50, max(blue, 1e-6))))


def groups(faces: Faces) -> list[tuple[str, int, float, float]]:
    """Name, number, mean and tenth percentile of the student's cosine to the teacher."""
    student = Student()
    student.load_state_dict(load(work("embedder.pt"))["student"])
    chosen = faces.real()
    cosine = agreement(student.to(device()), Recogniser(), faces, chosen).cpu().numpy()
    angle = np.array([typology_angle(faces.pictures[i].permute(1, 2, 0).cpu().numpy()) for i in chosen])
    ends = [low for _, low in TONES[1:]] + [91]
    members = [(f"skin tone: {name}", (angle >= low) & (angle < end)) for (name, low), end in zip(TONES, ends)]
    members.append(("all", np.ones(len(chosen), bool)))
    return [(name, int(m.sum()), float(cosine[m].mean()), float(np.quantile(cosine[m], 0.1))) for name, m in members if m.sum() >= 10]


def write(sources: dict[str, str], figures: dict[str, float], teacher: dict[str, float]) -> None:
    rows = [f"| {name} | {count} | {mean:.3f} | {low:.3f} |" for name, count, mean, low in groups(Faces(sources))]
    bars = [f"| {name} | {figures[name]:.4f} | {teacher[name]:.4f} | {'at least' if kind == 'least' else 'at most'} {bar} |"
            for name, (bar, kind) in BARS.items() if name in figures and name in teacher]
    state = load(work("embedder.pt"))
    size = sum(f.stat().st_size for f in PACK.iterdir())
    text = (CARD.with_name("MODEL_CARD.in.md")).read_text()
    for key, value in {
        "FIGURES": "\n".join(bars), "GROUPS": "\n".join(rows), "STEPS": str(state["step"]), "SIZE": f"{size / 1e6:.2f} MB",
        "DETECTOR_STEPS": str(load(work("detector.pt"))["step"]),
        "SCENES": str(load(work("detector.pt"))["scenes"]), "AGREEMENT": f"{state['best']:.3f}", "CALIBRATION": work("calibration.toml").read_text().strip(),
    }.items():
        text = text.replace(f"@{key}@", value)
    CARD.write_text(text)
