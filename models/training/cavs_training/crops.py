"""The aligned training faces as arrays, and what the teacher says of them."""

import io
import multiprocessing
import tarfile
import zlib

import numpy as np
import openvino
from PIL import Image

from .paths import SHARED, work

SIDE = 112
#: The teacher's last map before its head (7x7, 128 channels): it says where in the face a trait lies,
#: which an embedding does not.
TEACHER_MAP = "_plus11"
MAP_CHANNELS = 128
EMBEDDING = 128
TEACH_BATCH = 16


def load_faces() -> tuple[np.ndarray, list[str]]:
    """All crops, uint8 RGB (n, 112, 112, 3), with their names, in the order of the archives."""
    cache, names = work("faces.npy"), work("faces.txt")
    if not cache.exists():
        pictures, found = [], []
        for path in sorted((SHARED / "train").glob("faces112-*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile() and member.name.endswith(".webp"):
                        picture = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")
                        if picture.size == (SIDE, SIDE):
                            pictures.append(np.asarray(picture))
                            found.append(f"{path.stem}/{member.name}")
        np.save(cache, np.stack(pictures))
        names.write_text("\n".join(found))
    return np.load(cache, mmap_mode="r"), names.read_text().split("\n")


def is_validation(name: str) -> bool:
    """Five in a hundred, by name, so that more data never moves a face from one side to the other."""
    return zlib.crc32(name.encode()) % 20 == 0


def _teacher() -> openvino.CompiledModel:
    """The teacher with its map as a second output, in bfloat16: its cosine to itself in float32 is 0.9997."""
    core = openvino.Core()
    model = core.read_model(SHARED / "models" / "mobilefacenet_y1.onnx")
    [feature] = [op for op in model.get_ops() if op.get_friendly_name() == TEACHER_MAP]
    model.add_outputs([feature.output(0)])
    model.reshape([TEACH_BATCH, 3, SIDE, SIDE])
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 1})


def _teach(job: tuple[int, int, str, bool]) -> tuple[int, np.ndarray, np.ndarray]:
    start, end, source, mirrored = job
    request = _teacher().create_infer_request()
    faces = np.load(source, mmap_mode="r")[start:end]
    embeddings, maps = [], []
    for at in range(0, len(faces), TEACH_BATCH):
        batch = faces[at : at + TEACH_BATCH]
        count = len(batch)
        batch = np.concatenate([batch, np.zeros((TEACH_BATCH - count, *batch.shape[1:]), np.uint8)])
        batch = batch[:, :, ::-1] if mirrored else batch
        embedding, feature = request.infer({0: batch.transpose(0, 3, 1, 2).astype(np.float32)}).values()
        embedding, feature = embedding[:count], feature[:count]
        embeddings.append(embedding / np.linalg.norm(embedding, axis=1, keepdims=True))
        maps.append(feature.astype(np.float16))
    return start, np.concatenate(embeddings), np.concatenate(maps)


def teach(faces: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's view of the crops in `work(faces)`, unmirrored and mirrored.

    Returns unit embeddings, float32 (2, n, 128), and maps, float16 (2, n, 7, 7, 128) in memory order
    channels-last, as the student produces them.
    """
    to_embeddings, to_maps = work(f"{label}-embeddings.npy"), work(f"{label}-maps.npy")
    if not (to_embeddings.exists() and to_maps.exists()):
        source = str(work(faces))
        n = len(np.load(source, mmap_mode="r"))
        embeddings = np.empty((2, n, EMBEDDING), np.float32)
        maps = np.lib.format.open_memmap(str(to_maps) + ".part", "w+", np.float16, (2, n, 7, 7, MAP_CHANNELS))
        with multiprocessing.get_context("spawn").Pool() as pool:
            for mirrored in (0, 1):
                jobs = [(at, min(at + 1024, n), source, bool(mirrored)) for at in range(0, n, 1024)]
                for start, found, feature in pool.imap_unordered(_teach, jobs):
                    embeddings[mirrored, start : start + len(found)] = found
                    maps[mirrored, start : start + len(found)] = feature.transpose(0, 2, 3, 1)
        maps.flush()
        np.save(to_embeddings, embeddings)
        work(f"{label}-maps.npy.part").rename(to_maps)
    return np.load(to_embeddings), np.load(to_maps, mmap_mode="r")
