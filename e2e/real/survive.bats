#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What ends, restarts or is deleted on a node, while VMs run.

setup_file() {
        load cluster
        set_up_node
}
teardown_file() { load cluster; qgs_stop; }
setup() {
        load cluster
        # Of an instance that is not ready a DaemonSet does not wait for the next one.
        k -n dra-driver-tdx rollout status daemonset/dra-driver-tdx --timeout=60s >/dev/null
        pod held template=td
        running held
}
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || driver_log | tail -n 12
        no_pods
}

restarts() { [ "$(k get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}')" = "$2" ]; }
is_away() { [ -z "$(driver_pod)" ]; }

@test "kubelet restarts: running pods keep running, the slices are back, and the next pod starts" {
        daemon node1 stop kubelet
        daemon node1 start kubelet
        eventually 20 offers 4
        restarts held 0
        n_held 1
        pod vm template=td
        running vm
        [ "$OVERLAY" = dra ] || { eventually 20 allocatable 2; pod plain tdx=1; running plain; }
}

@test "the driver is killed: the claim is still held, and the next pod starts" {
        on node1 pkill -KILL -f "^/usr/bin/dra-driver-tdx run"
        eventually 30 n_held 1
        pod vm template=td
        running vm
        n_held 2
        quotes held
}

@test "an update of the driver: pods that come meanwhile start, and none fails" {
        local i
        install DRA_LOG_FORMAT=json &
        local update=$!
        for i in 1 2 3; do
                pod vm$i template=td
                sleep 0.5
        done
        wait $update
        running vm1 vm2 vm3 || { k describe pods vm1 vm2 vm3 | grep -A12 Events; return 1; }
        for i in 1 2 3; do
                if events_of vm$i | grep -i "fail"; then return 1; fi
        done
        n_held 4
        install
}

@test "pods that are deleted while the driver is away end when it is back" {
        k -n dra-driver-tdx patch daemonset dra-driver-tdx --type merge \
                -p '{"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}}' >/dev/null
        eventually 30 is_away
        k delete pod held --wait=false >/dev/null
        sleep 3
        [ -n "$(k get pod held -o jsonpath='{.metadata.deletionTimestamp}')" ]
        k -n dra-driver-tdx patch daemonset dra-driver-tdx --type json \
                -p '[{"op": "remove", "path": "/spec/template/spec/nodeSelector/nowhere"}]' >/dev/null
        eventually 90 bash -c "! $NODE_TOOL kubectl get pod held"
        eventually 10 n_held 0
}

are_free_at() { metrics_at "$1" | grep -qx "tdx_free_tds $2"; } # ADDRESS N

@test "the API server is away while a pod ends: its TD is free all the same" {
        k apply -f - >/dev/null <<'END'
{apiVersion: v1, kind: Pod, metadata: {name: short, labels: {e2e: pod}}, spec: {
  terminationGracePeriodSeconds: 1, activeDeadlineSeconds: 8, restartPolicy: Never, resourceClaims: [{name: td, resourceClaimTemplateName: td}],
  containers: [{name: compute, image: "localhost/pod:1", imagePullPolicy: Never, resources: {claims: [{name: td}]}}]}}
END
        running short
        local address
        address=$(driver_address)
        daemon node1 kill apiserver # an orderly end waits a minute for its watches
        eventually 30 are_free_at "$address" 3
        daemon node1 start apiserver
        eventually 20 offers 4
}

counts() { metrics_at "$(driver_address)" | awk -v series="$1" '$1 == series && $2 > 0 { found = 1 } END { exit !found }'; } # SERIES
token_file() {
        on node1 sh -c "echo /var/lib/kubelet/pods/$(k -n dra-driver-tdx get "$(driver_pod)" -o jsonpath='{.metadata.uid}')/volumes/kubernetes.io~projected/kube-api-access-*/token"
}

@test "the driver's token expires while kubelet brings no other: the driver uses the next one, without a restart" {
        local pod file token
        pod=$(driver_pod)
        file=$(token_file)
        daemon node1 stop kubelet
        token=$(on node1 cat "$file" | "$ROOT/e2e/real/expired-token" "$E2E_DIR/pki/sa.key")
        on node1 sh -c "printf %s '$token' >$file"
        k delete resourceslices --all >/dev/null
        eventually 20 counts 'tdx_api_errors_total{reason="forbidden"}'
        offers 0
        daemon node1 start kubelet
        eventually 30 offers 4
        [ "$(driver_pod)" = "$pod" ]
        [ "$(k -n dra-driver-tdx get "$pod" -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
        pod vm template=td
        running vm
}

@test "containerd restarts: running pods keep running, and the next pod starts" {
        daemon node1 stop containerd
        daemon node1 start containerd
        pod vm template=td
        running vm held
        quotes vm
        n_held 2
}

@test "slices that an admin deletes are back at once" {
        k delete resourceslices --all >/dev/null
        eventually 5 offers 4
}

@test "deleted socket files are back, and the next pod starts" {
        on node1 sh -c 'rm -f /var/lib/kubelet/plugins/tdx.kubevirt.io/*.sock /var/lib/kubelet/plugins_registry/tdx.kubevirt.io*
                /var/lib/kubelet/device-plugins/dra-driver-tdx.sock' || true
        on node1 sh -c 'rm -f /var/lib/kubelet/device-plugins/dra-driver-tdx.sock'
        eventually 20 driver_metric 'tdx_registered{path="dra"}' 1
        pod vm template=td
        running vm
        [ "$OVERLAY" = dra ] || { eventually 20 allocatable 2; pod plain tdx=1; running plain; }
}

@test "a deleted CDI spec is back before the next pod starts" {
        on node1 rm -f /var/run/cdi/kubevirt.io-tdx.json
        pod vm template=td
        running vm
        quotes vm
}

@test "the node reboots: what ran has its TD and its mount again, and the next pod starts" {
        "$NODE_TOOL" reboot >/dev/null
        QGS_MODE=0666 qgs_start # it may be later than the pod, which then has not its group
        eventually 90 restarts held 1
        eventually 60 is_running held
        eventually 30 offers 4
        n_held 1
        quotes held
        pod vm template=td
        running vm
        n_held 2
}

@test "a pod is deleted by force: the next pod gets its TD when its container has gone, and not before" {
        local i
        for i in 1 2 3; do pod vm$i template=td; done
        running vm1 vm2 vm3
        pod next template=td
        pending next
        k delete pod vm1 --force --grace-period=0 >/dev/null 2>&1
        running next
        n_held 4
        if events_of next | grep FailedPrepare; then return 1; fi
        if [ "$OVERLAY" = both ]; then
                no_pods
                for i in 1 2 3 4; do pod plain$i tdx=1; done
                running plain1 plain2 plain3 plain4
                k delete pod plain1 --force --grace-period=0 >/dev/null 2>&1
                eventually 15 n_held 3
                pod after tdx=1
                running after
        fi
}
