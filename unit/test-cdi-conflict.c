/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/conflict.h"

#include "base/memory.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OURS                                                \
        "{\"cdiVersion\":\"0.3.0\",\"kind\":\"kubevirt.io/" \
        "tdx\",\"devices\":[{\"name\":\"dra-tdx0\"}]}"

static char directory[64];
static char *found;

static void put(const char *name, const char *text)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", directory, name);
        FILE *file = fopen(path, "w");

        ck_assert_ptr_nonnull(file);
        fputs(text, file);
        ck_assert_int_eq(fclose(file), 0);
}

static const char *find(void)
{
        free(found);
        found = cdi_conflict_find(directory);
        return found ? strrchr(found, '/') + 1 : "";
}

static void remove_file(const char *name)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", directory, name);

        ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_copy_of_the_spec_is_named_and_what_a_runtime_does_not_read_is_not)
{
        static const char *const passed_over[] = { "kubevirt.io-tdx.json", ".copy.json",
                                                   "kubevirt.io-tdx.json.bak", "notes.txt" };

        strcpy(directory, "/tmp/test-cdi-conflict.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        for (size_t i = 0; i < array_size(passed_over); ++i)
                put(passed_over[i], OURS);
        put("another.json", "{\"kind\":\"nvidia.com/gpu\",\"devices\":[{\"name\":\"dra-tdx0\"}]}");
        put("damaged.json", "{" OURS);
        ck_assert_str_eq(find(), "");
        put("old.yaml",
            "cdiVersion: 0.5.0\nkind: \"kubevirt.io/tdx\"\ndevices:\n- name: plugin-tdx0\n");
        ck_assert_str_eq(find(), "old.yaml");
        put("kubevirt.io-tdx.backup.json", OURS);
        ck_assert_str_eq(find(), "kubevirt.io-tdx.backup.json");

        for (size_t i = 0; i < array_size(passed_over); ++i)
                remove_file(passed_over[i]);
        remove_file("another.json");
        remove_file("damaged.json");
        remove_file("old.yaml");
        remove_file("kubevirt.io-tdx.backup.json");
        ck_assert_str_eq(find(), "");
        ck_assert_int_eq(rmdir(directory), 0);
        ck_assert_str_eq(find(), "");
}
END_TEST

START_TEST(a_spec_of_our_kind_names_us_by_its_devices)
{
        static const char other[] =
                "{\"kind\":\"kubevirt.io/tdx\",\"devices\":[{\"name\":\"tdx0\"},{},7]}";

        ck_assert(cdi_conflict_names_us(OURS, strlen(OURS), true));
        ck_assert(!cdi_conflict_names_us(other, strlen(other), true));
        ck_assert(!cdi_conflict_names_us("", 0, true));
        ck_assert(!cdi_conflict_names_us("kind: kubevirt.io/tdx", 21, false));
}
END_TEST

SUITE("cdi-conflict", a_copy_of_the_spec_is_named_and_what_a_runtime_does_not_read_is_not,
      a_spec_of_our_kind_names_us_by_its_devices);
