#!/bin/bash
# Runs as root on the booted host (tests/vm/run), which is node a; b and c are namespaces of it. Each line that it prints is the result of a
# check, FAILED or ok; the console has what systemd says.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
vip=10.99.0.50
patience_s=120

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >/tmp/said 2>&1; then echo "ok  $what"; else
        echo "FAILED  $what: $*"
        sed 's/^/    /' /tmp/said
    fi
}
# The same within patience_s.
soon() { # WHAT COMMAND...
    local what=$1 until=$((SECONDS + patience_s))
    shift
    until "$@" >/tmp/said 2>&1 || [ "$SECONDS" -ge "$until" ]; do sleep 0.2; done
    check "$what" "$@"
}
not() { ! "$@"; }
here() { ip -br addr show dev br0 | grep -q "$vip/"; }
there() { vipctl -s /run/vipd-b/control.sock vip list | grep -q ' [bc] *held '; }
owned_by() { vipctl vip list | grep -q " $1 *held "; }
up() { vipctl node list | grep -Eq "^$1 +up "; }
all_up() { up a && up b && up c; }
main_pid() { systemctl show -P MainPID vipd; }
runs_anew() { [ "$(main_pid)" -ne 0 ] && [ "$(main_pid)" -ne "$1" ] && systemctl -q is-active vipd; }
holds_only() { # the capabilities of the running daemon: net_admin (12), net_raw (13), bpf (39)
    [ "$(awk '/^CapBnd/ {print $2}' "/proc/$(main_pid)/status")" = 0000008000003000 ]
}
exposure() { systemd-analyze security vipd --no-pager | awk '/Overall exposure/ {print $(NF-2)}'; }

ip link add br0 type bridge
ip link set br0 up
ip addr add 10.99.0.1/24 dev br0
number=1
for node in b c; do
    number=$((number + 1))
    ip netns add "$node"
    ip link add "p-$node" type veth peer name eth0 netns "$node"
    ip link set "p-$node" master br0 up
    ip -n "$node" link set lo up
    ip -n "$node" link set eth0 up
    ip -n "$node" addr add "10.99.0.$number/24" dev eth0
done

systemd-sysusers
mkdir -p /etc/vipd
vipctl keygen | install -m 0600 /dev/stdin /etc/vipd/key
number=0
for node in a b c; do
    number=$((number + 1))
    cat >"/etc/vipd/$node.yaml" <<EOF
cluster: vm
node: $node
listen: 10.99.0.$number:7400
data: /var/lib/vipd-$node
control: /run/vipd-$node/control.sock
key-file: /etc/vipd/key
peers: {a: 10.99.0.1:7400, b: 10.99.0.2:7400, c: 10.99.0.3:7400}
EOF
done
sed 's|/vipd-a|/vipd|' /etc/vipd/a.yaml >/etc/vipd/vipd.yaml
install -m 0600 -o vipd -g vipd /etc/vipd/key /etc/vipd/key.a
sed -i 's|/etc/vipd/key|/etc/vipd/key.a|' /etc/vipd/vipd.yaml
for node in b c; do
    mkdir -p "/var/lib/vipd-$node" "/run/vipd-$node"
    systemd-run -q --unit "other-$node" ip netns exec "$node" vipd -c "/etc/vipd/$node.yaml"
done

cat >/etc/systemd/system/svc.service <<'EOF'
[Service]
ExecStart=/bin/sleep infinity
EOF
mkdir -p /etc/systemd/system/svc.service.d
printf '[Unit]\nBefore=vipd.service\n' >/etc/systemd/system/svc.service.d/order.conf
systemctl daemon-reload
systemctl start svc

check 'the unit starts, and says when it is ready' systemctl start vipd
soon 'three nodes are up' all_up
check 'it runs as user vipd' test "$(ps -o user= -p "$(main_pid)")" = vipd
check 'with three capabilities' holds_only
check 'behind the kernel fence' grep -q 'fence kernel' <(vipctl status)
check "exposure $(exposure) of 10 at most 3" awk -v e="$(exposure)" 'BEGIN {exit !(e > 0 && e <= 3)}'
check 'doctor has nothing to say' not grep -v '^ok' <(vipctl doctor)
check 'a VIP is added' vipctl vip add "$vip/24" --name web --wait --timeout 60s
soon 'and held here' vipctl vip move web --to a --wait
check 'by the kernel' here

pid=$(main_pid)
check 'systemctl restart' systemctl restart vipd
check 'begins a new run' runs_anew "$pid"
soon 'which the cluster admits' all_up

pid=$(main_pid)
kill -KILL "$pid"
soon 'a killed daemon is started again' runs_anew "$pid"
soon 'and admitted' all_up

# docs/hooks.md: a service that asks for the release before it stops
cat >/etc/systemd/system/svc.service.d/drain.conf <<'EOF'
[Service]
ExecStop=
ExecStop=-/usr/local/bin/vipctl drain %H --wait --timeout 30s
ExecStop=/bin/kill -TERM $MAINPID
ExecStartPost=-/usr/local/bin/vipctl undrain %H
EOF
systemctl daemon-reload
soon 'the VIP is here again' vipctl vip move web --to a --wait
check 'the service behind it is stopped' systemctl stop svc
check 'and its VIP is elsewhere' not here
check 'since the node was drained' grep -Eq '^a +drained ' <(vipctl node list)
check 'it is started' systemctl start svc
soon 'and the node holds VIPs again' vipctl vip move web --to a --wait
rm /etc/systemd/system/svc.service.d/drain.conf
systemctl daemon-reload

useradd eva
usermod -aG vipd eva
check 'a member of the group may look' runuser -u eva -- vipctl status
check 'and not change' not runuser -u eva -- vipctl vip disable web

check 'systemctl stop' systemctl stop vipd
check 'leaves no address' not here
soon 'and the VIP with another node' there
check 'it starts again' systemctl start vipd
soon 'and holds the VIP' vipctl vip move web --to a --wait

echo 'vm: end'
echo 'shutdown begins' >/dev/ttyS0
systemctl --no-block poweroff
