"""`python -m cavs_training STEP...`: the steps of the recipe; all of them, in order, without any."""

import argparse
import sys

from . import calibrate, card, detector, embedder, evaluate, export, renders
from .crops import load_faces
from .paths import PACK, work

STEPS = ("renders", "embedder", "detector", "calibrate", "pack", "evaluate", "card")
SOURCES = {"faces": "faces.npy", "renders": "renders.npy"}
VERSION = "4"


def main() -> int:
    parser = argparse.ArgumentParser(prog="models/training/run", description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--epochs", type=float, default=60, help="epochs of the embedder")
    parser.add_argument("--scenes", type=int, default=4000, help="scenes composed for the detector")
    parser.add_argument("--detector-steps", type=int, default=20000)
    parser.add_argument("--minutes", type=float, help="end each training after so long, its schedule scaled to it")
    args = parser.parse_args()
    if unknown := set(args.steps) - set(STEPS):
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    steps = args.steps or STEPS
    load_faces()
    if "renders" in steps:
        renders.render()
        renders.load()
    if "embedder" in steps:
        embedder.train(SOURCES, args.epochs, args.minutes)
    if "detector" in steps:
        detector.train(args.scenes, args.detector_steps, args.minutes)
    if "calibrate" in steps:
        # Of the embedder alone, as its training faces are aligned: another detector changes no threshold.
        figures = evaluate.orl(export.embedder_alone())
        calibrate.write(SOURCES, (figures["genuine_mean"], figures["genuine_deviation"]))
    if "pack" in steps:
        export.pack(VERSION, args.scenes)
    good = True
    if "evaluate" in steps or "card" in steps:
        figures, good = evaluate.report(PACK)
        if "card" in steps:
            teacher, _ = evaluate.report(export.teachers())
            card.write(SOURCES, figures, teacher)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
