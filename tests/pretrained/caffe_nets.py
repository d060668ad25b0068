"""Caffe nets as their authors published them, at any width, with random weights: text and file.

The text is for OpenCV, which runs them; the file is what is imported here.
"""

import numpy as np

VGG = ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512))


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array, *, old=False):
    data = field(5, array.astype("<f4").tobytes())
    if old:
        shape = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(array.shape, start=1))
        return shape + data
    return data + field(7, field(1, b"".join(map(varint, array.shape))))


class Net:
    """A net that is written layer by layer; layers are called by their name, as in Caffe."""

    def __init__(self, size, seed=0, width=1.0, head_gain=1.0):
        self.size = size
        self.head_gain = head_gain
        self.rng = np.random.default_rng(seed)
        self.width = width
        self.channels = {"data": 3}
        self.blobs = {}
        self.text = [
            f'name: "net" input: "data" input_shape {{ dim: 1 dim: 3 dim: {size} dim: {size} }}'
        ]

    def layer(self, name, kind, bottoms, parameters="", top=None, channels=None):
        bottoms = (bottoms,) if isinstance(bottoms, str) else bottoms
        top = top or name
        inputs = " ".join(f'bottom: "{x}"' for x in bottoms)
        self.text.append(
            f'layer {{ name: "{name}" type: "{kind}" {inputs} top: "{top}" {parameters} }}'
        )
        self.channels[top] = channels or self.channels.get(bottoms[0])
        return top

    def scaled(self, channels):
        return max(8, round(channels * self.width))  # as narrow networks are here

    def conv(
        self, name, bottom, channels, kernel=3, stride=1, pad=None, dilation=1, *,
        group=False, bias=True, relu=True, gain=2.0,
    ):  # fmt: skip
        pad = kernel // 2 if pad is None else pad
        inputs = 1 if group else self.channels[bottom]
        shape = (channels, inputs, kernel, kernel)
        deviation = (gain / (inputs * kernel * kernel)) ** 0.5
        self.blobs[name] = [self.rng.normal(0, deviation, shape)]
        if bias:
            self.blobs[name].append(self.rng.normal(0, 0.1, channels))
        self.layer(
            name,
            "Convolution",
            bottom,
            f"convolution_param {{ num_output: {channels} kernel_size: {kernel} stride: {stride} "
            f"pad: {pad} dilation: {dilation} group: {channels if group else 1} "
            f"bias_term: {str(bias).lower()} }}",
            channels=channels,
        )
        return self.layer(f"{name}_relu", "ReLU", name, top=name) if relu else name

    def deconv(self, name, bottom, channels):
        inputs = self.channels[bottom]
        self.blobs[name] = [
            self.rng.normal(0, inputs**-0.5, (inputs, channels, 2, 2)),
            self.rng.normal(0, 0.1, channels),
        ]
        return self.layer(
            name,
            "Deconvolution",
            bottom,
            f"convolution_param {{ num_output: {channels} kernel_size: 2 stride: 2 }}",
            channels=channels,
        )

    def norm_conv(self, name, bottom, channels, kernel=3, stride=1, *, group=False):
        """A convolution, BatchNorm with sums and their count, Scale, ReLU."""
        self.conv(name, bottom, channels, kernel, stride, group=group, bias=False, relu=False)
        count = 3.0
        self.blobs[f"{name}/bn"] = [
            count * self.rng.normal(0, 0.2, channels),
            count * self.rng.uniform(0.5, 1.5, channels),
            np.array([count]),
        ]
        self.blobs[f"{name}/scale"] = [
            self.rng.uniform(0.5, 1.5, channels),
            self.rng.normal(0, 0.2, channels),
        ]
        self.layer(f"{name}/bn", "BatchNorm", name, "batch_norm_param { use_global_stats: true }")
        self.layer(f"{name}/scale", "Scale", f"{name}/bn", "scale_param { bias_term: true }")
        return self.layer(f"{name}/relu", "ReLU", f"{name}/scale")

    def pool(self, name, bottom, kernel, stride, pad=0):
        return self.layer(
            name,
            "Pooling",
            bottom,
            f"pooling_param {{ pool: MAX kernel_size: {kernel} stride: {stride} pad: {pad} }}",
        )

    def normalize(self, bottom, start):
        channels = self.channels[bottom]
        self.blobs[f"{bottom}_norm"] = [start * self.rng.uniform(0.5, 1.5, channels)]
        return self.layer(
            f"{bottom}_norm",
            "Normalize",
            bottom,
            "norm_param { across_spatial: false channel_shared: false }",
        )

    def vgg(self, *, pool5, fc6_dilation):
        x = "data"
        for stage, count, channels in VGG:
            for i in range(1, count + 1):
                x = self.conv(f"conv{stage}_{i}", x, self.scaled(channels))
            x = self.pool(f"pool{stage}", x, *((2, 2) if stage < 5 else pool5))
        x = self.conv("fc6", x, self.scaled(1024), 3, pad=fc6_dilation, dilation=fc6_dilation)
        return self.conv("fc7", x, self.scaled(1024), 1)

    def head(self, source, name, values, kernel):
        """Returns what a head says, flat: rows, columns, then boxes."""
        self.conv(name, source, values, kernel, relu=False, gain=self.head_gain)
        order = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
        self.layer(f"{name}_perm", "Permute", name, order)
        return self.layer(f"{name}_flat", "Flatten", f"{name}_perm", "flatten_param { axis: 1 }")

    def concat(self, name, bottoms, axis=1):
        return self.layer(name, "Concat", bottoms, f"concat_param {{ axis: {axis} }}")

    def detections(self, sources, classes, *, kernel, top_k, keep):
        """Heads, default boxes and the decoder.

        `sources` are (name, min size, max size or None, ratios, step or None); a layer called
        NAME/relu is read under its name.
        """
        offsets, scores, boxes = [], [], []
        for name, low, high, ratios, step in sources:
            source = f"{name}/relu" if f"{name}/relu" in self.channels else name
            count = 1 + (high is not None) + 2 * len(ratios)
            offsets.append(self.head(source, f"{name}_mbox_loc", 4 * count, kernel))
            scores.append(self.head(source, f"{name}_mbox_conf", classes * count, kernel))
            parameters = [f"min_size: {low}", *(f"aspect_ratio: {r}" for r in ratios)]
            parameters += [f"max_size: {high}"] if high else []
            parameters += [f"step: {step}"] if step else []
            parameters += [f"variance: {v}" for v in (0.1, 0.1, 0.2, 0.2)]
            boxes.append(
                self.layer(
                    f"{name}_mbox_priorbox",
                    "PriorBox",
                    (source, "data"),
                    f"prior_box_param {{ {' '.join(parameters)} flip: true clip: false "
                    "offset: 0.5 }",
                )
            )
        self.concat("mbox_loc", offsets)
        self.concat("mbox_conf", scores)
        self.concat("mbox_priorbox", boxes, 2)
        shape = f"reshape_param {{ shape {{ dim: 0 dim: -1 dim: {classes} }} }}"
        self.layer("mbox_conf_reshape", "Reshape", "mbox_conf", shape)
        self.layer("mbox_conf_softmax", "Softmax", "mbox_conf_reshape", "softmax_param { axis: 2 }")
        self.layer("mbox_conf_flatten", "Flatten", "mbox_conf_softmax", "flatten_param { axis: 1 }")
        self.layer(
            "detection_out",
            "DetectionOutput",
            ("mbox_loc", "mbox_conf_flatten", "mbox_priorbox"),
            f"detection_output_param {{ num_classes: {classes} share_location: true "
            f"background_label_id: 0 nms_param {{ nms_threshold: 0.45 top_k: {top_k} }} "
            f"code_type: CENTER_SIZE keep_top_k: {keep} confidence_threshold: 0.01 }}",
        )

    def arrays(self):
        """The blobs by the names that our reader gives them."""
        return {
            f"{name}/{i}": array.astype(np.float32)
            for name, arrays in self.blobs.items()
            for i, array in enumerate(arrays)
        }

    def prototxt(self):
        return "\n".join(self.text).encode()

    def caffemodel(self):
        layers = (
            field(1, name.encode()) + b"".join(field(7, blob(array)) for array in arrays)
            for name, arrays in self.blobs.items()
        )
        return field(1, b"net") + b"".join(field(100, layer) for layer in layers)


def ssd300(classes, **options):
    net = Net(300, **options)
    net.vgg(pool5=(3, 1, 1), fc6_dilation=6)
    net.normalize("conv4_3", 20)
    x = "fc7"
    for i, (squeeze, channels, stride, pad) in enumerate(
        ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0)), start=6
    ):
        x = net.conv(f"conv{i}_1", x, net.scaled(squeeze), 1)
        x = net.conv(f"conv{i}_2", x, net.scaled(channels), 3, stride, pad)
    net.detections(
        (
            ("conv4_3_norm", 30, 60, (2,), 8),
            ("fc7", 60, 111, (2, 3), 16),
            ("conv6_2", 111, 162, (2, 3), 32),
            ("conv7_2", 162, 213, (2, 3), 64),
            ("conv8_2", 213, 264, (2,), 100),
            ("conv9_2", 264, 315, (2,), 300),
        ),
        classes,
        kernel=3,
        top_k=400,
        keep=200,
    )
    return net


def mobilenet_ssd(classes, *, deployed, **options):
    net = Net(300, **options)

    def layer(name, bottom, channels, kernel=3, stride=1, group=False):
        made = net.conv if deployed else net.norm_conv
        return made(name, bottom, channels, kernel, stride, group=group)

    x = layer("conv0", "data", net.scaled(32), 3, 2)
    features = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5)
    for i, (channels, stride) in enumerate((*features, (1024, 2), (1024, 1)), start=1):
        x = layer(f"conv{i}/dw", x, net.channels[x], 3, stride, group=True)
        x = layer(f"conv{i}", x, net.scaled(channels), 1)
    for i, (squeeze, channels) in enumerate(
        ((256, 512), (128, 256), (128, 256), (64, 128)), start=14
    ):
        x = layer(f"conv{i}_1", x, net.scaled(squeeze), 1)
        x = layer(f"conv{i}_2", x, net.scaled(channels), 3, 2)
    sizes = (60, 105, 150, 195, 240, 285, 300)
    names = ("conv11", "conv13", "conv14_2", "conv15_2", "conv16_2", "conv17_2")
    sources = [
        (name, sizes[i], sizes[i + 1] if i else None, (2, 3) if i else (2,), None)
        for i, name in enumerate(names)
    ]
    net.detections(sources, classes, kernel=1, top_k=100, keep=100)
    return net


def refinedet320(classes, **options):
    """Its heads; OpenCV has no decoder for two steps."""
    net = Net(320, **options)
    net.vgg(pool5=(2, 2), fc6_dilation=3)
    net.conv("conv6_1", "fc7", net.scaled(256), 1)
    net.conv("conv6_2", "conv6_1", net.scaled(512), 3, 2, 1)
    sources = (net.normalize("conv4_3", 10), net.normalize("conv5_3", 8), "fc7", "conv6_2")
    channels = net.scaled(256)
    deeper = None
    for level, source in zip((6, 5, 4, 3), reversed(sources), strict=True):
        net.conv(f"TL{level}_1", source, channels)
        x = net.conv(f"TL{level}_2", f"TL{level}_1", channels, relu=deeper is None)
        if deeper is not None:
            up = net.deconv(f"{deeper}-up", deeper, channels)
            net.layer(f"Elt{level}", "Eltwise", (x, up), "eltwise_param { operation: SUM }")
            x = net.layer(f"Elt{level}_relu", "ReLU", f"Elt{level}", top=f"Elt{level}")
        deeper = net.conv(f"P{level}", x, channels)
    for prefix, maps, values in (("arm", sources, 2), ("odm", ("P3", "P4", "P5", "P6"), classes)):
        for kind, postfix, size in (("loc", "mbox_loc", 4), ("conf", "mbox_conf", values)):
            heads = [net.head(x, f"{x}_{postfix}", 3 * size, 3) for x in maps]
            net.concat(f"{prefix}_{kind}", heads)
    return net


# Narrow ones, whose outputs are kept in goldens/caffe.npz, with scores that differ: name -> net.
GOLDEN = {
    "ssd300_voc": lambda: ssd300(6, width=1 / 16, head_gain=0.002),
    "mobilenet_ssd": lambda: mobilenet_ssd(6, deployed=False, width=1 / 8, head_gain=0.02),
    "mobilenet_ssd_deployed": lambda: mobilenet_ssd(6, deployed=True, width=1 / 8),
    "refinedet320": lambda: refinedet320(6, width=1 / 16, head_gain=0.02),
}
SAMPLE = 97  # every so many numbers of an output are kept


def picture(net):
    """Any pixels, RGB."""
    return np.random.default_rng(1).integers(0, 256, (net.size, net.size, 3), np.uint8)


def outputs(net):
    return (
        ["arm_loc", "arm_conf", "odm_loc", "odm_conf"]
        if "arm_loc" in net.channels
        else ["mbox_loc", "mbox_conf", "detection_out"]
    )


def run(net, pixels, mean, scale):
    """What OpenCV's dnn module computes: output -> array."""
    import cv2

    text, weights = (np.frombuffer(x, np.uint8) for x in (net.prototxt(), net.caffemodel()))
    reader = cv2.dnn.readNetFromCaffe(text, weights)
    bgr = (pixels[..., ::-1].astype(np.float32) - np.float32(mean[::-1])) * np.float32(scale)
    reader.setInput(np.ascontiguousarray(bgr.transpose(2, 0, 1)[None]))
    names = outputs(net)
    return dict(zip(names, reader.forward(names), strict=True))
