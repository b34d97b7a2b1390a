# SPDX-License-Identifier: Apache-2.0
# What the scenarios share in which the KubeVirt CR decides. Loaded after scenario.bash.
# shellcheck shell=bash disable=SC2034,SC2154

start_qgs() {
        mkdir -p "$(dirname "$QGS")"
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl" "$@"
        eventually 10 qgs requests >/dev/null
}

# Without --qgs-socket and --vm-qgs-socket, so that the CR decides.
plain_flags() {
        driver_flags from-cluster
        FLAGS+=(--listen 127.0.0.1:0)
}
registered() { kubelet wait-registered tdx.kubevirt.io 20s >/dev/null || { cat "$T/driver.log"; return 1; }; }
plain_driver() { # [FLAG...]
        plain_flags
        start driver "$DRIVER" run "${FLAGS[@]}" "$@"
        registered
}

cr() { # ATTESTATION
        api kubevirt on
        api kubevirt-json kubevirt/kubevirt '{"configuration":{"confidentialCompute":{"tdx":{"attestation":'"$1"'}}}}' >/dev/null
}

seen_of_slice() {
        api slices-json | jq -r '[.. | objects | select(.spec?.devices?) | .spec.devices[]] |
                if length == 0 then "withdrawn" else .[0] |
                (if .taints then "tainted " + .taints[0].value else "open" end) +
                (if .attributes.attestation.bool then ", attesting" else ", attesting not" end) end'
}
slice_is() { [ "$(seen_of_slice)" = "$1" ]; }
becomes() { eventually 20 slice_is "$1" || { seen_of_slice; tail -n 20 "$T/driver.log"; return 1; }; }
has_event() { api events | grep -q -- "$1"; }
prepare() { # NAME TD
        api claim "default/$1" "$2" >/dev/null
        kubelet prepare "default/$1"
}
metric_is() { eventually 10 metric "$1" "$2" || { page /metrics | grep "^${1%%\{*}"; return 1; }; }
refused() { # FIELD 0|1
        metric_is "tdx_settings_refused{field=\"$1\"}" "$2"
}
