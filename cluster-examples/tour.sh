# shellcheck shell=bash
# What every tour in this folder stands on: its namespaces and their network, the daemons, the clients that measure, the words
# on the screen, and removing all of it on every way out. A tour is a script that sources this file:
#
#   nodes=(a b c)                        the nodes, by the names of nodes/NAME.yaml in the tour's own folder
#   hosts=(web1)                         further hosts on the same network, if any, besides the client
#   . "$(dirname "$0")/../tour.sh"
#   build                                packages are installed, vipd and vipctl are built
#   network; daemons                     node number N of the list is 10.0.0.N and fd00::N
#   title "..."; tell "..."; show a vip list
#   leave_running                        with --keep; without, everything is removed at the end
#
# Nothing is touched outside of the namespaces but a folder below /tmp, and packages that are missing are installed. What the
# tour started is known by its process id and the time of its start, and nothing else is ever ended.

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
example=${here##*/}
hosts=("${hosts[@]}")
state_glob=/tmp/vipd-$example.
ping_every=0.01
patience_s=${TOUR_PATIENCE_S:-60}

keep=
case ${1:-} in
    '') ;;
    --keep) keep=1 ;;
    --clean) ;;
    *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; [ "$1" = --help ] || [ "$1" = -h ] || exit 2; exit 0 ;;
esac
[ "$(id -u)" -eq 0 ] || { echo "$example: network namespaces need root: sudo $0 $*" >&2; exit 1; }

mountpoint -q / || {
    echo "$example: / is no mount point, as in a chroot, and ip netns exec needs one: mount --bind DIR DIR before chroot DIR" >&2
    exit 1
}

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'; else bold='' dim='' off=''; fi
step=0
title() { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" "$step" "$*" "$off"; }
tell() { printf '%s\n' "$*" | fold -s -w 80 | sed 's/ *$//'; }
result() { printf '%s%s%s\n' "$bold" "$(tell "$*")" "$off"; }
fail() { printf '%s: %s\n' "$example" "$*" >&2; exit 1; }

# -- processes --

# The time of a process's start, in the kernel's ticks: with the process id it names one process for ever.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# start PLACE NAME COMMAND...: runs it in the namespace of a place, in a process group of its own, until it is stopped.
start() {
    local place=$1 name=$2
    shift 2
    setsid ip netns exec "$tag-$place" "$@" </dev/null >>"$folder/$place/$name.log" 2>&1 &
    echo "$! $(started $!)" >"$folder/pids/$place/$name"
}

# end_process FILE SIGNAL: sends it to what the file tells of, if that still is the same process, and waits for its end.
end_process() {
    local pid since
    read -r pid since <"$1" || return 0
    if [ -n "$since" ] && [ "$(started "$pid")" = "$since" ]; then
        kill -s "$2" -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || timeout "$patience_s" tail --pid="$pid" -s 0.1 -f /dev/null || true
    fi
    rm -f "$1"
}

# stop PLACE NAME [SIGNAL]
stop() { end_process "$folder/pids/$1/$2" "${3:-TERM}"; }
runs() { local pid since; read -r pid since 2>/dev/null <"$folder/pids/$1/$2" && [ "$(started "$pid")" = "$since" ]; }

# Ends the processes of a tour and removes its namespaces and its folder.
remove() {
    local folder=$1 file name deadline
    for file in "$folder"/pids/*/*; do [ -f "$file" ] && end_process "$file" KILL; done
    while read -r name; do
        # their children end a moment later (somebody's shell in a cluster that was kept does not)
        deadline=$((SECONDS + 3))
        while [ -n "$(ip netns pids "$name" 2>/dev/null)" ] && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.05; done
        ip netns del "$name" 2>/dev/null || true
    done <"$folder/namespaces"
    rm -rf "$folder"
}

if [ "${1:-}" = --clean ]; then
    count=0
    named=${2:-}
    for left in "$state_glob${named#"vipd-$example-"}"*/kept; do
        [ -f "$left" ] || continue
        remove "${left%/kept}"
        count=$((count + 1))
    done
    echo "$example: removed $count cluster(s)"
    exit 0
fi

folder=$(mktemp -d "${state_glob}XXXXXX")
tag=vipd-$example-${folder##*.}
: >"$folder/namespaces"
places=("${nodes[@]}" "${hosts[@]}" client)
for place in "${places[@]}"; do mkdir -p "$folder/$place" "$folder/pids/$place"; done

# Removes everything when the tour ends without having done so: it was killed with SIGKILL, or hit by a signal where bash leaves
# without its EXIT trap.
(
    trap '' HUP INT PIPE TERM
    tail --pid=$$ -s 0.1 -f /dev/null
    [ -f "$folder/kept" ] || remove "$folder"
) </dev/null >/dev/null 2>&1 &
keeper=$!
disown "$keeper" # its end is no news
# shellcheck disable=SC2317
leave() {
    local status=$? file
    # a subshell that a signal hits before it is set up has these traps, too
    [ "$BASHPID" = "$$" ] || return
    trap '' HUP INT PIPE TERM
    if [ -f "$folder/kept" ]; then return; fi
    if [ "$status" -ne 0 ] && [ "$status" -lt 128 ]; then
        for file in "$folder"/*/*.log; do
            if [ -s "$file" ]; then printf -- '--- the end of %s\n%s\n' "$file" "$(tail -n 15 "$file")" >&2; fi
        done
    fi
    remove "$folder"
    kill -KILL "$keeper"
    [ "$status" -ne 0 ] || tell 'Everything that the tour made is removed again.'
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# -- waiting and asking --

# until_true WHAT COMMAND...: polls the command until it succeeds.
until_true() {
    local what=$1 deadline=$((SECONDS + patience_s))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "gave up after $patience_s s waiting for $what"
        sleep 0.05
    done
}

# at NODE ARGUMENTS...: runs vipctl at a node, quietly.
at() { local node=$1; shift; "$folder/bin/vipctl" -s "$folder/$node/control.sock" "$@"; }
# The command as the user of that node would type it.
prompt() { local node=$1; shift; printf '%s%s$%s %s%s%s\n' "$dim" "$node" "$off" "$bold" "$*" "$off"; }
# show NODE ARGUMENTS...: vipctl at a node, with the command and its answer shown. The tour's own folder is where it runs.
show() { local node=$1; shift; prompt "$node" "vipctl $*"; (cd "$here" && at "$node" "$@" 2>&1) | sed 's/^/   /'; }
# show_in PLACE COMMAND...: the same for any command.
show_in() { local place=$1; shift; prompt "$place" "$*"; inside "$place" "$@" 2>&1 | sed 's/^/   /'; }
inside() { local place=$1; shift; ip netns exec "$tag-$place" "$@"; }

# row NODE LISTING NAME FIELD: one field of one row of a listing.
row() {
    at "$1" "$2" list -o jsonl 2>/dev/null |
        sed -n "/\"name\": \"$3\"/s/.*\"$4\": \"\{0,1\}\([^\",}]*\).*/\1/p"
}
is() { [ "$(row "$1" "$2" "$3" "$4")" = "$5" ]; }
owner() { row "$1" vip "$2" owner; }
leader() { at "$1" node list -o jsonl 2>/dev/null | sed -n '/"leader": true/s/.*"name": "\([^"]*\)".*/\1/p'; }
held_by() { is "$1" vip "$2" state held && [ "$(owner "$1" "$2")" = "$3" ]; }
owner_is_not() { is "$1" vip "$2" state held && [ "$(owner "$1" "$2")" != "$3" ]; }
# The first node of the list that is not one of those named.
other() { local node; for node in "${nodes[@]}"; do case " $* " in *" $node "*) ;; *) echo "$node"; return ;; esac; done; }

# -- making the cluster --

# shellcheck disable=SC2120
# build [LIST...]: installs what building needs and those lists of tests/install, and builds. VIPD_BIN, a folder with vipd and vipctl,
# is taken as it is.
build() {
    local list
    title 'Packages and build'
    [ -n "${VIPD_BIN:-}" ] || "$top/tests/install" build
    for list in "$@"; do "$top/tests/install" "$list"; done
    mkdir -p "$top/build"
    if [ -z "${VIPD_BIN:-}" ]; then
        (
            flock 9 # beside another tour
            cd "$top"
            # what a newer compiler warns of is no reason to stop here
            { cmake --preset release -B build/examples -DCMAKE_C_FLAGS= &&
                cmake --build build/examples -j "$(nproc)" --target vipd vipctl; } \
                >"$folder/build.log" 2>&1 || { tail -n 40 "$folder/build.log" >&2; exit 1; }
            mkdir "$folder/bin"
            cp build/examples/vipd build/examples/vipctl "$folder/bin/"
        ) 9>"$top/build/.examples.lock" || fail 'the build failed'
    else
        mkdir "$folder/bin"
        cp "$VIPD_BIN/vipd" "$VIPD_BIN/vipctl" "$folder/bin/"
    fi
    tell "There are vipd (the daemon, one a node) and vipctl (the command): $("$folder/bin/vipctl" version | head -n 1)"
}

# network: the hosts are namespaces at one bridge, which is a namespace, too.
network() {
    local name number=0
    for name in bridge "${places[@]}"; do
        ip netns add "$tag-$name"
        echo "$tag-$name" >>"$folder/namespaces"
    done
    ip -n "$tag-bridge" link add br0 type bridge
    ip -n "$tag-bridge" link set br0 up
    for name in "${places[@]}"; do
        number=$((number + 1))
        ip -n "$tag-bridge" link add "p-$name" type veth peer name eth0 netns "$tag-$name"
        ip -n "$tag-bridge" link set "p-$name" master br0 up
        ip -n "$tag-$name" link set lo up
        ip -n "$tag-$name" link set eth0 up
        ip -n "$tag-$name" addr add "10.0.0.$number/24" dev eth0
        ip -n "$tag-$name" addr add "fd00::$number/64" dev eth0 nodad
    done
    draw
    tell "Each is a network namespace: $tag-a, -b and so on."
}

# The picture of the network.
draw() {
    local name number=0 head='' four='' six='' bar='' line=''
    for name in "${places[@]}"; do
        number=$((number + 1))
        case " ${nodes[*]} " in *" $name "*) head+=$(printf '%-12s' "node $name") ;; *) head+=$(printf '%-12s' "$name") ;; esac
        four+=$(printf '%-12s' "10.0.0.$number")
        six+=$(printf '%-12s' "fd00::$number")
        bar+='   |        '
        line+='---+--------'
    done
    printf '\n   %s\n   %s\n   %s\n   %s\n  -%s one bridge\n\n' "$head" "$four" "$six" "$bar" "$line" | sed 's/ *$//'
}

# configure NODE: the node's file, with the paths that a real machine would have replaced by some below the tour's folder.
configure() {
    mkdir -p "$folder/$1/data" "$folder/$1/checks.d"
    {
        sed -e "s|/var/lib/vipd|$folder/$1/data|" -e "s|/etc/vipd/cluster.key|$folder/cluster.key|" "$here/nodes/$1.yaml"
        echo "control: $folder/$1/control.sock"
        echo "checks-dir: $folder/$1/checks.d"
    } >"$folder/$1/vipd.yaml"
    cat >"$folder/$1/shell" <<END
PATH=$folder/bin:\$PATH
PS1='$1# '
export VIPD_SOCKET=$folder/$1/control.sock
cd $here
END
}

start_daemon() { start "$1" vipd "$folder/bin/vipd" -c "$folder/$1/vipd.yaml"; }

# daemons: makes the cluster's key, gives every node its file, shows the first one and starts them all.
daemons() {
    local node first=${nodes[0]}
    "$folder/bin/vipctl" keygen "$folder/cluster.key" >/dev/null
    for node in "${nodes[@]}"; do configure "$node"; done
    tell "Each node has one small file. This is $first's, nodes/$first.yaml (the tour puts paths below $folder in it):"
    grep -v '^#' "$here/nodes/$first.yaml" | sed 's/^/   /'
    for node in "${nodes[@]}"; do start_daemon "$node"; done
    for node in "${nodes[@]}"; do until_true "node $node to be up" is "$first" node "$node" status up; done
    tell 'They found each other and elected a leader (any node answers vipctl):'
    show "$first" node list
}

# -- what happens to nodes --

cable() { ip -n "$tag-bridge" link set "p-$1" "$2"; }

# power_off NODE: its cable is dead and whatever runs on it is killed with SIGKILL, at the same moment.
power_off() {
    local file
    cable "$1" down
    for file in "$folder/pids/$1"/*; do [ -f "$file" ] && end_process "$file" KILL; done
    return 0
}
power_on() { cable "$1" up; start_daemon "$1"; }

# cut_off NODE | connect NODE: the switch drops all that the node sends and that is sent to it; the cable stays alive.
cut_off() { ip netns exec "$tag-bridge" bridge link set dev "p-$1" state 0; }
connect() { ip netns exec "$tag-bridge" bridge link set dev "p-$1" state 3; }

# -- the client that measures --

# start_client NAME COMMAND...: a command in the client's namespace that writes "[UNIX TIME] ... bytes from ..." for each answer.
start_client() {
    local name=$1
    shift
    : >"$folder/client/$name.log" # there before anyone counts its lines
    start client "$name" "$@"
    until_true "answers for $name" answered "$name" 20
}
start_ping() { start_client "$1" ping -n -D -i "$ping_every" "$2"; }
answers() { grep -c 'bytes from' "$folder/client/$1.log" || true; }
answered() { [ "$(answers "$1")" -ge "$2" ]; }
# stop_client NAME: once it is answered again; gap_ms becomes the longest time between two answers.
gap_ms=
stop_client() {
    until_true "$1 to be answered again" answered "$1" $(($(answers "$1") + 30))
    stop client "$1"
    # shellcheck disable=SC2034
    gap_ms=$(awk '/bytes from/ { t = substr($1, 2) + 0; if (last && t - last > gap) gap = t - last; last = t }
         END { printf "%.0f", gap * 1000 }' "$folder/client/$1.log")
}

# leave_running LINE...: what --keep leaves, and how to get at it; without --keep nothing.
leave_running() {
    local node=${nodes[0]} line
    [ -n "$keep" ] || { echo; return 0; }
    : >"$folder/kept"
    title 'Left running'
    cat <<END
   enter a node:       sudo ip netns exec $tag-$node bash --rcfile $folder/$node/shell
   and there:          vipctl status;  vipctl vip list;  ip addr show eth0
   enter the client:   sudo ip netns exec $tag-client bash
   logs:               $folder/$node/vipd.log
END
    for line in "$@"; do printf '   %s\n' "$line"; done
    printf '   remove it all:      sudo %s --clean %s\n' "$0" "$tag"
}
