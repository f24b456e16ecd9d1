#!/usr/bin/env bash
# A Slurm array job: 16 tasks, each denoises its share of IN into the same OUT. Submit: sbatch slurm.sh IN OUT
#SBATCH --job-name=cxr-infer
#SBATCH --array=1-16
#SBATCH --cpus-per-task=4
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -euo pipefail

in=$1 out=$2
share="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
report="$out-report.${SLURM_ARRAY_TASK_ID}-of-${SLURM_ARRAY_TASK_COUNT}.jsonl"

# exec, so that Slurm's SIGTERM reaches the program, which finishes the current image
exec cxr-infer dir "$in" --out "$out" --shard "$share" --json "$report"
