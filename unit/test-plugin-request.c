/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "plugin/request.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "deviceplugin.pb-c.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONTAINERS 66

/* An Allocate for containers whose IDs stand in one text each, with spaces between. */
struct asked {
        Deviceplugin__AllocateRequest request;
        Deviceplugin__ContainerAllocateRequest containers[CONTAINERS], *pointers[CONTAINERS];
        char *texts[CONTAINERS];
};

/* The words of a text, which is cut into them; the array is the caller's. */
static char **split(char *text, size_t *ret_n)
{
        char **words = NULL, *rest = text, *word;
        size_t n = 0;

        while ((word = strsep(&rest, " ")))
                if (*word) {
                        words = xreallocarray(words, n + 1, sizeof(*words));
                        words[n++] = word;
                }
        *ret_n = n;
        return words;
}

static void ask(struct asked *asked, const char *const *containers, size_t n)
{
        deviceplugin__allocate_request__init(&asked->request);
        for (size_t i = 0; i < n; ++i) {
                deviceplugin__container_allocate_request__init(&asked->containers[i]);
                asked->texts[i] = xstrdup(containers[i]);
                asked->containers[i].devices_ids =
                        split(asked->texts[i], &asked->containers[i].n_devices_ids);
                asked->pointers[i] = &asked->containers[i];
        }
        asked->request.n_container_requests = n;
        asked->request.container_requests = asked->pointers;
}

static void asked_deinit(struct asked *asked)
{
        for (size_t i = 0; i < asked->request.n_container_requests; ++i) {
                free(asked->containers[i].devices_ids);
                free(asked->texts[i]);
        }
}

/* What comes of it, as words, or the reason of the refusal. */
static char *collect(const char *const *containers, size_t n_containers, size_t n_offered,
                     int *ret_r)
{
        _cleanup_(free) const char **ids = NULL;
        __attribute__((cleanup(asked_deinit))) struct asked asked = { 0 };
        struct text text = TEXT_NULL;
        struct error error = ERROR_NULL;
        size_t n = 0;

        ask(&asked, containers, n_containers);
        *ret_r = plugin_request_collect(&asked.request, n_offered, &ids, &n, &error);
        if (*ret_r < 0) {
                ck_assert_ptr_null(ids);
                text_add(&text, error.text);
        }
        for (size_t i = 0; i < n; ++i)
                text_addf(&text, "%s%s", i ? " " : "", ids[i]);
        return text_take(&text);
}

START_TEST(the_ids_of_all_containers_are_collected_in_order)
{
        static const char *const containers[] = { "tdx3 tdx1", "tdx4095", "tdx0" };
        _cleanup_(free) char *said = NULL;
        int r;

        said = collect(containers, 3, 4, &r);

        ck_assert_int_eq(r, 0);
        ck_assert_str_eq(said, "tdx3 tdx1 tdx4095 tdx0");
}
END_TEST

START_TEST(a_request_that_makes_no_sense_is_refused_with_the_reason)
{
        static const struct {
                const char *containers[2];
                size_t n_containers;
                int r;
                const char *reason;
        } cases[] = {
                { { NULL }, 0, -EINVAL, "0 containers in one request" },
                { { "" }, 1, -EINVAL, "the request names no device" },
                { { "tdx0", "" }, 2, -EINVAL, "the request names no device" },
                { { "tdx0 tdx0" }, 1, -EINVAL, "device tdx0 is named twice" },
                { { "tdx0 tdx1", "tdx2 tdx1" }, 2, -EINVAL, "device tdx1 is named twice" },
                { { "tdx0", "sgx1" },
                  2,
                  -EINVAL,
                  "there is no device \"sgx1\": devices are named tdx0, tdx1, ..." },
                { { "tdx01" },
                  1,
                  -EINVAL,
                  "there is no device \"tdx01\": devices are named tdx0, tdx1, ..." },
                { { "tdx4096" },
                  1,
                  -EINVAL,
                  "there is no device \"tdx4096\": devices are named tdx0, tdx1, ..." },
                { { "tdx0 tdx1 tdx2", "tdx3 tdx4" },
                  2,
                  -ENOSPC,
                  "the pod asks for 5 TDs, this node has 4" },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                _cleanup_(free) char *said = NULL;
                int r;

                said = collect(cases[i].containers, cases[i].n_containers, 4, &r);

                ck_assert_int_eq(r, cases[i].r);
                ck_assert_str_eq(said, cases[i].reason);
        }
}
END_TEST

START_TEST(as_many_containers_are_served_as_there_is_room_for_and_no_more)
{
        const char *containers[CONTAINERS];
        char names[CONTAINERS][8];
        int r;

        for (unsigned i = 0; i < CONTAINERS; ++i) {
                snprintf(names[i], sizeof(names[i]), "tdx%u", i);
                containers[i] = names[i];
        }
        free(collect(containers, PLUGIN_REQUEST_CONTAINERS_MAX, DEVICE_INDEX_MAX, &r));
        ck_assert_int_eq(r, 0);
        free(collect(containers, PLUGIN_REQUEST_CONTAINERS_MAX + 1, DEVICE_INDEX_MAX, &r));

        ck_assert_int_eq(r, -EINVAL);
}
END_TEST

START_TEST(what_must_be_included_is_preferred_and_then_the_highest_of_what_is_available)
{
        static const struct {
                const char *available, *must_include;
                int32_t size;
                const char *preferred;
        } cases[] = {
                { "tdx0 tdx1 tdx2", "", 1, "tdx2" },
                { "tdx9 tdx100 tdx10", "", 2, "tdx100 tdx10" }, /* numbers, not texts */
                { "tdx2 tdx0 tdx1", "tdx0", 2, "tdx0 tdx2" },
                { "tdx0 tdx1 tdx2", "tdx2", 2, "tdx2 tdx1" }, /* not twice */
                { "tdx0 tdx1 tdx2", "tdx1 tdx0", 2, "tdx1 tdx0" },
                { "tdx0 tdx1 tdx2", "tdx1 tdx0", 1, "tdx1" },
                { "tdx0", "tdx7", 5, "tdx7 tdx0" }, /* more than there is */
                { "tdx0 tdx0", "", 2, "tdx0" },
                { "tdx4095 sgx1 tdx01", "sgx0", 4, "sgx0 tdx4095" },
                { "tdx0", "tdx1", 0, "" },
                { "tdx0", "tdx1", -1, "" },
                { "tdx0", "", INT32_MIN, "" },
                { "tdx0", "", INT32_MAX, "tdx0" },
                { "", "", 1, "" },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                Deviceplugin__ContainerPreferredAllocationRequest request =
                        DEVICEPLUGIN__CONTAINER_PREFERRED_ALLOCATION_REQUEST__INIT;
                _cleanup_(free) char *available = NULL, *must_include = NULL;
                _cleanup_(text) struct text said = TEXT_NULL;
                char **ids;
                size_t n;

                available = xstrdup(cases[i].available);
                must_include = xstrdup(cases[i].must_include);
                request.available_deviceids = split(available, &request.n_available_deviceids);
                request.must_include_deviceids =
                        split(must_include, &request.n_must_include_deviceids);
                request.allocation_size = cases[i].size;
                ids = plugin_request_prefer(&request, &n);
                text_add(&said, "");
                for (size_t j = 0; j < n; ++j)
                        text_addf(&said, "%s%s", j ? " " : "", ids[j]);

                ck_assert_msg(strcmp(said.bytes, cases[i].preferred) == 0,
                              "case %zu: \"%s\" instead of \"%s\"", i, said.bytes,
                              cases[i].preferred);
                free(ids);
                free(request.available_deviceids);
                free(request.must_include_deviceids);
        }
}
END_TEST

SUITE("devicerequest", the_ids_of_all_containers_are_collected_in_order,
      a_request_that_makes_no_sense_is_refused_with_the_reason,
      as_many_containers_are_served_as_there_is_room_for_and_no_more,
      what_must_be_included_is_preferred_and_then_the_highest_of_what_is_available);
