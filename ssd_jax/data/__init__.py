"""From folders of annotated pictures to batches of padded scenes on the host.

`launch.prepare` writes TFDS data sets (`voc`, `coco` and `shapes` yield `examples`; `preparation`
and `builder` write them), `records` reads them by name, `images` decodes, `pipeline` makes
batches, and `augment` takes over on the device. Nothing here needs TensorFlow.
"""
