class ShapeScenes:
    pass
