#!/usr/bin/env bash
# A sweep of six runs through a real Slurm on this machine: one task is stopped by its time limit and queued again, the node
# is restarted, and the tables are those of the sweep in one process, byte for byte.
#
# Needs root and Debian's slurmctld, slurmd, slurm-client and munge. It takes about a quarter of an hour, most of which Slurm waits
# before it starts again what was queued again.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build -p emergence
emergence=$PWD/target/debug/emergence
place=$(mktemp -d)
chmod 755 "$place"
node=$(hostname -s)

cat > "$place/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$node
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
SlurmctldPort=6917
SlurmdPort=6918
ProctrackType=proctrack/pgid
TaskPlugin=task/affinity
TaskPluginParam=Threads
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=30
MessageTimeout=10
NodeName=$node CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
mkdir "$place/state" "$place/spool"
export SLURM_CONF=$place/slurm.conf

stop() { for name in slurmctld slurmd; do kill "$(cat "$place/$name.pid")" 2>/dev/null || true; done; }
trap stop EXIT
pgrep -x munged > /dev/null || { mkdir -p /run/munge && chown munge: /run/munge && setpriv --reuid=munge --regid=munge --init-groups munged; }
slurmctld
slurmd -N "$node"
until sinfo --noheader | grep -q idle; do sleep 1; done

# Five short runs, and one that takes longer than a task may.
{
  printf 'extends = "smoke"\nname = "cluster"\ncheckpoints.every = 1000\n'
  for seed in 0 1 2 3 4; do printf '[[runs]]\nseed = %s\ntrain.steps = 4000\n' $seed; done
  printf '[[runs]]\nseed = 5\ntrain.steps = %s\ncheckpoints.every = 20000\n' "${STEPS:-150000}"
} > "$place/sweep.toml"
sweep() { "$emergence" sweep "$place/sweep.toml" --quiet "$@"; }

sweep --out "$place/out" --threads 1 --slurm --submit --sbatch=--time=2 --sbatch=--signal=TERM@60
restarted=no
while squeue --noheader | grep -q .; do
  if [ $restarted = no ] && sweep --out "$place/out" --list | grep -q finished; then
    kill "$(cat "$place/slurmd.pid")"; sleep 2; slurmd -N "$node"; restarted=yes
    echo "node restarted"
  fi
  printf '%s %s\n' "$(date +%T)" "$(squeue --noheader --format=%T | sort | uniq -c | tr -s ' \n' ' ')"
  sleep 10
done
echo "runs:"; sweep --out "$place/out" --list
stopped=$(grep -c '^interrupted with' "$place"/out/slurm/*_5.log) || { echo "the long run was not stopped by its limit; set STEPS higher"; exit 1; }
echo "the long run was stopped by its time limit and queued again, times: $stopped"
[ $restarted = yes ] || { echo "the node was not restarted"; exit 1; }

sweep --out "$place/alone" --threads 1 > /dev/null
for table in sweep.csv points.csv curves.csv; do cmp "$place/out/$table" "$place/alone/$table"; done
for run in "$place"/alone/cluster-*; do
  for table in training.csv metrics.csv cd.csv cd_best.csv map.csv; do cmp "$run/$table" "$place/out/$(basename "$run")/$table"; done
done
echo "the same tables as in one process"
