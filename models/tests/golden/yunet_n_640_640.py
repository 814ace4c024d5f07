"""Makes yunet_n_640_640.json: what ONNX Runtime says of the 320x320 reference input, tiled. Run where ../shared is:
python models/tests/golden/yunet_n_640_640.py ../shared > models/tests/golden/yunet_n_640_640.json
"""

import json
import sys

import numpy as np
import onnxruntime

STEP = 211
reference = np.load(f"{sys.argv[1]}/reference/yunet_n_320.npz")["input"][:1]
data = np.tile(reference, (1, 1, 2, 2))
session = onnxruntime.InferenceSession(f"{sys.argv[1]}/models/yunet_n_640_640.onnx", providers=["CPUExecutionProvider"])
names = [o.name for o in session.get_outputs()]
outputs = {}
for name, value in zip(names, session.run(names, {session.get_inputs()[0].name: data})):
    flat = value.reshape(-1)
    outputs[name] = {
        "dims": value.shape,
        "largest": float(np.abs(flat).max()),
        "every_211th": [float(f"{v:.9g}") for v in flat[::STEP]],
    }
print(json.dumps(outputs))
