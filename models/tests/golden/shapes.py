"""Makes shapes-*.jpg, pictures of nothing: python models/tests/golden/shapes.py models/tests/golden"""

import sys

import cv2
import numpy as np

y, x = np.mgrid[0:61, 0:97].astype(np.float32)
waves = [128 + 100 * np.sin(x / 9 + y / 14), 40 + 2 * x, 128 + 90 * np.cos(y / 7)]
picture = np.clip(np.dstack(waves), 0, 255).astype(np.uint8)
cv2.circle(picture, (60, 30), 18, (30, 200, 90), -1)
quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
for name, sampling in (("420", 0x221111), ("422", 0x211111), ("444", 0x111111)):
    options = [*quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    cv2.imwrite(f"{sys.argv[1]}/shapes-{name}.jpg", picture, options)
cv2.imwrite(f"{sys.argv[1]}/shapes-restarts.jpg", picture, [*quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 3])
cv2.imwrite(f"{sys.argv[1]}/shapes-grey.jpg", cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), quality)
