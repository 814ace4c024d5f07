"""Thresholds from the similarities of faces that training never saw, and the errors to expect at them."""

import numpy as np
import torch
import torch.nn.functional as F

from .device import device, load
from .embedder import Faces, told
from .paths import work
from .student import Student
from .teachers import Recogniser

#: Templates in a gallery for which errors are foretold.
GALLERIES = (30, 300, 3000)
#: Probes of strangers, out of 1,000, that a gallery of 300 may take for somebody, and may leave to a reviewer.
ACCEPTED, REVIEWED = 5.0, 100.0
#: From this similarity on, the teacher has hardly ever taken two persons for one.
SAME_PERSON = 0.5


@torch.no_grad()
def embeddings(faces: Faces, chosen: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What the student, in full precision, and the teacher say of unspoilt crops."""
    student, teacher, found, taught = Student(), Recogniser(), [], []
    student.load_state_dict(load(work("embedder.pt"))["student"])
    student.to(device()).eval()
    for part in chosen.split(128):
        x = faces.get(part)
        found.append(F.normalize(student(x)))
        taught.append(told(teacher, x)[0])
    return torch.cat(found).cpu().numpy(), torch.cat(taught).cpu().numpy()


def per_1000(similarities: np.ndarray, threshold: float, gallery: int) -> float:
    """Strangers taken for one of `gallery` templates. Probes differ: some people look like many others."""
    share = (similarities >= threshold).sum(1) / (similarities.shape[1] - 1)
    return float(1000 * np.mean(1 - (1 - share) ** gallery))


def threshold_for(similarities: np.ndarray, wanted: float, gallery: int) -> float:
    candidates = np.arange(0.1, 0.9, 0.005)
    rates = [per_1000(similarities, t, gallery) for t in candidates]
    return float(next(t for t, rate in zip(candidates, rates) if rate <= wanted))


def write(sources: dict[str, str], genuine: tuple[float, float]) -> None:
    """Writes `calibration.toml`. `genuine` is mean and deviation of ORL's genuine pairs."""
    faces = Faces(sources)
    found, teacher = embeddings(faces, faces.real())
    similarities = found @ found.T
    np.fill_diagonal(similarities, -1)
    # The faces have no identities, and some people are there several times. A pair that the teacher, who errs
    # far more seldom, takes for one person is left out.
    similarities[teacher @ teacher.T > SAME_PERSON] = -1
    pairs = similarities[np.triu_indices(len(found), 1)]
    pairs = pairs[pairs > -1]
    accept = threshold_for(similarities, ACCEPTED, 300)
    review = threshold_for(similarities, REVIEWED, 300)
    lines = [
        "[thresholds]", f"accept = {accept:.3f}", f"review = {review:.3f}", "margin = 0.05", "",
        "[calibration]",
        f'data = "{len(found)} faces that training never saw, each against all that the teacher takes for others; genuine pairs of ORL, aligned by landmarks of the teacher"',
        f"genuine = {{ mean = {genuine[0]:.3f}, deviation = {genuine[1]:.3f} }}",
        f"impostor = {{ mean = {pairs.mean():.3f}, deviation = {pairs.std():.3f} }}",
    ]
    for gallery in GALLERIES:
        rate = per_1000(similarities, accept, gallery)
        lines += ["", "[[calibration.false_matches]]", f"gallery = {gallery}", f"per_1000 = {rate:.2f}"]
    work("calibration.toml").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
