"""Makes yunet_n_640_640.json: what ONNX Runtime says of a made-up input. Run where ../shared is:
python models/tests/golden/yunet_n_640_640.py ../shared/models/yunet_n_640_640.onnx > models/tests/golden/yunet_n_640_640.json
"""

import json
import sys

import numpy as np
import onnxruntime

STEP = 211
data = (np.arange(3 * 640 * 640) * 7919 % 255).astype(np.float32).reshape(1, 3, 640, 640)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
names = [o.name for o in session.get_outputs()]
outputs = {}
for name, value in zip(names, session.run(names, {session.get_inputs()[0].name: data})):
    flat = value.reshape(-1)
    outputs[name] = {
        "dims": value.shape,
        "largest": float(np.abs(flat).max()),
        "every_211th": [round(float(v), 7) for v in flat[::STEP]],
    }
print(json.dumps(outputs))
