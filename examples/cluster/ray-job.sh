#!/usr/bin/env bash
# A job on a Ray cluster that is there: bash ray-job.sh http://HEAD:8265 s3://BUCKET/IN s3://BUCKET/OUT
# Every node has `pip install '.[ray,cloud]'` from a checkout of the same version, and the credentials of the bucket.
set -euo pipefail

dashboard=$1 in=$2 out=$3

# inside the cluster: the driver runs on the head, and `auto` is the cluster that it is on
exec ray job submit --address "$dashboard" -- \
  cxr-infer dir "$in" --out "$out" --engine ray --address auto --json report.jsonl
