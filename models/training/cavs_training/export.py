"""Checkpoints to ONNX, and from there to the pack by the project's own importer."""

import re
import shutil
import subprocess
from pathlib import Path

import torch

from . import liveness
from .detector import Detector, balanced
from .paths import PACK, ROOT, SHARED, cargo_run, work
from .refiner import SIDE as CROP
from .refiner import Refiner
from .student import Student
from .teachers import OUTPUTS, STRIDES

#: The detector misplaces larger ones, pixels of its input; they are looked for in a smaller picture.
LARGEST_FACE = 128

#: Pictures are scaled to this. At 640 pixels it misses too many of the smallest faces.
LONG_SIDE = 768

SOURCE = "Trained by this project: models/training, see its README.md and MODEL_CARD.md"


def _onnx(model: torch.nn.Module, example: torch.Tensor, file: str, outputs: list[str]) -> str:
    model.eval()
    torch.onnx.export(
        model, (example,), work(file), input_names=["input"], output_names=outputs, opset_version=17, dynamo=False,
        dynamic_axes={"input": {0: "batch", 2: "height", 3: "width"}} if len(outputs) > 1 else None,
    )
    return str(work(file).resolve())


def _embedder() -> str:
    if not work("embedder.pt").exists():
        return _teacher("mobilefacenet_y1")
    student = Student()
    student.load_state_dict(torch.load(work("embedder.pt"), map_location="cpu")["student"])
    return _onnx(student, torch.zeros(1, 3, 112, 112), "embedder.onnx", ["embedding"])


def _detector() -> str:
    if not work("detector.pt").exists():
        return _teacher("yunet_n_dynamic")
    detector = Detector()
    detector.load_state_dict(torch.load(work("detector.pt"), map_location="cpu")["detector"])
    detector = balanced(detector)
    kinds = [f"{kind}_{stride}" for kind in OUTPUTS for stride in STRIDES]
    return _onnx(detector, torch.zeros(1, 3, 320, 320), "detector.onnx", kinds)


def _refiner() -> list[str]:
    """Options of the importer."""
    if not work("refiner.pt").exists():
        return []
    saved = torch.load(work("refiner.pt"), map_location="cpu")
    refiner = Refiner()
    refiner.load_state_dict(saved["refiner"])
    file = _onnx(refiner, torch.zeros(1, 3, CROP, CROP), "refiner.onnx", ["points"])
    return ["--refiner", file, "--refiner-box-scale", f"{saved['factor']:.3f}", "--refiner-box-shift", f"{saved['down']:.3f}"]


def _liveness() -> list[str]:
    """Options of the importer; nothing where no liveness network was trained."""
    if not work("liveness.pt").exists():
        return []
    network = liveness.Liveness()
    network.load_state_dict(torch.load(work("liveness.pt"), map_location="cpu")["liveness"])
    file = _onnx(network, torch.zeros(1, 3, liveness.SIDE, liveness.SIDE), "liveness.onnx", ["live"])
    return ["--liveness", f"{liveness.SCALE}={file}"]


def _teacher(name: str) -> str:
    return str((SHARED / "models" / f"{name}.onnx").resolve())


def _import(detector: str, embedder: str, name: str, license: str, source: str, out: Path, more: list[str]) -> None:
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [*cargo_run(), "-p", "cavs-cli", "--", "models", "import", "--detector", f"yunet={detector}", "--embedder", embedder,
         "--name", name, "--license", license, "--source", source, "--out", str(out.resolve()), *more],
        cwd=ROOT, check=True,
    )


def _tables(manifest: str) -> dict[str, str]:
    """What `pack.toml` says, by network."""
    tables, name = {"": ""}, ""
    for line in manifest.splitlines(keepends=True):
        if table := re.match(r"\[+(\w+)", line):
            name = table[1]
        tables[name] = tables.get(name, "") + line
    return tables


def _keep(names: list[str], made: Path) -> None:
    """Networks that were not trained stay those of the pack that there is."""
    new, old = (_tables((folder / "pack.toml").read_text()) for folder in (made, PACK))
    for name in names:
        for file in [*made.glob(f"{name}.*"), *PACK.glob(f"{name}.*")]:
            (made / file.name).unlink() if file.parent == made else shutil.copyfile(file, made / file.name)
        new[name] = old[name]
    (made / "pack.toml").write_text("".join(new[name] for name in dict.fromkeys([*old, *new]) if name in new))


def pack(version: str) -> None:
    """Writes `models/packs/cavs-nano`, with the thresholds of `calibration.toml` where it was made."""
    made, calibration = work("pack"), work("calibration.toml")
    more = ["--half", "--pack-version", version, "--largest-face", str(LARGEST_FACE),
            "--detect-long-side", str(LONG_SIDE), *_refiner(), *_liveness()]
    if calibration.exists():
        more += ["--calibration", str(calibration.resolve())]
    _import(_detector(), _embedder(), "cavs-nano", "MIT OR Apache-2.0", SOURCE, made, more)
    kept = [name for name in ("detector", "refiner", "embedder") if not work(f"{name}.pt").exists()]
    # Until they are calibrated anew.
    _keep([*kept, *(("thresholds", "calibration") if kept and not calibration.exists() else ())], made)
    PACK.mkdir(parents=True, exist_ok=True)
    for file in made.iterdir():
        shutil.copyfile(file, PACK / file.name)


def _compared(embedder: str, name: str, more: list[str]) -> Path:
    """A pack to measure with, which has the teacher's detector; made once."""
    if not (work(name) / "pack.toml").exists():
        _import(_teacher("yunet_n_dynamic"), embedder, name, "for measurements only", "", work(name), more)
    return work(name)


def teachers() -> Path:
    """A pack of the teachers."""
    networks = [f"{scale}={_teacher(name)}" for scale, name in ((2.7, "minifasnet_v2_2.7"), (4.0, "minifasnet_v1se_4.0"))]
    more = [option for network in networks for option in ("--liveness", network)]
    return _compared(_teacher("mobilefacenet_y1"), "teachers", more)
