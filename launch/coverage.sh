#!/usr/bin/env bash
# What the anchors of five systems cover on VOC07+12 trainval and VOC07 test, in one table.
#     bash launch/coverage.sh FOLDER [OUTPUT]
# FOLDER has VOC's boxes as COCO files: instances_voc_{train,val,test}2007.json.gz and
# instances_voc_{train,val}2012.json.gz.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
voc="${1:?name the folder of the boxes}/instances_voc"
"$PYTHON" -m launch.anchors --output "${2:-coverage}" --config configs/ssd.py:300,voc \
  --compare "configs/ssd.py:300,voc --config.name=ssd_300_linear_rule --config.anchors=linear
    --config.anchors.ratios='((2.,), (2., 3.), (2., 3.), (2., 3.), (2.,), (2.,))'" \
  --compare configs/ssd.py:300,coco \
  --compare configs/dssd.py:321,voc,dssd \
  --compare configs/refinedet.py:320,vgg16,voc \
  --data "VOC07+12 trainval=${voc}_train2007.json.gz,${voc}_val2007.json.gz,${voc}_train2012.json.gz,${voc}_val2012.json.gz" \
  --data "VOC07 test=${voc}_test2007.json.gz"
