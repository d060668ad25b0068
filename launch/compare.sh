#!/usr/bin/env bash
# The systems on VOC 2012's animals from ImageNet's weights, in one table with AP by class:
#   VGG16=vgg16_conv_fp16_bgr.npz MOBILENET=mobilenet_v1_1.0_224_fp32.npz bash launch/compare.sh [FLAG ...]
# VARIANTS and SEEDS choose some, WORKDIR the folder of the runs; flags go to every training. What is
# finished is not run again. With TORCH=/path/to/python, one that has torchvision beside what is in
# requirements.txt, its SSD300 is trained on the same pictures, from the same weights, as long.
set -euo pipefail
vgg16="$(realpath "${VGG16:?a file of VGG16 for ImageNet}")"
mobilenet="$(realpath "${MOBILENET:?a file of MobileNetV1 for ImageNet}")"
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
workdir="${WORKDIR:-runs/compare}"
for seed in ${SEEDS:-0 1 2}; do
  for variant in ${VARIANTS:-mobilenet_ssd ssd300 ssd300_flip ssd300_crop ssd512 refinedet320}; do
    weights="$vgg16"
    if [ "$variant" = mobilenet_ssd ]; then weights="$mobilenet"; fi
    "$PYTHON" -m launch.train --config "configs/photographs.py:$variant" \
      --workdir "$workdir/${variant}_$seed" --config.init_from="$weights" \
      --config.train.seed="$seed" "$@"
  done
  if [ -n "${TORCH:-}" ]; then
    "$TORCH" -m benchmarks.torchvision_ssd300 --config configs/photographs.py:ssd300 \
      --workdir "$workdir/torchvision_$seed" --config.init_from="$vgg16" \
      --config.train.seed="$seed" "$@"
  fi
done
"$PYTHON" -m launch.compare --per_class "$workdir"/*
