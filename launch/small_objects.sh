#!/usr/bin/env bash
# SSD, RefineDet without each of its parts, and DSSD's parts, on scenes of many small shapes.
# VARIANTS and SEEDS choose some; what is finished is not run again. Arguments go to every run of a
# variant; the two backbones they begin with are trained once, on the quickstart's scenes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
runs=runs/small_objects
if [ ! -d datasets/shapes ]; then
  "$PYTHON" -m launch.prepare --format shapes --name shapes --data_dir datasets
fi
if [ ! -d datasets/small_shapes ]; then
  "$PYTHON" -m launch.prepare --format shapes --name small_shapes --image_size 128 \
    --object_size 0.08,0.4 --max_objects 10 --data_dir datasets
fi
for seed in ${SEEDS:-0 1 2}; do
  for variant in ${VARIANTS:-ssd refinedet no_filtering no_cascade no_tcb ssd_resnet pm dm_product dm_sum}; do
    case "$variant" in ssd_resnet | pm | dm_*) backbone=resnet ;; *) backbone=vgg16 ;; esac
    "$PYTHON" -m launch.train --config "configs/small_objects.py:pretrain_$backbone" \
      --workdir "$runs/backbones/$backbone"
    "$PYTHON" -m launch.train --config "configs/small_objects.py:$variant" \
      --workdir "$runs/${variant}_$seed" --config.init_from="$runs/backbones/$backbone" \
      --config.train.seed="$seed" "$@"
  done
done
"$PYTHON" -m launch.compare "$runs"/*_[0-9]*
