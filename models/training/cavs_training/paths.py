"""Where the recipe reads and writes."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: Teachers, training faces and evaluation pictures; never part of the project.
SHARED = Path(os.environ.get("CAVS_SHARED", ROOT.parent / "shared"))
#: Caches and checkpoints: large, reproducible, resumable.
WORK = Path(os.environ.get("CAVS_TRAINING_DIR", ROOT / "target" / "training"))
#: The pack that comes out.
PACK = ROOT / "models" / "packs" / "cavs-nano"


def work(name: str) -> Path:
    WORK.mkdir(parents=True, exist_ok=True)
    return WORK / name


def cargo_run() -> list[str]:
    """How the project's own programs are run; CAVS_PROFILE=dev builds them sooner."""
    return ["cargo", "run", "--quiet", "--locked", "--profile", os.environ.get("CAVS_PROFILE", "release")]
