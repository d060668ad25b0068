"""The classes of released detectors, by how many a file scores."""

from ssd_jax.data.voc import CLASS_NAMES as VOC

# What stands for a number that no class has.
NOBODY = "-"

# COCO's 80 categories by their published numbers, of which ten below 91 belong to nobody.
_COCO = {
    number: name
    for first, names in (
        (1, "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light"),
        (11, "fire hydrant"),
        (13, "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra"),
        (25, "giraffe"),
        (27, "backpack,umbrella"),
        (31, "handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat"),
        (40, "baseball glove,skateboard,surfboard,tennis racket,bottle"),
        (46, "wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli"),
        (57, "carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed"),
        (67, "dining table"),
        (70, "toilet"),
        (72, "tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink"),
        (82, "refrigerator"),
        (84, "book,clock,vase,scissors,teddy bear,hair drier,toothbrush"),
    )
    for number, name in enumerate(names.split(","), start=first)
}


def names(num_classes: int) -> tuple[str, ...]:
    """Returns the names of a file's classes, background left out.

    Args:
        num_classes: that the file scores, background included: 21 is VOC; 81 is COCO; 91 is COCO by
            its published numbers, with NOBODY for those that are not given; others are numbered.
    """
    if num_classes == len(VOC) + 1:
        return VOC
    if num_classes == len(_COCO) + 1:
        return tuple(_COCO.values())
    if num_classes == max(_COCO) + 1:
        return tuple(_COCO.get(number, NOBODY) for number in range(1, num_classes))
    return tuple(f"class {number}" for number in range(1, num_classes))
