#!/usr/bin/env bash
# DSSD's three stages, each from the last one's checkpoint: bash launch/dssd.sh 321,voc WORKDIR [FLAG ...]
# A stage that was stopped goes on; one that is finished is not run again. Flags go to every stage.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
network="${1:?the network and the data, such as 321,voc}"
workdir="${2:?the folder of the three runs}"
shift 2
previous=()
for stage in ssd dssd finetune; do
  "$PYTHON" -m launch.train --config "configs/dssd.py:$network,$stage" \
    --workdir "$workdir/$stage" "${previous[@]}" "$@"
  previous=(--config.init_from="$workdir/$stage")
done
