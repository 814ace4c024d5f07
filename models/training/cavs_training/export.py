"""Checkpoints to ONNX, and from there to the pack by the project's own importer."""

import shutil
import subprocess
from pathlib import Path

import torch

from .detector import OUTPUTS, Detector
from .paths import PACK, ROOT, SHARED, cargo_run, work
from .scenes import STRIDES
from .student import Student

SOURCE = "Trained by this project: models/training, see its README.md and MODEL_CARD.md"


def _onnx(model: torch.nn.Module, example: torch.Tensor, file: str, outputs: list[str]) -> str:
    model.eval()
    torch.onnx.export(
        model, (example,), work(file), input_names=["input"], output_names=outputs, opset_version=17, dynamo=False,
        dynamic_axes={"input": {0: "batch", 2: "height", 3: "width"}} if len(outputs) > 1 else None,
    )
    return str(work(file).resolve())


def networks() -> tuple[str, str]:
    """Writes both networks as ONNX; their paths."""
    student, detector = Student(), Detector()
    student.load_state_dict(torch.load(work("embedder.pt"))["student"])
    detector.load_state_dict(torch.load(work("detector.pt"))["detector"])
    kinds = [f"{kind}_{stride}" for kind in OUTPUTS for stride in STRIDES]
    return (
        _onnx(detector, torch.zeros(1, 3, 320, 320), "detector.onnx", kinds),
        _onnx(student, torch.zeros(1, 3, 112, 112), "embedder.onnx", ["embedding"]),
    )


def _import(detector: str, embedder: str, name: str, license: str, source: str, out: Path, more: list[str]) -> None:
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [*cargo_run(), "-p", "cavs-cli", "--", "models", "import", "--detector", f"yunet={detector}", "--embedder", embedder,
         "--name", name, "--license", license, "--source", source, "--out", str(out.resolve()), *more],
        cwd=ROOT, check=True,
    )


def pack(version: str) -> None:
    """Writes `models/packs/cavs-nano`, with the thresholds of `calibration.toml` where it was made."""
    detector, embedder = networks()
    made, calibration = work("pack"), work("calibration.toml")
    more = ["--half", "--pack-version", version]
    if calibration.exists():
        more += ["--calibration", str(calibration.resolve())]
    _import(detector, embedder, "cavs-nano", "MIT OR Apache-2.0", SOURCE, made, more)
    PACK.mkdir(parents=True, exist_ok=True)
    for file in made.iterdir():
        shutil.copyfile(file, PACK / file.name)


def teachers() -> Path:
    """A pack of the two teachers, to compare with."""
    models, made = SHARED / "models", work("teachers")
    _import(str((models / "yunet_n_dynamic.onnx").resolve()), str((models / "mobilefacenet_y1.onnx").resolve()),
            "teachers", "weights for non-commercial use", "", made, [])
    return made
