# Functions that the scripts share. Source this file; do not run it.
#
# All scripts use `fail`, `usage` and the temporary folder $work. The rest is for scripts that
# measure the load generator: the server runs on the first allowed processor, the generator on
# the second, and each measurement starts a fresh server. Results go to files in $work, one
# line per repetition, from which `shown` computes the median and the range.

script=$(basename "$0")

fail() {
  echo "$script: $1" >&2
  exit "${2:-1}"
}

# Prints the help: the comment at the head of the script.
usage() {
  sed -n '2,/^$/{s/^# \{0,1\}//p;}' "scripts/$script"
}

work=$(mktemp -d)
server_pid=
generator_pid=

clean_up() {
  local pid
  for pid in $generator_pid $server_pid; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Sets server_cpu and generator_cpu.
choose_processors() {
  local allowed
  command -v taskset >/dev/null || fail "taskset(1) is missing: install util-linux"
  # Such as 0-3,8.
  allowed=$(awk '/^Cpus_allowed_list:/ {
    count = split($2, ranges, ",")
    for (i = 1; i <= count; i++) {
      ends = split(ranges[i], range, "-")
      for (cpu = range[1]; cpu <= range[ends]; cpu++) printf "%d ", cpu
    }
  }' /proc/self/status)
  read -r server_cpu generator_cpu _ <<<"$allowed"
  [ -n "${generator_cpu:-}" ] || fail "server and generator need a processor each, and this process may use one"
}

# Sets programs: the folder of what was built.
find_programs() {
  programs=$(cargo metadata --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)/release
}

# Builds server and generator, and sets programs.
build() {
  cargo build --quiet --release --package servers --package loadgen
  find_programs
}

# Sets server_pid and port.
start_server() {
  local log=$work/server.log
  taskset -c "$server_cpu" "$programs/echo-server" epoll --listen 127.0.0.1:0 >"$log" &
  server_pid=$!
  for _ in $(seq 100); do
    grep -q '^ready ' "$log" && break
    kill -0 "$server_pid" 2>/dev/null || fail "the server ended before it was ready"
    sleep 0.05
  done
  port=$(sed -n 's/^ready .*://p' "$log")
  [ -n "$port" ] || fail "the server was not ready within 5 s"
}

stop_server() {
  kill "$server_pid"
  wait "$server_pid" || true
  server_pid=
}

# Starts loadgen with these options; sets generator_pid.
start_load() {
  "$programs/loadgen" run "127.0.0.1:$port" --cpus "$generator_cpu" --format json "$@" >"$work/load.json" &
  generator_pid=$!
}

# Waits for the load. An invalid load is counted, with a warning.
end_load() {
  local status=0
  wait "$generator_pid" || status=$?
  generator_pid=
  case $status in
  0) ;;
  3) echo "$script: $1 is not valid: $(reasons)" >&2 ;;
  *) fail "$1 failed" ;;
  esac
}

reasons() {
  sed -n '/"reasons": \[/,/\]/{s/^ *"\([^"].*\)",\{0,1\}$/\1/p;}' "$work/load.json" | paste -sd ';'
}

# number FIELD [QUANTILE]: prints a number of the load's summary.
number() {
  tr '{,}' '\n' <"$work/load.json" | awk -v field="\"$1\":" -v quantile="\"${2:-}\":" '
    $1 == field { if (quantile == "\"\":" || $2 == "null") { print $2; exit } within = 1 }
    within && $1 == quantile { print $2; exit }' | sed '/^null$/d'
}

# keep NAME NUMBER: appends a number to the results under a name; ignores an empty one.
keep() {
  if [ -n "$2" ]; then
    echo "$2" >>"$work/$1"
  fi
}

# shown NAME FORMAT: prints the median and the range of the results, `3.10 (3.02 to 3.35)`.
shown() {
  if [ ! -s "$work/$1" ]; then
    echo "-"
    return
  fi
  sort -g "$work/$1" | awk -v form="$2" '
    { value[NR] = $1 }
    END {
      median = (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2
      printf form " (" form " to " form ")\n", median, value[1], value[NR]
    }'
}
