# SPDX-License-Identifier: Apache-2.0
# Shared by the scenarios: a node between stand-ins, in its own directory. Sourced by *.bats and demo.
#
#   api COMMAND...       control the API server's stand-in       kubelet COMMAND...   kubelet's
#   driver [FLAG...]     start the driver (stop_driver, kill_driver end it)
#   eventually TIME COMMAND...   until COMMAND succeeds
# shellcheck shell=bash disable=SC2034

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SIM=$ROOT/e2e/sim
DRIVER=${DRIVER:-$ROOT/build/plain-gcc/dra-driver-tdx}
NODE=node1

api() { "$SIM/ctl" "$T/api.ctl" "$@"; }
kubelet() { "$SIM/ctl" "$T/kubelet.ctl" "$@"; }
qgs() { "$SIM/ctl" "$T/qgs.ctl" "$@"; }

is_running() { # NAME: a process of that name was started here, and has not ended (a zombie has)
        local pid
        pid=$(cat "$T/$1.pid" 2>/dev/null) && [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status"
}

# leave_node ends everything started here, by its pid. So a name serves one process at a time: the pid of the first
# would be lost.
start() { # NAME COMMAND...
        local name=$1
        if is_running "$name"; then
                echo "start $name: the $name with pid $(pid_of "$name") still runs; end it first, or take another name" >&2
                return 1
        fi
        shift
        "$@" >"$T/$name.log" 2>&1 3>&- 4>&- &
        echo $! >"$T/$name.pid"
}

pid_of() { cat "$T/$1.pid"; }

end() { # NAME [SIGNAL]
        local pid
        pid=$(cat "$T/$1.pid" 2>/dev/null) || return 0
        kill "-${2:-TERM}" "$pid" 2>/dev/null
        kill -CONT "$pid" 2>/dev/null || true # a scenario that failed may have left it stopped; or it has ended
        wait "$pid" 2>/dev/null
        local status=$?
        rm -f "$T/$1.pid"
        return $status
}

# SECONDS is the longest it takes on an idle machine. A busy one gets four times as long, and at least 20 s: a
# scenario that tests the time itself uses `within_a_second`, or the driver's own log.
eventually() { # SECONDS COMMAND...
        local seconds=$(($1 * 4 > 20 ? $1 * 4 : 20))
        local end=$((${EPOCHREALTIME/./} + seconds * 1000000))
        shift
        until "$@" >/dev/null 2>&1; do
                [ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
                sleep 0.02
        done
}

says() { grep -q -- "$2" "$T/$1.log"; }
said() { eventually "${3:-5}" says "$1" "$2"; } # LOG PATTERN [SECONDS]

# A node: API server, kubelet and a host that runs $1 TDs (default 4). No driver yet.
enter_node() {
        # Short, because unix socket paths are.
        T=$(mktemp -d /tmp/dra.XXXXXX)
        chmod 711 "$T" # VMs, which are not root, pass through
        K=$T/k
        REGISTRY=$K/plugins_registry
        STATE=$K/plugins/tdx.kubevirt.io
        CDI=$T/cdi
        QGS=$T/host/run/tdx-qgs/qgs.socket
        MISC=$T/cgroup/misc.capacity
        # Pods mount the directories that a real kubelet creates; the stand-in may not need them.
        mkdir -p "$K"/{device-plugins,pod-resources,plugins_registry} "$CDI" "$T/host/run" "$T/cgroup"
        printf 'sev 509\nsev_es 100\ntdx %s\n' "${1:-4}" >"$MISC"
        start_api
        start_kubelet
}

start_api() { # [FLAG...]
        start api "$SIM/apiserver-sim" --control "$T/api.ctl" --port "${API_PORT:-0}" --port-file "$T/api.port" \
                --node "$NODE:11111111-2222-3333-4444-555555555555" --node node2:66666666-7777-8888-9999-000000000000 "$@"
        eventually 60 api ok || { cat "$T/api.log"; return 1; }
        API=http://127.0.0.1:$(cat "$T/api.port")
}

# Without a device manager unless KUBELET_DEVICES=yes: if kubelet has one and has just started, the driver waits
# five seconds before it believes podresources, and offers nothing until then.
start_kubelet() { # [FLAG...]
        local devices=(--no-devices)
        [ "${KUBELET_DEVICES:-no}" = no ] || devices=()
        start kubelet "$SIM/kubelet-sim" --dir "$K" --control "$T/kubelet.ctl" --api "$API" --node "$NODE" \
                --cgroup-root "$T/cgroup" "${devices[@]}" "$@"
        eventually 60 kubelet plugins || { cat "$T/kubelet.log"; return 1; }
}

# Fails if a sanitizer reported something or the driver did not exit cleanly.
leave_node() {
        local name status=0
        for name in "$T"/*.pid; do
                name=${name##*/}
                name=${name%.pid}
                [ "$name" != '*' ] || continue
                end "$name" || [ "$name" != driver ] || { echo "the driver ended with status $?"; status=1; }
        done
        if grep -hE -A30 'Sanitizer|runtime error:|[Aa]ssertion' "$T"/*.log; then status=1; fi
        rm -rf "$T"
        return $status
}

driver_flags() { # [from-cluster]: without QGS's socket, which then comes from KubeVirt's settings
        local host=
        [ "${RIGHTS:-root}" = root ] || host=/host
        FLAGS=(--node-name "$NODE" --kubelet-dir "$K" --device-plugin-dir "$K/device-plugins" --cdi-dir "$CDI"
                --misc-capacity "$host$MISC"
                ${host:+--host-root "$host"} --api-server "$API" --poll-interval 200ms --log-level debug)
        [ "${1:-}" = from-cluster ] || FLAGS+=(--qgs-socket "$QGS" --vm-qgs-socket "$QGS")
}

# Runs the driver with the rights in RIGHTS. root: the caller's; manifest: exactly those of manifests/, over the
# play's directories; manifest-CAPABILITY: without that one. POD_GROUPS adds its pod's supplementalGroups.
# RUN_IS_HOSTS=yes: the pod sees the play's /run as the host's /var/run, not by its place in the play.
as_pod() { # DRIVER ARGUMENT... in place of this shell
        case ${RIGHTS:-root} in
        root) exec "$@" ;;
        manifest*)
                local without=${RIGHTS#manifest} group groups=() run=--host
                [ "${RUN_IS_HOSTS:-no}" = no ] || run=--behind
                for group in ${POD_GROUPS:-}; do groups+=(--group "$group"); done
                exec "$SIM/pod-run" --overlay both ${without:+--without "${without#-}"} "${groups[@]}" --host "/var/lib/kubelet=$K" \
                        --host "/var/run/cdi=$CDI" "$run" "/var/run=$T/host/run" --host "/sys/fs/cgroup=$T/cgroup" -- "$@"
                ;;
        esac
}

launch_driver() { # NAME [FLAG...]: does not wait
        local name=$1
        shift
        driver_flags
        start "$name" as_pod "$DRIVER" run "${FLAGS[@]}" "$@"
}

driver() { # [FLAG...]: until kubelet has registered it
        launch_driver driver "$@"
        kubelet wait-registered tdx.kubevirt.io 40s >/dev/null || { cat "$T/driver.log"; return 1; }
}

# An orderly stop succeeds; sanitizers report at exit, so their findings fail the test here.
stop_driver() { end "${1:-driver}" TERM; }
kill_driver() { end "${1:-driver}" KILL || true; }

inspect() {
        driver_flags
        (as_pod "$DRIVER" inspect "${FLAGS[@]}")
}

# How many TDs claims hold. It runs often, so its flags keep it from asking QGS and the API server.
held() {
        driver_flags
        "$DRIVER" inspect "${FLAGS[@]}" --attestation optional --qgs-socket /run/none/qgs.socket \
                --vm-qgs-socket /run/none/qgs.socket | sed -n 's/^held  *\([0-9]*\) TDs\{0,1\} by .*/\1/p'
}
holds() { [ "$(held)" = "$1" ]; }
cdi_devices() { jq -r '.devices[].name' "$CDI/kubevirt.io-tdx.json" | wc -l; }

# Fetches a page from an instance that runs with --listen 127.0.0.1:0.
page() { # PATH [INSTANCE]: prints the page; succeeds if its status is 200
        local address
        address=$(sed -n 's/.*health are served.* address=\([^ ]*\).*/\1/p' "$T/${2:-driver}.log" | tail -n 1)
        python3 -c '
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
sys.stdout.write(answer.read().decode())
sys.exit(answer.status != 200)' "http://$address$1"
}
metric() { # SERIES VALUE [INSTANCE]: succeeds if the metrics have this series with this value
        page /metrics "${3:-driver}" | grep -qxF "$1 $2"
}

# A slice that another client writes.
post_slice() { # NAME SPEC
        /usr/bin/python3 - "$API" "$1" "$2" <<'PY'
import json, sys, urllib.request
body = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": sys.argv[2]},
        "spec": json.loads(sys.argv[3])}
urllib.request.urlopen(urllib.request.Request(
    sys.argv[1] + "/apis/resource.k8s.io/v1/resourceslices", json.dumps(body).encode(),
    {"Content-Type": "application/json"}), timeout=10)
PY
}
