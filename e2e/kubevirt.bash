# SPDX-License-Identifier: Apache-2.0
# Shared by the scenarios in which the KubeVirt CR decides. Loaded after scenario.bash and qgs.bash.
# shellcheck shell=bash disable=SC2034,SC2154

# Without --qgs-socket and --vm-qgs-socket, so that the CR decides.
plain_flags() {
        driver_flags from-cluster
        FLAGS+=(--listen 127.0.0.1:0)
}
registered() { kubelet wait-registered tdx.kubevirt.io 20s >/dev/null || { cat "$T/driver.log"; return 1; }; }
plain_driver() { # [FLAG...]
        plain_flags
        start driver as_pod "$DRIVER" run "${FLAGS[@]}" "$@"
        registered
}

cr() { # ATTESTATION
        api kubevirt on
        api kubevirt-json kubevirt/kubevirt '{"configuration":{"confidentialCompute":{"tdx":{"attestation":'"$1"'}}}}' >/dev/null
}

becomes() { eventually 20 slice_is "$1" || { seen_of_slice; tail -n 20 "$T/driver.log"; return 1; }; }
has_event() { api events | grep -q -- "$1"; }
metric_is() { eventually 10 metric "$1" "$2" || { page /metrics | grep "^${1%%\{*}"; return 1; }; }
refused() { # FIELD 0|1
        metric_is "tdx_settings_refused{field=\"$1\"}" "$2"
}
