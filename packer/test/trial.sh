# shellcheck shell=bash
# Goes through a list of steps and writes down what happened, which is then held against the list. Whoever sources this
# says how: run_step NAME, simulate NAME, substitute_in NAME (what was not the real thing there; nothing where all was).

# go_through LIST REPORT: one line a step in REPORT, its name, kind and detail; ends at the first step that fails.
go_through() {
  local list=$1 report=$2 name plan detail said
  said=$(mktemp)
  : >"$report"
  while read -r -u 3 name plan detail; do
    case $plan in
      simulated) simulate "$name" || return 1 ;;
      not-run) ;;
      *)
        run_step "$name" >"$said" 2>&1 || { cat "$said"; echo "trial: $name failed" >&2; return 1; }
        cat "$said"
        detail=$(substitute_in "$name")
        plan=${detail:+substitute}
        if [ -z "$plan" ]; then
          detail=$(sed -n 's/^.*: left out: //p' "$said" | awk '!seen[$0]++' | paste -sd '|' | sed 's/|/; /g')
          plan=${detail:+part}
        fi
        plan=${plan:-runs} ;;
    esac
    echo "$name $plan${detail:+ $detail}" >>"$report"
  done 3< <(steps_of "$list")
  rm -f "$said"
}

# judge LIST REPORT: did it do what the list says? A real thing in a substitute's place is as good; on CI, where
# everything can be reached, a substitute is not.
judge() {
  local plan did wrong=0
  while IFS=$'\t' read -r -u 3 plan did; do
    if [ "$plan" = "$did" ]; then
      [[ $did != *" substitute "* || ${CI:-} != true ]] || { echo "trial: not the real thing: $did" >&2; wrong=1; }
    elif [[ $plan != *" substitute "* || $did != "${plan%% *} runs" ]]; then
      echo "trial: planned \"$plan\", did \"$did\"" >&2
      wrong=1
    fi
  done 3< <(paste <(steps_of "$1") "$2")
  return "$wrong"
}

steps_of() { grep -v '^#' "$1" | sed -E 's/ +/ /g'; }
