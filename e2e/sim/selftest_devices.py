# SPDX-License-Identifier: Apache-2.0
"""The self-test of kubelet-sim's device manager: what was measured of kubelet, against a minimal
device plugin.
"""

import asyncio
import time

import grpc

import kubelet_api as api
from device_plugin import DevicePlugin
from selftest_rig import RESOURCE, call_podresources, contains, equal, test


def healthy(number, unhealthy=0):
    return {f"tdx{i}": "Healthy" if i < number else "Unhealthy" for i in range(number + unhealthy)}


async def register(rig, number=2, endpoint="plugin.sock"):
    plugin = DevicePlugin(rig.kubelet_root / "device-plugins", endpoint, RESOURCE, healthy(number))
    rig.plugins.append(plugin)
    await (await plugin.start()).register()
    await rig.kubelet("wait-healthy", str(number), "3s")
    return plugin


async def listed(rig):
    """What podresources says that pods without claims have: name to IDs."""
    answer = await call_podresources(rig, api.LIST_POD_RESOURCES, "ListPodResources")
    return {pod.name: [name for container in pod.containers for device in container.devices
                       for name in device.device_ids]
            for pod in answer.pod_resources if not pod.containers[0].dynamic_resources}


async def until_listed(rig, wanted):
    for _ in range(100):
        if (found := await listed(rig)) == wanted:
            return
        await asyncio.sleep(0.02)
    equal(found, wanted)


@test
async def a_pod_gets_devices_of_the_plugin_and_keeps_them_until_it_is_gone(rig):
    plugin = await register(rig, 3)
    plugin.response.mounts.add(host_path="/a", container_path="/b", read_only=True)
    plugin.response.cdi_devices.add(name="v/c=d")
    contains(await rig.kubelet("allocatable", "--now"), f"{RESOURCE} capacity 3 allocatable 3")

    text = await rig.kubelet("pod", "default/p", "2")

    (ids,) = plugin.allocated
    equal(text, f"default/p: {' '.join(sorted(ids))} mounts=/a:/b:ro cdi=v/c=d")
    await until_listed(rig, {"p": sorted(ids)})
    answer = await call_podresources(rig, api.GET_ALLOCATABLE_RESOURCES, "AllocatableResources")
    equal([list(each.device_ids) for each in answer.devices], [["tdx0"], ["tdx1"], ["tdx2"]])
    contains(await rig.kubelet("pod", "default/q", "2", expect=1),
             "UnexpectedAdmissionError: Pod was rejected: Allocate failed due to requested number "
             f"of devices unavailable for {RESOURCE}. Requested: 2, Available: 1, which is "
             "unexpected")
    begin = time.monotonic()
    await rig.kubelet("delete", "default/p")
    assert time.monotonic() - begin >= 1.05
    equal(await listed(rig), {})
    equal(await rig.kubelet("in-containers"), "0")
    await plugin.stop()


@test
async def the_plugin_is_asked_what_it_prefers_and_its_refusal_is_the_pods(rig):
    plugin = await register(rig, 0)
    plugin.options.get_preferred_allocation_available = True
    await plugin.register()
    plugin.set(healthy(9))
    await rig.kubelet("wait-healthy", "9")
    plugin.preferred = ["tdx7", "tdx4"]
    equal(await rig.kubelet("pod", "default/p", "2"), "default/p: tdx4 tdx7")

    plugin.error = "TDX key limit reached: 2 of 2 in use"
    equal(await rig.kubelet("pod", "default/q", expect=1),
          "default/q: UnexpectedAdmissionError: Pod was rejected: Allocate failed due to rpc "
          "error: code = Unknown desc = TDX key limit reached: 2 of 2 in use, which is unexpected")
    plugin.set(healthy(0, 9))
    await rig.kubelet("wait-healthy", "0")
    contains(await rig.kubelet("pod", "default/q", expect=1),
             "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices "
             f"{RESOURCE}, which is unexpected")

    plugin.error, plugin.delay = "", 0.5
    plugin.set(healthy(9))
    await rig.kubelet("wait-healthy", "9")
    slow = asyncio.ensure_future(rig.kubelet("pod", "default/slow"))
    await until_listed(rig, {"p": ["tdx4", "tdx7"], "slow": []})
    await slow
    await plugin.stop()


@test
async def kubelet_refuses_versions_and_names_that_are_none(rig):
    plugin = DevicePlugin(rig.kubelet_root / "device-plugins", "bad.sock", RESOURCE, healthy(1))
    await plugin.start()
    for change, reason in ((("version", "v1alpha"), 'requested API version "v1alpha" is not'),
                           (("resource", "tdx"), 'the ResourceName "tdx" is invalid'),
                           (("resource", "kubernetes.io/x"), "is invalid"),
                           (("resource", "a.b/" + "x" * 64), "is invalid")):
        before = getattr(plugin, change[0])
        setattr(plugin, *change)
        try:
            await plugin.register()
            raise AssertionError(f"{change} was not refused")
        except grpc.RpcError as error:
            contains(error.details(), reason)
        setattr(plugin, change[0], before)
    await plugin.stop()


@test
async def a_stream_that_ends_makes_all_unhealthy_and_the_resource_goes_after_a_while(rig):
    plugin = await register(rig)
    await rig.kubelet("pod", "default/old")
    await rig.kubelet("allocatable", "--now")

    await plugin.stop()

    await rig.kubelet("wait-healthy", "0", "2s")
    contains(await rig.kubelet("allocatable"), "capacity 2 allocatable 2")
    contains(await rig.kubelet("allocatable", "--now"), "capacity 2 allocatable 0")
    contains(await rig.kubelet("pod", "default/new", expect=1), "no healthy devices present")
    await rig.kubelet("set", "grace", "0s")
    contains(await rig.kubelet("allocatable", "--now"), "capacity 0 allocatable 0")
    # While the name is in kubelet's books, and without a plugin, not even DRA's pods start.
    contains(await rig.kubelet("pod", "default/dra", "--dra", expect=1),
             f"endpoint not found in cache for a registered resource: {RESOURCE}")
    await rig.kubelet("delete", "default/old", "--takes", "0s")
    contains(await rig.kubelet("resync", "default/dra", expect=1), "endpoint not found")
    await listed(rig)
    await rig.kubelet("resync", "default/dra")
    await rig.kubelet("set", "grace", "5m")


@test
async def the_newest_registrant_allocates_the_last_list_wins_and_the_exit_of_one_ends_both(rig):
    old = await register(rig, 2, "old.sock")
    new = await register(rig, 5, "new.sock")
    old.set({"old0": "Healthy"})
    await rig.kubelet("wait-healthy", "1")

    equal(await rig.kubelet("pod", "default/p"), "default/p: old0")

    equal((old.allocated, new.allocated), ([], [["old0"]]))
    await old.stop()
    await rig.kubelet("wait-healthy", "0", "2s")
    while new.n_streams:
        await asyncio.sleep(0.02)
    await new.register()
    await rig.kubelet("wait-healthy", "5", "2s")
    await new.stop()


@test
async def a_restart_wipes_the_sockets_and_admits_the_pods_again(rig):
    plugin = await register(rig)
    await rig.kubelet("pod", "default/running")
    await rig.kubelet("pod", "default/crashed")
    before = await rig.kubelet("pods")
    await rig.kubelet("stop")
    await rig.kubelet("crash", "default/crashed")

    await rig.kubelet("start")

    directory = rig.kubelet_root / "device-plugins"
    equal(sorted(each.name for each in directory.iterdir()),
          ["kubelet.sock", "kubelet_internal_checkpoint"])
    contains(await rig.kubelet("allocatable"), "capacity 0 allocatable 0")
    equal(await listed(rig), {})
    await plugin.stop()
    plugin = await register(rig)
    await rig.kubelet("pod", "default/late", expect=1)
    equal((await rig.kubelet("pods")).splitlines()[:2], before.splitlines())

    # Nobody has registered by the time of the admission.
    await rig.kubelet("stop")
    await rig.kubelet("crash", "default/crashed")
    await rig.kubelet("start")
    await rig.kubelet("pod", "default/late", expect=1)
    contains(await rig.kubelet("pods"), "default/crashed: failed: UnexpectedAdmissionError")
    await plugin.stop()


@test
async def a_restart_kills_a_plugins_pod_that_is_younger_than_one_of_dra_where_the_plugin_was_away(rig):
    plugin = await register(rig)
    await rig.kubelet("pod", "default/older", "--dra")
    await rig.kubelet("allocatable", "--now")
    await rig.kubelet("pod", "default/younger")
    await rig.kubelet("restart")
    await rig.kubelet("pod", "default/barrier", "0", "--dra")
    contains(await rig.kubelet("pods"), "default/younger: tdx")
    plugin.set({})
    await rig.kubelet("wait-healthy", "0")
    await rig.kubelet("allocatable", "--now")
    await rig.kubelet("restart")
    await rig.kubelet("delete", "default/barrier")
    await rig.kubelet("pod", "default/barrier", "0", "--dra")
    contains(await rig.kubelet("pods"),
             f"default/younger: failed: OutOf{RESOURCE}: Pod was rejected: Node didn't have enough "
             f"resource: {RESOURCE}, requested: 1, used: 1, capacity: 1")
    await plugin.stop()


@test
async def a_pod_deleted_by_force_is_forgotten_while_its_container_lives_on(rig):
    plugin = await register(rig)
    while await rig.kubelet("in-containers") != "0":
        await asyncio.sleep(0.02)
    await rig.kubelet("pod", "default/p", "2")
    await until_listed(rig, {"p": ["tdx0", "tdx1"]})

    await rig.kubelet("delete", "default/p", "--force")

    equal(await listed(rig), {})
    equal(await rig.kubelet("in-containers"), "2")
    await rig.kubelet("pod", "default/next", "2")
    equal(await rig.kubelet("in-containers"), "4")
    await asyncio.sleep(0.6)
    equal(await rig.kubelet("in-containers"), "2")
    await plugin.stop()


@test
async def podresources_misbehaves_on_demand(rig):
    async def ask():
        try:
            answer = await call_podresources(rig, api.LIST_POD_RESOURCES, "ListPodResources", 0.3)
            return answer.ByteSize() if answer else "not to be parsed"
        except grpc.RpcError as error:
            return error.code().name

    for fault, wanted in (("refuse", "UNAVAILABLE"), ("hang", "DEADLINE_EXCEEDED"),
                          ("garbage", "not to be parsed"), ("limit", "RESOURCE_EXHAUSTED"),
                          ("off", "UNAVAILABLE"), ("on", "RESOURCE_EXHAUSTED")):
        await rig.kubelet("podresources", fault)
        equal(await ask(), wanted)
    await rig.kubelet("podresources", "large")
    assert await ask() > 5_000_000
    await rig.kubelet("podresources", "ok")
    assert await ask() < 5000
    answers = [await ask() for _ in range(40)]
    assert "RESOURCE_EXHAUSTED" in answers, "there is no rate limit"


@test
async def a_foreign_plugin_comes_and_goes_and_its_pods_count(rig):
    await rig.kubelet("foreign", "start", "--count", "3")
    await rig.kubelet("wait-healthy", "3")
    f_id = (await rig.kubelet("pod", "default/f")).split()[1]
    await rig.kubelet("restart")
    contains(await rig.kubelet("device-plugins"), "kubevirt-tdx.sock")
    await rig.kubelet("wait-healthy", "3")
    g_id = (await rig.kubelet("pod", "default/g")).split()[1]
    await until_listed(rig, {"f": [f_id], "g": [g_id]})
    await rig.kubelet("foreign", "stop")
    await rig.kubelet("wait-healthy", "0")
