/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/podresources.h"

#include "base/memory.h"
#include "device.h"
#include "podresources.pb-c.h"
#include "unit/suite.h"

#define TDX "devices.kubevirt.io/tdx"

static char *one_and_two[] = { (char *)"tdx1", (char *)"tdx2" };
static char *foreign[] = { (char *)"tdx9" };

START_TEST(ids_of_the_resource_are_collected_over_pods_containers_and_numa_nodes)
{
        Podresources__ContainerDevices first = PODRESOURCES__CONTAINER_DEVICES__INIT,
                                       other = PODRESOURCES__CONTAINER_DEVICES__INIT,
                                       none = PODRESOURCES__CONTAINER_DEVICES__INIT;
        Podresources__ContainerDevices *devices[] = { &first, &other, &none, &first };
        Podresources__ContainerResources container = PODRESOURCES__CONTAINER_RESOURCES__INIT,
                                         idle = PODRESOURCES__CONTAINER_RESOURCES__INIT;
        Podresources__ContainerResources *containers[] = { &container, &idle };
        Podresources__PodResources pod = PODRESOURCES__POD_RESOURCES__INIT,
                                   empty = PODRESOURCES__POD_RESOURCES__INIT;
        Podresources__PodResources *pods[] = { &pod, &empty, &pod };
        Podresources__ListPodResourcesResponse list =
                PODRESOURCES__LIST_POD_RESOURCES_RESPONSE__INIT;
        _cleanup_(free) const char **ids = NULL;
        size_t n;

        first.resource_name = none.resource_name = (char *)TDX;
        first.device_ids = one_and_two;
        first.n_device_ids = 2;
        other.resource_name = (char *)TDX "s";
        other.device_ids = foreign;
        other.n_device_ids = 1;
        container.devices = devices;
        container.n_devices = array_size(devices);
        pod.containers = containers;
        pod.n_containers = array_size(containers);
        list.pod_resources = pods;
        list.n_pod_resources = array_size(pods);

        ids = podresources_collect(&list, TDX, &n);

        ck_assert_uint_eq(n, 8);
        for (size_t i = 0; i < n; ++i)
                ck_assert_str_eq(ids[i], one_and_two[i % 2]);
}
END_TEST

START_TEST(an_empty_list_has_no_ids)
{
        Podresources__ListPodResourcesResponse list =
                PODRESOURCES__LIST_POD_RESOURCES_RESPONSE__INIT;
        _cleanup_(free) const char **ids = NULL;
        size_t n = 1;

        ids = podresources_collect(&list, TDX, &n);

        ck_assert_uint_eq(n, 0);
}
END_TEST

/* As kubelet 1.37 marshals it: two pods share a claim of two devices; one of another driver's; and
 * one whose Prepare runs, without resources. */
START_TEST(claims_devices_of_the_driver_are_collected_with_pool_and_cdi_name)
{
        Podresources__CDIDevice cdi = PODRESOURCES__CDIDEVICE__INIT;
        Podresources__CDIDevice *cdis[] = { &cdi };
        Podresources__ClaimResource one = PODRESOURCES__CLAIM_RESOURCE__INIT,
                                    bare = PODRESOURCES__CLAIM_RESOURCE__INIT,
                                    other = PODRESOURCES__CLAIM_RESOURCE__INIT;
        Podresources__ClaimResource *resources[] = { &one, &other, &bare };
        Podresources__DynamicResource claim = PODRESOURCES__DYNAMIC_RESOURCE__INIT,
                                      running = PODRESOURCES__DYNAMIC_RESOURCE__INIT;
        Podresources__DynamicResource *claims[] = { &running, &claim };
        Podresources__ContainerResources container = PODRESOURCES__CONTAINER_RESOURCES__INIT;
        Podresources__ContainerResources *containers[] = { &container };
        Podresources__PodResources pod = PODRESOURCES__POD_RESOURCES__INIT;
        Podresources__PodResources *pods[] = { &pod, &pod };
        Podresources__ListPodResourcesResponse list =
                PODRESOURCES__LIST_POD_RESOURCES_RESPONSE__INIT;
        _cleanup_(free) struct device_prepared *devices = NULL;
        size_t n;

        cdi.name = (char *)"kubevirt.io/tdx=dra-tdx5";
        one.driver_name = bare.driver_name = (char *)"tdx.kubevirt.io";
        one.pool_name = bare.pool_name = (char *)"node1";
        one.device_name = (char *)"tdx3";
        one.cdi_devices = cdis;
        one.n_cdi_devices = 1;
        bare.device_name = (char *)"tdx4";
        other.driver_name = (char *)"gpu.example";
        claim.claim_namespace = running.claim_namespace = (char *)"vms";
        claim.claim_name = (char *)"c";
        running.claim_name = (char *)"r";
        claim.claim_resources = resources;
        claim.n_claim_resources = array_size(resources);
        container.dynamic_resources = claims;
        container.n_dynamic_resources = array_size(claims);
        pod.containers = containers;
        pod.n_containers = 1;
        list.pod_resources = pods;
        list.n_pod_resources = array_size(pods);

        devices = podresources_collect_claims(&list, "tdx.kubevirt.io", &n);

        ck_assert_uint_eq(n, 4);
        for (size_t i = 0; i < n; ++i) {
                ck_assert_str_eq(devices[i].namespace_, "vms");
                ck_assert_str_eq(devices[i].claim, "c");
                ck_assert_str_eq(devices[i].pool, "node1");
                ck_assert_str_eq(devices[i].device, i % 2 ? "tdx4" : "tdx3");
                ck_assert_str_eq(devices[i].cdi, i % 2 ? "" : "kubevirt.io/tdx=dra-tdx5");
        }
}
END_TEST

SUITE("podresources", ids_of_the_resource_are_collected_over_pods_containers_and_numa_nodes,
      an_empty_list_has_no_ids, claims_devices_of_the_driver_are_collected_with_pool_and_cdi_name);
