"""Scoring: VOC and COCO average precision, what goes into metrics.json, and plots."""
