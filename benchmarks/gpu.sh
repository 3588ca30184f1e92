#!/usr/bin/env bash
# Everything that has to be measured on a GPU, in at most nine minutes: run from anywhere in a checkout.
#
#     PYTHON=python3 OUT=/tmp/gpu benchmarks/gpu.sh
#     benchmarks/gpu.sh --dry-run     # the same parts on a CPU in small sizes, to try this script
#
# PYTHON  the interpreter that has torch, sam2 and this package's dependencies (python3)
# OUT     a folder for the results (benchmarks/results/gpu)
# LIMIT   seconds for all parts together (540)
# ONLY    names of parts, separated by spaces; all of them without it
#
# Each part is a process with a time limit of its own. Its output is kept in OUT/<part>.txt, whatever becomes of it and
# of the others; what it measured is a line of JSON there and in OUT/measured.jsonl. OUT/parts.txt says how each ended.
# The exit code is 0 if the parts were run, not if all of them succeeded.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-benchmarks/results/gpu}
limit=${LIMIT:-}
slack=1
started=$SECONDS
mkdir -p "$out"
out=$(cd "$out" && pwd)
: > "$out/measured.jsonl"
: > "$out/parts.txt"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

device=cuda
full=()
bank=(--model medsam2 --batch 24 --precision bf16 --rounds 10)
gate=(-m gpu)
latency=(--medsam-device=cuda --latency-seconds=2)
if [ "${1:-}" = --dry-run ]; then
  device=cpu
  slack=10  # other things may run on this machine
  full=(--model tiny --slices 16 --prompts 2 --sam2-prompts 1 --subjects 2 --rounds 1)
  bank=(--model embedded --batch 1 --rounds 1)
  gate=(benchmarks/test_accuracy.py --medsam-device=cpu --medsam-limit=1 --medsam-prompts=box --medsam-regions=WT)
  latency=(--medsam-device=cpu --latency-seconds=0.1 -k load)
elif [ $# -gt 0 ]; then
  echo "gpu.sh: got $*, expected --dry-run or nothing; settings are the variables PYTHON, OUT, LIMIT and ONLY." >&2
  exit 2
fi

limit=${limit:-$((540 * slack))}

# part NAME SECONDS COMMAND…: run it unless the time is up or ONLY leaves it out
part() {
  local name=$1 seconds=$(($2 * slack)) left=$((limit - SECONDS + started)) from=$SECONDS how
  shift 2
  if [ -n "${ONLY:-}" ] && [[ " $ONLY " != *" $name "* ]]; then return; fi
  if [ "$left" -lt 5 ]; then
    how="not run: no time left"
  else
    timeout -k 5 "$((seconds < left ? seconds : left))" "$@" > "$out/$name.txt" 2>&1
    how="exit code $? after $((SECONDS - from)) s"
    grep '^{"part"' "$out/$name.txt" | sed "s/^{/{\"name\": \"$name\", /" >> "$out/measured.jsonl"
  fi
  printf '%-18s %s\n' "$name" "$how" | tee -a "$out/parts.txt"
}

measure=("$python" -m benchmarks.on_gpu --device "$device" ${full[@]+"${full[@]}"})
gate_options=(--medsam-run-dir="$out/run" -q -p no:cacheprovider)
latency_options=(-m latency -q -p no:cacheprovider --medsam-phantom-subjects=1 --medsam-phantom-size=16,160,160
  --medsam-prompts=box --benchmark-json="$out/latency.json")

part environment       30 "${measure[@]}" environment
part driver            10 nvidia-smi
part engine            60 "${measure[@]}" engine
part against-sam2     110 "${measure[@]}" sam2
part cohort            80 "${measure[@]}" cohort
part trace             45 "${measure[@]}" trace
part without-graphs    50 "${measure[@]}" engine --way fixed
part trace-eager       45 "${measure[@]}" trace --way fixed
part without-cudnn     50 env TORCH_CUDNN_SDPA_DEPRIORITIZED=1 "${measure[@]}" engine --way fixed
part narrow-values     50 "${measure[@]}" engine --way narrow
part fp32              60 "${measure[@]}" engine --precision fp32
part attention         40 "$python" -m benchmarks.profile --attention --device "$device" "${bank[@]}"
part gate             100 "$python" -m pytest "${gate[@]}" "${gate_options[@]}"
part latency           80 "$python" -m pytest benchmarks/test_latency.py "${latency[@]}" "${latency_options[@]}"
echo "$((SECONDS - started)) s; results in $out"
