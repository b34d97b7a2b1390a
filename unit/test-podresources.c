/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/podresources.h"

#include "base/memory.h"
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
        __attribute__((cleanup(cleanup_free))) const char **ids = NULL;
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
        __attribute__((cleanup(cleanup_free))) const char **ids = NULL;
        size_t n = 1;

        ids = podresources_collect(&list, TDX, &n);

        ck_assert_uint_eq(n, 0);
}
END_TEST

SUITE("podresources", ids_of_the_resource_are_collected_over_pods_containers_and_numa_nodes,
      an_empty_list_has_no_ids);
