#!/usr/bin/env bash
# What is asked of a GPU that one has for ten minutes at a time, on a machine with PyTorch and neither cargo nor just.
#
#   bash benches/gpu.sh pack ARCHIVE           where cargo is: the program and its tests, built and stripped; needs no GPU
#   bash benches/gpu.sh compare ARCHIVE OUT    parity with the CPU, the time of our steps, and PyTorch's in the same minutes
#   bash benches/gpu.sh train ARCHIVE OUT      80,000 steps at the paper's size; called again it goes on, until it is done
#
# All in this folder's repository. OUT gets what was printed and the tables; the run itself stays in `runs`.
set -euo pipefail
cd "$(dirname "$0")/.."
piece=${1:-} archive=${2:-} out=${3:-}
programs=target/gpu

pack() {
  local tests
  cargo build -p emergence --features cuda
  tests=$(cargo test --features cuda --no-run 2>&1 | sed -n 's/.*Executable tests\/main.rs (\(.*\))/\1/p')
  mkdir -p $programs
  strip -o $programs/emergence target/debug/emergence
  strip -o $programs/tests "$tests"
  tar -cJf "$archive" -C $programs emergence tests
}

unpack() {
  mkdir -p $programs "$out"
  tar -xJf "$archive" -C $programs
  export EMERGENCE=$PWD/$programs/emergence
}

# Runs a command for at most so many seconds, keeps what it says, and remembers whether it failed.
failed=
part() {
  local file=$out/$1 limit=$2
  shift 2
  timeout "$limit" "$@" 2>&1 | tee "$file" || failed="$failed $file"
}

# Each part has its own limit, so that a slow one leaves time for the next: 570 s in all.
compare() {
  local size jobs
  part parity.txt 180 $programs/tests --test-threads 2 parity::cuda
  for size in small medium paper; do for jobs in 1 5; do
    part steps-$size-$jobs.json 10 $programs/emergence bench benches/sizes/$size.toml --device cuda --json \
      --warm-up 20 --steps 400 --jobs $jobs
  done; done
  part pytorch.md 330 python3 benches/pytorch/compare.py --device cuda --program $programs/emergence --rounds 1 --seconds 3 \
    --opponents 'eager tf32,compiled tf32,graphs tf32'
}

# Error and decodability at every fourth of the paper's epochs. It saves when its time is over.
train() {
  part train.txt 530 $programs/emergence train paper --device cuda --set checkpoints.every=3200 --out runs
  tar -czf "$out/tables.tar.gz" --exclude checkpoints runs
}

case $piece in
  pack) pack ;;
  compare | train)
    unpack
    $piece
    [ -z "$failed" ] || { echo "failed, or out of time:$failed" >&2 && exit 1; }
    ;;
  *) sed -n '2,9s/^# \?//p' "$0" && exit 2 ;;
esac
