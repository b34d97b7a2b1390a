# SPDX-License-Identifier: Apache-2.0
# A node whose kernel counts TDs (e2e/sim/misc-sim). Sourced by measured*.bats, after scenario.bash.
# shellcheck shell=bash disable=SC2034

enter_measured_node() { # TDS
        enter_node "$1"
        CGROUPS=$T/cgroups
        MISC=$CGROUPS/misc.capacity
        misc init "$1"
        misc mkdir kubepods
        misc mkdir machine.slice/qemu-1.scope
}

misc() { "$SIM/misc-sim" "$CGROUPS" "$@"; }
measuring() { driver --cgroup-root "$CGROUPS" --listen 127.0.0.1:0 "$@"; }
number() { metric "tdx_$1" "$2"; }
becomes() { eventually 30 number "$@"; } # a rise counts after 5 s, and in two readings
has_posted() { api events | grep -q "$1"; }
posted() { eventually 15 has_posted "$1"; }
never() { if "$@"; then return 1; fi; }
inspect_here() { "$DRIVER" inspect --cgroup-root "$CGROUPS" --kubelet-dir "$K" --cdi-dir "$CDI"; }
is_offered() { [[ $(api devices) == *" $1 devices"* ]]; }

# libvirt's
start_foreign() { # N
        local i
        for i in $(seq "$1"); do misc start machine.slice/qemu-1.scope; done
}

# The container of the pod that a claim is reserved for, as the path of its cgroup.
enter_pod() { # CLAIM
        local uid
        uid=$(curl -sf "$API/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/$1" |
                jq -r '.status.reservedFor[0].uid')
        misc mkdir "kubepods/pod$uid/container"
        echo "kubepods/pod$uid/container"
}

prepared() { # CLAIM DEVICE
        api claim "default/$1" "$2"
        kubelet prepare "default/$1"
}
