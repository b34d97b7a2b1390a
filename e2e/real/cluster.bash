# SPDX-License-Identifier: Apache-2.0
# What the scenarios on a real Kubernetes share: the cluster that e2e/real/run has brought up, the driver installed in
# it as README says, and pods as virt-launcher's compute container. Sourced by *.bats.
#
#   k ARGUMENT...        kubectl as the cluster's admin      on NODE COMMAND...   a command on a node
#   install [ENV=VALUE]  the overlay under test ($OVERLAY), with settings
#   eventually TIME COMMAND...   until COMMAND succeeds
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
NODE_TOOL=$ROOT/e2e/cluster/node
KUBE=${KUBE:-1.37} OVERLAY=${OVERLAY:-both}
QUOTE=/var/run/tdx-qgs/qgs.socket
export KUBE

k() { "$NODE_TOOL" kubectl "$@"; }
on() { "$NODE_TOOL" enter "$@"; }
daemon() { "$NODE_TOOL" service "$@"; } # NODE start|stop|kill DAEMON

# SECONDS are what it takes at most on an idle machine; two clusters on two cores get three times as many, and forty
# seconds at least. After three recoveries of QGS a further one counts only 20 s later.
eventually() { # SECONDS COMMAND...
        local seconds=$(($1 * 3 > 40 ? $1 * 3 : 40))
        local end=$((${EPOCHREALTIME/./} + seconds * 1000000))
        shift
        until "$@" >/dev/null 2>&1; do
                [ "${EPOCHREALTIME/./}" -lt "$end" ] || { "$@" || true; return 1; }
                sleep 0.1
        done
}

at_least() { [ "$(printf '%s\n' "$1" "$KUBE" | sort -V | head -1)" = "$1" ]; } # MINOR
needs() { # MINOR REASON
        at_least "$1" || skip "Kubernetes $KUBE: $2"
}
only() { # OVERLAY REASON
        [ "$OVERLAY" = "$1" ] || skip "overlay $OVERLAY: $2"
}

# ---- the driver ----

install() { "$NODE_TOOL" install "$OVERLAY" "$@"; } # [ENV=VALUE...]
driver_pod() { # [NODE]: not one that is ending
        k -n dra-driver-tdx get pods --field-selector "spec.nodeName=${1:-node1}" -o json |
                jq -r '[.items[] | select(.metadata.deletionTimestamp == null) | "pod/" + .metadata.name][0] // ""'
}
driver_log() { k -n dra-driver-tdx logs "$(driver_pod "$@")" --tail=-1; } # kubelet may have no file yet: see driver_says
driver_says() { driver_log "${@:2}" | grep -q -- "$1"; }                  # PATTERN [NODE]
driver_address() { k -n dra-driver-tdx get "$(driver_pod "$@")" -o jsonpath='{.status.podIP}'; } # [NODE]
metrics_at() { on node1 curl -fsS -m 2 "http://$1:8080/metrics"; }                               # ADDRESS
driver_metric() { metrics_at "$(driver_address)" | grep -qxF "$1 $2"; }                          # SERIES VALUE

# Devices of a node's slices, all of them or those that a jq filter leaves.
devices() { # [NODE [FILTER]]
        k get resourceslices -o json |
                jq "[.items[] | select(.spec.driver == \"tdx.kubevirt.io\" and .spec.nodeName == \"${1:-node1}\")
                        | .spec.devices[]? | select(${2:-true})] | length"
}
offers() { [ "$(devices "${2:-node1}" "${3:-true}")" = "$1" ]; } # N [NODE [FILTER]]
placeable() { offers "$1" "${2:-node1}" '(.taints // []) == []'; } # N [NODE]: by claims; withdrawn where taints are not kept
allocatable() { # N [NODE [RESOURCE]]
        [ "$(k get node "${2:-node1}" -o json | jq -r ".status.allocatable[\"${3:-devices.kubevirt.io/tdx}\"] // \"none\"")" = "$1" ]
}

# ---- QGS on the node ----

# As in its packages: its own user, a socket for its group alone (0660). A claim's VM is given the group; a
# plain pod is not, so QGS_MODE=0666, as an admin opens it, where such are to attest.
QGSD=991:990
qgs_start() { # [NODE]
        local node=${1:-node1}
        on "$node" install -d -o ${QGSD%:*} -g ${QGSD#*:} -m 0755 "$(dirname $QUOTE)"
        on "$node" setsid "$ROOT/e2e/sim/qgs-sim" --socket $QUOTE --control "$E2E_DIR/$node/qgs.ctl" --version 1.26 \
                --user $QGSD --mode "${QGS_MODE:-own}" >"$E2E_DIR/$node/log/qgs.log" 2>&1 </dev/null 3>&- 4>&- &
        eventually 20 on "$node" test -S $QUOTE
}
qgs_stop() { # [NODE]: and its directory goes, as systemd does it
        on "${1:-node1}" pkill -f "qgs-sim --socket $QUOTE" || true
        on "${1:-node1}" rm -rf "$(dirname $QUOTE)"
}

# ---- KubeVirt ----

# Its CRDs as it ships them; without that of its settings the driver has its defaults.
kubevirt_crd() { # created|deleted [kubevirts|virtualmachines]
        local kind=${2:-kubevirts}
        if [ "$1" = deleted ]; then
                k delete crd "$kind.kubevirt.io" --ignore-not-found >/dev/null
                return
        fi
        k apply --server-side -f "$("$ROOT/e2e/cluster/build" "$KUBE")/$kind.yaml" >/dev/null
        eventually 10 k wait --for=condition=Established "crd/$kind.kubevirt.io" --timeout=1s
        k create namespace kubevirt >/dev/null 2>&1 || true
}
enforced() { # true|false [SOCKET]
        k apply -f - >/dev/null <<END
{apiVersion: kubevirt.io/v1, kind: KubeVirt, metadata: {name: kubevirt, namespace: kubevirt},
 spec: {configuration: {confidentialCompute: {tdx: {attestation: {enforced: $1${2:+, qgsSocketPath: $2}}}}}}}
END
}

# Its own TDX device plugin, as virt-handler runs it.
in_tree_start() { # NODE N SOCKET [enforced]
        local node=$1
        shift
        on "$node" setsid in-tree-plugin "$@" >>"$E2E_DIR/$node/log/in-tree-plugin.log" 2>&1 </dev/null 3>&- 4>&- &
        eventually 10 on "$node" grep -q "device plugin started" "$E2E_DIR/$node/log/in-tree-plugin.log"
}
in_tree_stop() { # NODE
        on "$1" pkill -x in-tree-plugin || true
        eventually 5 in_tree_is_gone "$1"
        rm -f "$E2E_DIR/$1/log/in-tree-plugin.log"
}
in_tree_is_gone() { ! on "$1" pgrep -x in-tree-plugin; }                                                           # NODE
in_tree_allocated() { [ "$(grep -c "Socket Allocate: request" "$E2E_DIR/$1/log/in-tree-plugin.log")" = "$2" ]; } # NODE N

# ---- another device plugin ----

plugin_start() { # NODE NAME ARGUMENT...
        local node=$1 name=$2
        shift 2
        on "$node" setsid "$ROOT/e2e/sim/plugin-sim" --control "$E2E_DIR/$node/$name.ctl" "$@" \
                >"$E2E_DIR/$node/log/$name.log" 2>&1 </dev/null 3>&- 4>&- &
        eventually 10 plugin "$node" "$name" registered
}
plugin() { # NODE NAME COMMAND...
        local control=$E2E_DIR/$1/$2.ctl
        on "$1" "$ROOT/e2e/sim/ctl" "$control" "${@:3}"
}
plugin_stop() { # NODE NAME
        on "$1" pkill -f "plugin-sim --control $E2E_DIR/$1/$2.ctl" || true
        eventually 5 plugin_is_gone "$1" "$2"
}
plugin_is_gone() { ! on "$1" pgrep -f "plugin-sim --control $E2E_DIR/$1/$2.ctl"; } # NODE NAME

# ---- pods ----

# As virt-launcher's compute container: 107, no capability; what it gets is in the arguments. vm=TEMPLATE: as KubeVirt
# renders a VM that names a claim, which its container does not get.
pod() { # NAME template=NAME|claim=NAME|tdx=N|resource=NAME|vm=TEMPLATE [NODE]
        local claims="" of="" limits="" labels=""
        case $2 in
        template=*) claims="resourceClaims: [{name: td, resourceClaimTemplateName: ${2#*=}}]," of="claims: [{name: td}]" ;;
        claim=*) claims="resourceClaims: [{name: td, resourceClaimName: ${2#*=}}]," of="claims: [{name: td}]" ;;
        tdx=*) limits="limits: {devices.kubevirt.io/tdx: ${2#*=}}" ;;
        resource=*) limits="limits: {${2#*=}: 1}" ;;
        vm=*)
                claims="resourceClaims: [{name: tdx, resourceClaimTemplateName: ${2#*=}}],"
                limits="limits: {devices.kubevirt.io/tdx: 1}" labels=", kubevirt.io: virt-launcher"
                ;;
        esac
        k create --validate=ignore -f - >/dev/null <<END
{apiVersion: v1, kind: Pod, metadata: {name: $1, labels: {e2e: pod$labels}}, spec: {
  terminationGracePeriodSeconds: 1, restartPolicy: Always, $claims ${3:+nodeSelector: {kubernetes.io/hostname: $3\},}
  securityContext: {runAsUser: 107, runAsGroup: 107, fsGroup: 107, runAsNonRoot: true},
  containers: [{name: compute, image: "localhost/pod:1", imagePullPolicy: Never,
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}},
    resources: {$of $limits}}]}}
END
}
has_claim() { [ -n "$(k get pod "$1" -o jsonpath='{.status.extendedResourceClaimStatus.resourceClaimName}')" ]; } # POD: the scheduler's
phase() { k get pod "$1" -o jsonpath='{.status.phase}'; }
is_running() { # POD...
        local name
        for name in "$@"; do [ "$(k get pod "$name" -o jsonpath='{.status.containerStatuses[0].ready}')" = true ] || return 1; done
}
running() { eventually 40 is_running "$@"; } # POD...
pending() { # POD: stays unscheduled
        sleep 1.5
        [ "$(phase "$1")" = Pending ] && [ -z "$(k get pod "$1" -o jsonpath='{.spec.nodeName}')" ]
}
gone() { # POD...
        k delete pod "$@" --wait=true --timeout=60s --ignore-not-found >/dev/null
}
quotes() { k exec "$1" -- /pod quote "${2:-$QUOTE}"; } # POD [SOCKET]
events_of() { # POD: as it is now, not of an earlier one of that name
        k get events --field-selector "involvedObject.uid=$(k get pod "$1" -o jsonpath='{.metadata.uid}')" -o jsonpath='{range .items[*]}{.reason}: {.message}{"\n"}{end}'
}
n_held() { # N: TDs in use, both paths
        local held
        held=$(metrics_at "$(driver_address)" | awk '/^tdx_held_tds/ { n += $2 } END { print n }')
        [ "$held" = "$1" ]
}

claim_templates() {
        k label namespace default resource.kubernetes.io/admin-access=true --overwrite >/dev/null
        k apply -f - >/dev/null <<'END'
{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: td},
 spec: {spec: {devices: {requests: [{name: td, exactly: {deviceClassName: tdx.kubevirt.io}}]}}}}
---
{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: attested},
 spec: {spec: {devices: {requests: [{name: td, exactly: {deviceClassName: attested.tdx.kubevirt.io}}]}}}}
---
{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: admin},
 spec: {spec: {devices: {requests: [{name: td, exactly: {deviceClassName: tdx.kubevirt.io, adminAccess: true, allocationMode: All}}]}}}}
---
{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: shared},
 spec: {devices: {requests: [{name: td, exactly: {deviceClassName: tdx.kubevirt.io}}]}}}
END
}

# For setup_file: the driver on a node with QGS, and nothing else there.
set_up_node() { # [ENV=VALUE...]
        install "$@"
        claim_templates
        no_pods
        qgs_start
        eventually 20 offers 4
        [ "$OVERLAY" = dra ] || eventually 30 allocatable 4
}

# For teardown: no pod is left, and no TD held.
no_pods() {
        k delete pods -l e2e=pod --wait=true --timeout=90s >/dev/null
        eventually 20 n_held 0
}
