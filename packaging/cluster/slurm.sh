#!/usr/bin/env bash
# Submits a run to Slurm: the teacher's stages as job arrays, the rest as one job. Prints the jobs.
#
#   SHARDS=8 packaging/cluster/slurm.sh TASK RUN [FLAG OF PROMPTMIX RUN...]
#
# TASK, RUN and the models lie on a file system that all nodes share, and `promptmix` is in PATH there. Partition, GPUs and
# limits are set by sbatch's own variables: SBATCH_PARTITION, SBATCH_GPUS=1, SBATCH_TIMELIMIT. STAGES names the
# stages to do in shards ("generate relabel label" for a task with unlabelled texts). If a job fails, the jobs after it are
# cancelled: run the same command again. What is in the ledgers is not asked for again.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: SHARDS=8 $0 TASK RUN [FLAG OF PROMPTMIX RUN...]" >&2; exit 2; }
task=$1 run=$2
shift 2
export SHARDS=${SHARDS:-8} RUN=$run
script=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/promptmix.sbatch

after=()
submit() { # OPTIONS... -- MODE COMMAND...
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    local job
    job=$(sbatch --parsable ${after[@]+"${after[@]}"} ${options[@]+"${options[@]}"} "$script" "$@")
    job=${job%%;*}
    after=(--dependency="afterok:$job" --kill-on-invalid-dep=yes)
    echo "$job  $*"
}

for stage in ${STAGES:-generate relabel}; do
    command=("$stage" "$run")
    [ "$stage" != generate ] || command=(generate "$task" --out "$run" "$@")
    submit --array="0-$((SHARDS - 1))" -- shard "${command[@]}"
    submit -- merge "${command[@]}"
done
submit -- run run "$task" --out "$run" "$@"
