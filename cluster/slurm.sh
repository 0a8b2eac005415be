#!/usr/bin/env bash
# sbatch cluster/slurm.sh benchmarks/quick.yaml /shared/rnn-harness/results [more words of `harness run`]
#SBATCH --job-name=rnn-harness
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --output=rnn-harness-%j.log
# Nodes are the job's alone (--exclusive): `ray symmetric-run` ends with `ray stop`, which ends every Ray of a machine.
set -euo pipefail

benchmark=${1:?name a benchmark: sbatch cluster/slurm.sh benchmarks/quick.yaml /shared/results}
results=${2:?name a folder that every node sees: sbatch cluster/slurm.sh FILE /shared/results}
shift 2
case $results in /*) ;; *) echo "the results folder must be an absolute path: $results" >&2; exit 2 ;; esac

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one machine do not meet
address=$head:$port

# Nobody else may use this Ray: a token in a file that only its owner reads, in a home that all nodes share.
umask 077
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token RAY_USAGE_STATS_ENABLED=0
[ -s "$RAY_AUTH_TOKEN_PATH" ] || ray get-auth-token --generate >/dev/null

# A node that fails to start Ray ends with 0, so the head waits for all of them and gives up otherwise.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=120
export RAY_health_check_timeout_ms=3000 # a silent node is given up after 30 seconds, not 65
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --kill-on-bad-exit=1 \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" -- \
  env RAY_ADDRESS="$address" python -m harness run "$benchmark" --on cluster --results "$results" "$@"
