"""`python -m cavs_training STEP...`: the steps of the recipe; all of them, in order, without any."""

import argparse
import math
import os
import subprocess
import sys
import time

from . import calibrate, card, detector, embedder, evaluate, export, liveness, refiner, renders
from .crops import load_faces, load_heads
from .paths import PACK, work

STEPS = ("renders", "embedder", "detector", "refiner", "liveness", "pack", "calibrate", "evaluate", "card")
MORE = ("labels", "together")
SOURCES = {"faces": "faces.npy", "renders": "renders.npy"}
VERSION = "7"


def together(minutes: float, kept: int) -> None:
    """All three trainings in so many minutes, on one accelerator: the embedder beside the detector and the refiner,
    which begins from the detector's errors."""
    begun = time.time()
    load_faces(), load_heads(), renders.load()
    left = lambda: minutes - (time.time() - begun) / 60
    train = lambda step, share: subprocess.Popen([sys.executable, "-m", "cavs_training", step, "--minutes", f"{max(share, 0.1):.2f}", "--scenes", str(kept)])
    beside = train("embedder", left() - 0.3)
    labels = subprocess.Popen([sys.executable, "-m", "cavs_training", "labels"])
    train("detector", 0.52 * left()).wait()
    labels.wait()
    train("refiner", left() - 0.4).wait()
    beside.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="models/training/run", description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join([*STEPS, *MORE]))
    parser.add_argument("--device", default="auto", help="cuda or cpu; without it, cuda where there is one")
    parser.add_argument("--epochs", type=float, help="epochs of the embedder (60)")
    parser.add_argument("--scenes", type=int, default=2000, help="scenes for the detector that are kept at a time")
    parser.add_argument("--detector-steps", type=float, help="20000")
    parser.add_argument("--refiner-steps", type=float, help="8000")
    parser.add_argument("--liveness-steps", type=float, help="6000")
    parser.add_argument("--minutes", type=float, help="end each training after so long, its schedule scaled to it")
    args = parser.parse_args()
    if unknown := set(args.steps) - {*STEPS, *MORE}:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    if args.device != "auto":
        os.environ["CAVS_DEVICE"] = args.device
    steps = args.steps or STEPS
    # Minutes alone end a training, too.
    length = lambda given, usual: given or (usual if args.minutes is None else math.inf)
    if "together" in steps:
        together(args.minutes or 10, args.scenes)
    if "renders" in steps:
        renders.render()
        renders.load()
    if "embedder" in steps:
        embedder.train(SOURCES, length(args.epochs, 60), args.minutes)
    if "detector" in steps:
        detector.train(args.scenes, length(args.detector_steps, 20000), args.minutes)
    if "labels" in steps:
        refiner.labels(), refiner.nobody()
    if "refiner" in steps:
        refiner.train(length(args.refiner_steps, 8000), args.minutes)
    if "liveness" in steps:
        liveness.train(export.teachers(), length(args.liveness_steps, 6000), args.minutes)
    if "pack" in steps:
        export.pack(VERSION)
    if "calibrate" in steps:
        figures = evaluate.orl(PACK)
        live = liveness.measure(PACK)["track_threshold"] if work("liveness.pt").exists() else None
        calibrate.write(PACK, export.teachers(), (figures["genuine_mean"], figures["genuine_deviation"]), live)
        export.pack(VERSION)
    good = True
    if "evaluate" in steps or "card" in steps:
        if "evaluate" in steps:
            bare = evaluate.landmarks(evaluate.without_refiner(PACK), (0,))
            again = evaluate.teacher_again()
            print(*(f"# without the refiner: {name} {figure:.4f}" for name, figure in bare.items()), sep="\n")
            print(*(f"# the teacher at other sizes: {name} {figure:.4f}" for name, figure in again.items()), sep="\n")
        figures, good = evaluate.report(PACK)
        if "card" in steps:
            teacher, _ = evaluate.report(export.teachers())
            card.write(SOURCES, figures, teacher)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
