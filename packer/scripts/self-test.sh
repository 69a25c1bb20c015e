#!/usr/bin/env bash
# Before the snapshot: whatever is wrong here would be wrong on every instance.
# `--without-gpu` leaves out what needs the driver and the CUDA libraries.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
failures=0
gpu=$([ "${1:-}" = --without-gpu ] || echo yes)

# check WHAT COMMAND…: all are tried, so that one build tells everything that is wrong.
check() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    say "ok: $what"
  else
    say "FAILED: $what"$'\n'"$output"
    failures=$((failures + 1))
  fi
}

# check_on_gpu WHAT COMMAND…: what a machine without one cannot tell; it says so.
check_on_gpu() { if [ "$gpu" = yes ]; then check "$@"; else say "left out: $1"; fi; }

as() { runuser -u "$1" -- "${@:2}"; }
units_are_valid() { systemd-analyze verify /etc/systemd/system/{comfyui,comfyui-worker,gpu-worker-logs}.service; }
comfyui_starts_at_boot() { [ "$(systemctl is-enabled comfyui.service)" = enabled ]; }
worker_waits_for_user_data() { [ "$(systemctl is-enabled comfyui-worker.service)" = disabled ]; }
agent_waits_for_its_log_group() { [ "$(systemctl is-enabled amazon-cloudwatch-agent.service)" = disabled ]; }
no_updates_on_instances() { [ "$(systemctl is-enabled apt-daily-upgrade.timer)" = masked ]; }
worker_is_sound() { (cd / && as worker env PYTHONPATH=/opt/worker PYTHONDONTWRITEBYTECODE=1 /opt/worker/venv/bin/python -m comfyui_worker --self-test); }
comfyui_imports() { as comfyui /opt/comfyui/venv/bin/python -c 'import aiohttp, av, numpy, PIL, safetensors, sqlalchemy, tokenizers, yaml'; }
comfyui_reads_its_models() { as comfyui test -r /var/lib/comfyui/models -a ! -w /var/lib/comfyui/models; }
nobody_else_reads_the_worker() { ! as comfyui test -w /opt/worker; }
nothing_secret_is_left() { [ ! -e /opt/worker/env ] && [ -z "$(ls -A /var/lib/comfyui-worker 2>/dev/null)" ]; }
# Without a GPU, PyTorch's own packages are not installed, and what asks for them is not followed.
requirements_are_met() {
  local list=/opt/comfyui/app/requirements.txt dry_run=(/opt/comfyui/venv/bin/python -m pip install --quiet --dry-run --no-index)
  if [ "$gpu" = yes ]; then
    "${dry_run[@]}" --requirement $list
  else
    "${dry_run[@]}" --no-deps --requirement <(grep -vE '^torch(vision|audio)?([^a-z]|$)' $list)
  fi
}
gpu_is_seen() { as comfyui /opt/comfyui/venv/bin/python -c 'import torch; assert torch.cuda.is_available(); assert torch.version.cuda == "'"$CUDA_VERSION"'", torch.version.cuda; torch.ones(8, device="cuda").sum().item()'; }
# Of more than one command, each says whether the next is worth it: in here `set -e` is off.
comfyui_answers() {
  local answered=0
  systemctl start comfyui.service && timeout 300 bash -c 'until curl -sf http://127.0.0.1:8188/system_stats; do sleep 2; done' || answered=1
  systemctl stop comfyui.service
  return "$answered"
}

check "unit files are valid" units_are_valid
check "ComfyUI starts at boot" comfyui_starts_at_boot
check "the worker waits for user data" worker_waits_for_user_data
check "instances do not update themselves" no_updates_on_instances
check "the worker's own self-test" worker_is_sound
check "ComfyUI's packages can be imported" comfyui_imports
check "ComfyUI reads models and cannot change them" comfyui_reads_its_models
check "ComfyUI's user cannot change the worker" nobody_else_reads_the_worker
check "no secret, no token" nothing_secret_is_left
check "AWS command line" aws --version
check "the log agent waits for its log group" agent_waits_for_its_log_group
check "what ComfyUI asks for is installed" requirements_are_met
check_on_gpu "PyTorch computes on the GPU" gpu_is_seen
check_on_gpu "ComfyUI answers" comfyui_answers
[ "$failures" -eq 0 ] || give_up "$failures of the checks failed"
