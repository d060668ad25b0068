#!/usr/bin/env bash
# Trains on a Cloud TPU pod, as a queued resource:
#
#   export PROJECT=my-project ZONE=us-west4-a TYPE=v5litepod-16 RUNTIME=v2-alpha-tpuv5-lite
#   bash launch/cluster/tpu_queued_resource.sh create --spot     # and waits until it is there
#   bash launch/cluster/tpu_queued_resource.sh setup             # this checkout, on every worker
#   bash launch/cluster/tpu_queued_resource.sh train --config configs/ssd.py:300,voc --workdir DIR
#   bash launch/cluster/tpu_queued_resource.sh delete
#
# from the root of the checkout. DIR and the data lie on a disk that all workers mount (Filestore).
# A preempted TPU is gone: delete, create, setup; then the same `train` goes on where it was.
set -euo pipefail
: "${PROJECT:?}" "${ZONE:?}" "${NAME:=ssd-jax}"
where=(--project "$PROJECT" --zone "$ZONE")
tpus=(gcloud compute tpus)

on_all_workers() {
  "${tpus[@]}" tpu-vm ssh "$NAME" "${where[@]}" --worker all --command "$1"
}

state() {
  "${tpus[@]}" queued-resources describe "$NAME" "${where[@]}" --format 'value(state.state)'
}

action="${1:?create, setup, train or delete}"
shift
case "$action" in
  create)
    "${tpus[@]}" queued-resources create "$NAME" --node-id "$NAME" "${where[@]}" \
      --accelerator-type "${TYPE:?}" --runtime-version "${RUNTIME:?}" "$@"
    until [ "$(state)" = ACTIVE ]; do
      case "$(state)" in FAILED | SUSPENDED) echo "error: $NAME is $(state)" >&2; exit 1 ;; esac
      sleep 30
    done
    ;;
  setup)
    git archive -o /tmp/ssd_jax.tar HEAD
    "${tpus[@]}" tpu-vm scp /tmp/ssd_jax.tar "$NAME:" "${where[@]}" --worker all
    on_all_workers 'mkdir -p ssd_jax && tar -xf ssd_jax.tar -C ssd_jax && cd ssd_jax &&
      python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt "jax[tpu]"'
    ;;
  train) # JAX finds the other workers by itself; one that fails ends the others
    on_all_workers "cd ssd_jax && exec .venv/bin/python -m launch.train --distributed ${*@Q}"
    ;;
  delete)
    "${tpus[@]}" queued-resources delete "$NAME" "${where[@]}" --force --quiet
    ;;
  *)
    echo "error: expected create, setup, train or delete, got $action" >&2
    exit 1
    ;;
esac
