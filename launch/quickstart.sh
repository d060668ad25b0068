#!/usr/bin/env bash
# From a fresh clone to a trained detector: generates scenes, trains, scores, draws.
# WORKDIR=... chooses where; the same command goes on with a run that was stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
WORKDIR="${WORKDIR:-runs/quickstart}"
if [ ! -d datasets/shapes ]; then
  "$PYTHON" -m launch.prepare --format shapes --name shapes --data_dir datasets
fi
"$PYTHON" -m launch.train --config configs/quickstart.py --workdir "$WORKDIR"
"$PYTHON" -m launch.evaluate --workdir "$WORKDIR"
cat <<MESSAGE

Done. In $WORKDIR:
  pictures/             validation scenes: annotated boxes dashed, detections in colour
  evaluation/           metrics.json, detections.json, precision-recall curves
  metrics.jsonl, tensorboard/   the course of the training
  checkpoints/, best/   the detector

Next:
  your own pictures     .venv/bin/python -m launch.predict --workdir $WORKDIR --input DIR --output out
  your own data         .venv/bin/python -m launch.prepare --format voc --source VOCdevkit/VOC2007 --name mine
                        .venv/bin/python -m launch.train --config configs/ssd.py:small,animals \\
                          --config.data.train=mine:train --config.data.eval=mine:val --workdir runs/mine
MESSAGE
