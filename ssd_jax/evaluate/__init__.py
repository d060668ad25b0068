"""Scoring: VOC's and COCO's average precision, metrics.json and plots."""
