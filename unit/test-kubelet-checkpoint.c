/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "plugin/kubelet_checkpoint.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static char told[256];

static void tell(void *owner, const char *id, const char *pod_uid)
{
        snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s:%s ", id, pod_uid);
}

static int parse(const char *text)
{
        struct error error = ERROR_NULL;

        told[0] = '\0';
        return kubelet_checkpoint_parse(text, strlen(text), "devices.kubevirt.io/tdx", tell, NULL,
                                        &error);
}

/* As kubelet 1.37.2 wrote it, and with more of everything. */
START_TEST(each_device_of_the_resource_is_told_with_its_pod)
{
        ck_assert_int_eq(
                parse("{\"Data\":{\"PodDeviceEntries\":[{\"PodUID\":\"e40eaf51\",\"ContainerName\":"
                      "\"compute\",\"ResourceName\":\"devices.kubevirt.io/tdx\",\"DeviceIDs\":"
                      "{\"-1\":[\"tdx3\"]},\"AllocResp\":\"EiYKEC92YXI=\"}],\"RegisteredDevices\":"
                      "{\"devices.kubevirt.io/tdx\":[\"tdx0\",\"tdx1\",\"tdx2\",\"tdx3\"]}},"
                      "\"Checksum\":2318051566}"),
                0);
        ck_assert_str_eq(told, "tdx3:e40eaf51 ");
        ck_assert_int_eq(parse("{\"Data\":{\"PodDeviceEntries\":["
                               "{\"PodUID\":\"a\",\"ResourceName\":\"devices.kubevirt.io/kvm\","
                               "\"DeviceIDs\":{\"-1\":[\"kvm3\"]}},"
                               "{\"PodUID\":\"a\",\"ResourceName\":\"devices.kubevirt.io/tdx\","
                               "\"DeviceIDs\":{\"0\":[\"tdx1\",\"tdx2\"],\"1\":[\"tdx7\"]}},"
                               "{\"PodUID\":\"b\",\"ResourceName\":\"devices.kubevirt.io/tdx\","
                               "\"DeviceIDs\":{\"0\":[\"tdx0\"]}}]}}"),
                         0);
        ck_assert_str_eq(told, "tdx1:a tdx2:a tdx7:a tdx0:b ");
}
END_TEST

START_TEST(a_checkpoint_of_nothing_tells_nothing)
{
        ck_assert_int_eq(parse("{\"Data\":{\"PodDeviceEntries\":null,\"RegisteredDevices\":{}}}"),
                         0);
        ck_assert_str_eq(told, "");
        ck_assert_int_eq(parse("{\"Data\":{}}"), 0);
        ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(what_is_no_such_checkpoint_is_an_error_and_odd_entries_are_passed_over)
{
        ck_assert_int_eq(parse(""), -EBADMSG);
        ck_assert_int_eq(parse("{\"Data\":"), -EBADMSG);
        ck_assert_int_eq(parse("[]"), -EBADMSG);
        ck_assert_int_eq(parse("{\"Data\":[]}"), -EBADMSG);
        ck_assert_int_eq(
                parse("{\"Data\":{\"PodDeviceEntries\":[7,null,{},"
                      "{\"ResourceName\":\"devices.kubevirt.io/tdx\",\"DeviceIDs\":[[\"tdx0\"]]},"
                      "{\"PodUID\":\"a\",\"ResourceName\":\"devices.kubevirt.io/tdx\","
                      "\"DeviceIDs\":\"tdx0\"},"
                      "{\"PodUID\":\"a\",\"ResourceName\":\"devices.kubevirt.io/tdx\","
                      "\"DeviceIDs\":{\"0\":[7,{},\"tdx1\"],\"1\":\"x\"}}]}}"),
                0);
        ck_assert_str_eq(told, "tdx1:a ");
}
END_TEST

SUITE("devicecheckpoint", each_device_of_the_resource_is_told_with_its_pod,
      a_checkpoint_of_nothing_tells_nothing,
      what_is_no_such_checkpoint_is_an_error_and_odd_entries_are_passed_over);
