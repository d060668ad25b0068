"""From folders of annotated pictures to batches of padded scenes on the host.

`launch.prepare` writes TFDS data sets (`preparation`, `voc`, `coco`, `shapes`), `records` reads them
by name, `images` decodes, `pipeline` makes batches. Nothing here needs TensorFlow.
"""
