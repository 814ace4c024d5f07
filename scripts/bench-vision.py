"""The measuring part of scripts/bench-vision: engines take turns, the best single run of all rounds counts."""

import os
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import cv2
import ncnn
import numpy as np
import onnx
import onnxruntime
import openvino

WORKER, SHARED, *CHOSEN = sys.argv[1:]
ROUNDS = int(os.environ.get("ROUNDS", "12"))
RUNS = 8
MODELS = f"{SHARED}/models"

# name, file, height, width, bar: most CPU time as a part of the best rival's.
NETWORKS = [
    ("yunet-320", "yunet_n_dynamic", 320, 320, 0.9),
    ("yunet-640", "yunet_n_dynamic", 640, 640, 0.9),
    ("scrfd-500m-320", "scrfd_500m_kps", 320, 320, 1.1),
    ("mobilefacenet", "mobilefacenet_y1", 112, 112, 0.8),
    ("scrfd-2.5g-320", "scrfd_2.5g_kps", 320, 320, 1.0),
    ("minifasnet-v2", "minifasnet_v2_2.7", 80, 80, None),
    ("minifasnet-v1se", "minifasnet_v1se_4.0", 80, 80, None),
    ("slim-resnet", None, 112, 112, 0.85),
]
ENGINES = ("onnxruntime", "openvino", "ncnn")
FRAME_BAR = 0.5
# Wall time with two threads as a part of that with one.
# A frame with one face is mostly decoding, which is one thread's work.
TWO_THREADS = {"yunet-320": 1.0, "yunet-640": 1.0, "mobilefacenet": 1.0, "frame-10": 1.0}


def least_cpu(work):
    """CPU time of this process for the cheapest of some calls, in milliseconds."""
    least = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least * 1e3


class Ours:
    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [WORKER, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask()

    def ask(self):
        """Least CPU time and least wall time of some runs, in milliseconds."""
        self.process.stdin.write(f"{RUNS}\n")
        self.process.stdin.flush()
        return [float(v) for v in self.process.stdout.readline().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# Every engine has its input in its own memory before the clock starts and keeps its outputs.


def onnx_runtime(path, data, _):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, onnxruntime.OrtValue.ortvalue_from_numpy(data))
    names = [o.name for o in session.get_outputs()]
    for name in names:
        binding.bind_output(name)
    session.run_with_iobinding(binding)
    # From now on the outputs have memory, too.
    for name, value in zip(names, binding.get_outputs()):
        binding.bind_ortvalue_output(name, value)
    return lambda: session.run_with_iobinding(binding)


def open_vino(path, data, _):
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(data.shape))
    # The same precision for all: by default OpenVINO computes in bfloat16 where the CPU can.
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(data))
    return request.infer


def ncnn_engine(path, data, folder):
    """ncnn reads its own format, to which pnnx converts."""
    name = os.path.join(folder, os.path.basename(path).replace(".", "_"))
    shape = "x".join(map(str, data.shape))
    files = [f"{what}={name}.{shape}.{end}" for what, end in
             (("ncnnparam", "param"), ("ncnnbin", "bin"), ("pnnxparam", "p"), ("pnnxbin", "b"),
              ("pnnxpy", "py"), ("ncnnpy", "n.py"), ("pnnxonnx", "onnx"))]
    tool = os.path.join(os.path.dirname(sys.executable), "pnnx")
    subprocess.run(
        [tool, path, f"inputshape=[{','.join(map(str, data.shape))}]", "fp16=0", *files],
        check=True, capture_output=True, cwd=folder,
    )
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    # Freeing values during a run crashes 1.0.20261020 on MobileFaceNet.
    net.opt.lightmode = False
    if net.load_param(f"{name}.{shape}.param") or net.load_model(f"{name}.{shape}.bin"):
        raise RuntimeError("ncnn can't load the network")
    mat = ncnn.Mat(np.ascontiguousarray(data[0]))
    inputs, outputs = net.input_names(), net.output_names()

    def run():
        extractor = net.create_extractor()
        extractor.input(inputs[0], mat)
        for output in outputs:
            extractor.extract(output)

    return run


def slim_resnet(path):
    """A network of dense 3x3 convolutions with random weights, like the built-in embedder: 179 million multiply-adds."""
    rng = np.random.default_rng(0)
    nodes, weights, count = [], [], 0

    def add(op, inputs, **attributes):
        nonlocal count
        count += 1
        nodes.append(onnx.helper.make_node(op, inputs, [f"v{count}"], name=f"n{count}", **attributes))
        return f"v{count}"

    def tensor(*dims):
        scale = np.sqrt(2 / np.prod(dims[1:])) if len(dims) > 1 else 0.1
        weights.append(onnx.numpy_helper.from_array((rng.standard_normal(dims) * scale).astype(np.float32), f"w{len(weights)}"))
        return weights[-1].name

    def conv(x, inputs, outputs, kernel, stride, pad, groups=1):
        parts = [x, tensor(outputs, inputs // groups, kernel, kernel), tensor(outputs)]
        return add("Conv", parts, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)

    x = add("Relu", [conv("input", 3, 32, 3, 2, 1)])
    channels = 32
    for width in (48, 96, 192):
        for stride in (2, 1):
            y = add("Relu", [conv(x, channels, width, 3, stride, 1)])
            y = conv(y, width, width, 3, 1, 1)
            if stride == 2:
                x = conv(x, channels, width, 1, 2, 0)
            x = add("Relu", [add("Add", [y, x])])
            channels = width
    x = conv(x, channels, channels, 7, 1, 0, channels)
    x = add("Flatten", [x], axis=1)
    x = add("Gemm", [x, tensor(128, channels), tensor(128)], transB=1)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "slim", [info("input", 1, [1, 3, 112, 112])], [info(x, 1, [1, 128])], weights
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


def network(file, height, width, folder):
    path = f"{MODELS}/{file}.onnx"
    if file is None:
        path = f"{folder}/slim.onnx"
        slim_resnet(path)
    data = (np.arange(3 * height * width) * 7919 % 255).astype(np.float32).reshape(1, 3, height, width)
    rivals = {}
    for name, make in zip(ENGINES, (onnx_runtime, open_vino, ncnn_engine)):
        try:
            rivals[name] = make(path, data, folder)
            rivals[name]()
        except Exception as error:  # an engine that can't load the file is no rival
            print(f"{name} does not run {path}: {error}", file=sys.stderr)
            rivals.pop(name, None)
    ours = Ours("network", path, height, width, 1)
    two = Ours("network", path, height, width, 2)
    least = dict.fromkeys(["ours", *rivals], float("inf"))
    wall = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        cpu, one = ours.ask()
        least["ours"] = min(least["ours"], cpu)
        wall = [min(wall[0], one), min(wall[1], two.ask()[1])]
        for name, work in rivals.items():
            least[name] = min(least[name], least_cpu(work))
    ours.close()
    two.close()
    return least, wall


# The frame pipeline as one writes it in Python.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)


def python_frame(jpeg):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    cv2.setNumThreads(1)
    detector = onnxruntime.InferenceSession(f"{MODELS}/yunet_n_dynamic.onnx", options)
    embedder = onnxruntime.InferenceSession(f"{MODELS}/mobilefacenet_y1.onnx", options)
    names = [o.name for o in detector.get_outputs()]

    def run():
        image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        scale = 320 / max(height, width)
        small = cv2.resize(image, (round(width * scale), round(height * scale)))
        h, w = (-(-small.shape[0] // 32) * 32, -(-small.shape[1] // 32) * 32)
        padded = np.zeros((h, w, 3), np.float32)
        padded[: small.shape[0], : small.shape[1]] = small
        out = dict(zip(names, detector.run(None, {"input": padded.transpose(2, 0, 1)[None]})))
        boxes, scores, marks = [], [], []
        for stride in (8, 16, 32):
            score = np.sqrt(out[f"cls_{stride}"][0, :, 0] * out[f"obj_{stride}"][0, :, 0])
            for at in np.nonzero(score >= 0.6)[0]:
                cell = np.array([at % (w // stride), at // (w // stride)], np.float32)
                b = out[f"bbox_{stride}"][0, at]
                size = np.exp(b[2:]) * stride
                boxes.append([*((cell + b[:2]) * stride - size / 2), *size])
                scores.append(float(score[at]))
                marks.append((cell + out[f"kps_{stride}"][0, at].reshape(5, 2)) * stride / scale)
        faces = []
        for i in cv2.dnn.NMSBoxes(boxes, scores, 0.6, 0.3) if boxes else []:
            matrix, _ = cv2.estimateAffinePartial2D(marks[i], TEMPLATE, method=cv2.LMEDS)
            face = cv2.warpAffine(image, matrix, (112, 112))
            data = face[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
            vector = embedder.run(None, {"data": data})[0][0]
            faces.append(vector / np.linalg.norm(vector))
        return faces

    return run


def frame(count, folder):
    """A frame of 1640x1232 with a number of faces, pasted from one of the data folder's portraits."""
    portrait = cv2.imread(f"{SHARED}/images/people/stock-emotions-a-1.jpg")
    columns, side = (1, 700) if count == 1 else (5, 320)
    picture = np.full((1232, 1640, 3), 96, np.uint8)
    picture += np.random.default_rng(0).integers(0, 24, picture.shape, np.uint8)
    scale = side / max(portrait.shape[:2])
    face = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for i in range(count):
        y, x = (i // columns) * 600 + 20, (i % columns) * 325 + 10
        picture[y : y + face.shape[0], x : x + face.shape[1]] = face[: 1232 - y, : 1640 - x]
    path = f"{folder}/{count}.jpg"
    cv2.imwrite(path, picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return path


def whole_frame(count, folder):
    """CPU time of ours and of the Python pipeline, wall time with one and two threads."""
    pack = f"{folder}/pack"
    if not os.path.exists(pack):
        files = [f"{MODELS}/yunet_n_dynamic.onnx", f"{MODELS}/mobilefacenet_y1.onnx"]
        subprocess.run([WORKER, "import", *files, pack], check=True)
    path = frame(count, folder)
    python = python_frame(np.fromfile(path, np.uint8))
    found = len(python())
    if found != count:
        sys.exit(f"frame-{count}: the Python pipeline finds {found} faces")
    ours, two = (Ours("frame", pack, path, threads) for threads in (1, 2))
    least = [float("inf")] * 4
    for _ in range(ROUNDS):
        least = [min(pair) for pair in zip(least, [*ours.ask(), two.ask()[1], least_cpu(python)])]
    ours.close()
    two.close()
    return least


def main():
    known = [n[0] for n in NETWORKS] + ["frame-1", "frame-10"]
    chosen = CHOSEN or known
    if unknown := [n for n in chosen if n not in known]:
        sys.exit(f"bench-vision: {', '.join(unknown)}: expected some of {', '.join(known)}")
    bars = []

    def threads(name, one, two):
        if name in TWO_THREADS:
            bars.append((f"{name}-two-threads", two / one, TWO_THREADS[name]))

    with tempfile.TemporaryDirectory() as folder:
        print(f"{'CPU ms':<18}{'ours':>9}" + "".join(f"{e:>12}" for e in ENGINES) + f"{'ratio':>8}   wall ms, 1 / 2 threads")
        for name, file, height, width, bar in NETWORKS:
            if name not in chosen:
                continue
            least, wall = network(file, height, width, folder)
            rival = min(v for k, v in least.items() if k != "ours")
            cells = "".join(f"{least[e]:12.2f}" if e in least else f"{'-':>12}" for e in ENGINES)
            print(f"{name:<18}{least['ours']:9.2f}{cells}{least['ours'] / rival:8.2f}   {wall[0]:.2f} / {wall[1]:.2f}", flush=True)
            if bar:
                bars.append((name, least["ours"] / rival, bar))
            threads(name, *wall)
        for count in (1, 10):
            name = f"frame-{count}"
            if name not in chosen:
                continue
            cpu, one, two, python = whole_frame(count, folder)
            print(f"{name:<18}{cpu:9.2f}   Python {python:.2f}, ratio {cpu / python:.2f}   {one:.2f} / {two:.2f}", flush=True)
            bars.append((name, cpu / python, FRAME_BAR))
            threads(name, one, two)
    short = False
    for name, figure, bar in bars:
        good = figure <= bar
        short |= not good
        print(f"{name} {figure:.2f} {bar:.2f} {'ok' if good else 'SHORT'}")
    sys.exit(1 if short else 0)


main()
