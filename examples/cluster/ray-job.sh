#!/usr/bin/env bash
# A job on an existing Ray cluster: bash ray-job.sh http://HEAD:8265 s3://BUCKET/IN s3://BUCKET/OUT
# Every node needs `pip install '.[ray,cloud]'` from a checkout of the same version, and the bucket's credentials.
set -euo pipefail

dashboard=$1 in=$2 out=$3

# the driver runs on the head; `auto` is the cluster it runs on
exec ray job submit --address "$dashboard" -- \
  cxr-infer dir "$in" --out "$out" --engine ray --address auto --json report.jsonl
