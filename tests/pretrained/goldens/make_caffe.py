"""Writes caffe.npz, what OpenCV says of the nets of caffe_nets.GOLDEN; made with OpenCV 4.14.0.

python tests/pretrained/goldens/make_caffe.py    # OpenCV 5 reads Caffe no more
"""

import pathlib
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))
import caffe_nets  # noqa: E402

MEANS = {"mobilenet": ((127.5,) * 3, 0.007843)}

if __name__ == "__main__":
    kept = {}
    for name, make in caffe_nets.GOLDEN.items():
        net = make()
        mean, scale = MEANS.get(name.split("_")[0], ((123, 117, 104), 1))
        for output, values in caffe_nets.run(net, caffe_nets.picture(net), mean, scale).items():
            if output == "detection_out":
                kept[f"{name}/{output}"] = values.reshape(-1, 7)[:, 1:].astype(np.float32)
            else:
                kept[f"{name}/{output}"] = values.ravel()[:: caffe_nets.SAMPLE].astype(np.float32)
            print(name, output, values.shape, "largest", np.abs(values).max())
    np.savez_compressed(FOLDER / "caffe.npz", **kept)
