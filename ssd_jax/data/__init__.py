"""From folders of annotated pictures to padded batches on the host.

`voc`, `coco`, `folder_scenes` and `shapes` yield `examples`, `preparation` and `builder` write them
as TFDS data sets, `records` reads these, `images` decodes, `pipeline` makes batches, and `augment`
takes over on the device. Nothing here needs TensorFlow.
"""
