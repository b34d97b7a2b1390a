/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/spec.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct cdi_family dra[] = { { "dra-tdx", "claim-tdx" } };
static const struct cdi_family both[] = { { "dra-tdx", "claim-tdx" },
                                          { "plugin-tdx", "plugin-tdx" } };

static struct cdi_spec make_spec(const struct cdi_family *families, size_t n_families,
                                 size_t n_devices)
{
        return (struct cdi_spec){ .families = families,
                                  .n_families = n_families,
                                  .n_devices = n_devices,
                                  .mount = { "/run/dra/qgs", "/var/run/tdx-qgs" } };
}

START_TEST(two_devices_are_these_bytes)
{
        static const char golden[] =
                "{\"cdiVersion\":\"0.3.0\",\"kind\":\"kubevirt.io/tdx\",\"devices\":["
                "{\"name\":\"dra-tdx0\",\"containerEdits\":{\"mounts\":[{\"hostPath\":\"/run/dra/"
                "qgs\","
                "\"containerPath\":\"/var/run/tdx-qgs\","
                "\"options\":[\"bind\",\"ro\",\"nosuid\",\"nodev\",\"noexec\",\"rprivate\"]}]}},"
                "{\"name\":\"dra-tdx1\",\"containerEdits\":{\"mounts\":[{\"hostPath\":\"/run/dra/"
                "qgs\","
                "\"containerPath\":\"/var/run/tdx-qgs\","
                "\"options\":[\"bind\",\"ro\",\"nosuid\",\"nodev\",\"noexec\",\"rprivate\"]}]}}]}"
                "\n";
        const struct cdi_spec spec = make_spec(dra, 1, 2);
        _cleanup_(free) char *bytes = NULL;
        size_t n = 0;

        bytes = cdi_spec_build(&spec, &n);

        ck_assert_str_eq(bytes, golden);
        ck_assert_uint_eq(n, sizeof(golden) - 1);
}
END_TEST

START_TEST(a_device_may_mount_its_own_directory_or_a_file_in_it)
{
        struct cdi_spec spec = make_spec(both, 2, 2);
        _cleanup_(free) char *directories = NULL, *files = NULL;
        size_t n = 0;

        spec.mount.is_per_device = true;
        directories = cdi_spec_build(&spec, &n);
        ck_assert_ptr_nonnull(strstr(directories, "{\"hostPath\":\"/run/dra/qgs/claim-tdx1\","
                                                  "\"containerPath\":\"/var/run/tdx-qgs\","));
        ck_assert_ptr_nonnull(strstr(directories, "{\"hostPath\":\"/run/dra/qgs/plugin-tdx0\","));

        spec.mount.file = "qgs.socket";
        spec.mount.container_path = "/var/run/qgs.socket";
        files = cdi_spec_build(&spec, &n);
        ck_assert_ptr_nonnull(strstr(files, "{\"hostPath\":\"/run/dra/qgs/claim-tdx1/qgs.socket\","
                                            "\"containerPath\":\"/var/run/qgs.socket\","));
}
END_TEST

START_TEST(without_devices_there_is_no_file)
{
        const struct cdi_spec spec = make_spec(dra, 1, 0), none = make_spec(dra, 0, 3);
        size_t n = 7;

        ck_assert_ptr_null(cdi_spec_build(&spec, &n));
        ck_assert_uint_eq(n, 0);
        ck_assert_ptr_null(cdi_spec_build(&none, &n));
}
END_TEST

/* ---- the rules of the Go library, which are stricter than its JSON schema (pkg/parser, pkg/cdi)
 * ---- */

/* Starts with a letter, ends alphanumeric, and has only these in between. */
static bool is_name(const char *name, size_t n, const char *others)
{
        if (!n || !isalpha((unsigned char)name[0]) || !isalnum((unsigned char)name[n - 1]))
                return false;
        for (size_t i = 0; i < n; ++i)
                if (!isalnum((unsigned char)name[i]) && !strchr(others, name[i]))
                        return false;
        return true;
}

static void check_members(const struct json *object, const char *const *known, size_t n_known)
{
        ck_assert(json_is_object(object));
        for (const struct json *member = json_first(object); member; member = json_next(member)) {
                size_t i = 0;

                while (i < n_known && strcmp(json_key(member), known[i]) != 0)
                        ++i;
                ck_assert_msg(i < n_known, "strict readers reject %s", json_key(member));
        }
}

static void check_mount(const struct json *mount)
{
        static const char *const known[] = { "hostPath", "containerPath",
                                             "options" }; /* type needs 0.4.0 */
        bool is_bind = false, is_read_only = false;

        check_members(mount, known, array_size(known));
        ck_assert_int_eq(*json_string(json_get(mount, "hostPath")), '/');
        ck_assert_int_eq(*json_string(json_get(mount, "containerPath")), '/');
        ck_assert(json_is_array(json_get(mount, "options")));
        for (const struct json *option = json_first(json_get(mount, "options")); option;
             option = json_next(option)) {
                is_bind |= strcmp(json_string(option), "bind") == 0;
                is_read_only |= strcmp(json_string(option), "ro") == 0;
        }
        ck_assert(is_bind && is_read_only);
}

static void check_device(const struct json *device)
{
        static const char *const known[] = { "name", "containerEdits" }, *const edits[] = {
                "mounts"
        };
        const char *name = json_string(json_get(device, "name"));
        const struct json *mounts = json_get(json_get(device, "containerEdits"), "mounts");

        check_members(device, known, array_size(known));
        check_members(json_get(device, "containerEdits"), edits, array_size(edits));
        ck_assert(is_name(name, strlen(name), "_-.:"));
        ck_assert_uint_eq(json_count(mounts), 1);
        check_mount(json_first(mounts));
}

static void check_kind(const char *kind)
{
        const char *slash = strchr(kind, '/');

        ck_assert_ptr_nonnull(slash);
        ck_assert(is_name(kind, (size_t)(slash - kind), "_-."));
        /* A dot in the class needs 0.6.0. */
        ck_assert(is_name(slash + 1, strlen(slash + 1), "_-"));
        ck_assert_uint_le(strlen(slash + 1), 63);
}

START_TEST(the_rules_of_the_go_library_hold)
{
        static const char *const known[] = { "cdiVersion", "kind", "devices" };
        const struct cdi_spec spec = make_spec(both, 2, 3000);
        _cleanup_(free) char *bytes = NULL;
        _cleanup_(json) struct json *root = NULL;
        struct error error = ERROR_NULL;
        unsigned char *is_seen = xcalloc(2, 3000);
        size_t n = 0;

        bytes = cdi_spec_build(&spec, &n);

        ck_assert_msg(json_parse(bytes, n, &root, &error) == 0, "%s", error.text);
        check_members(root, known, array_size(known));
        ck_assert_str_eq(json_string(json_get(root, "cdiVersion")), "0.3.0");
        ck_assert_str_eq(json_string(json_get(root, "kind")), CDI_KIND);
        check_kind(CDI_KIND);
        ck_assert_uint_eq(json_count(json_get(root, "devices")), 2 * 3000);
        for (const struct json *device = json_first(json_get(root, "devices")); device;
             device = json_next(device)) {
                unsigned index, prefix;

                check_device(device);
                prefix = strncmp(json_string(json_get(device, "name")), "plugin", 6) == 0;
                ck_assert_int_eq(
                        sscanf(json_string(json_get(device, "name")) + strlen(both[prefix].name),
                               "%u", &index),
                        1);
                ck_assert_uint_lt(index, 3000);
                ck_assert_uint_eq(is_seen[prefix * 3000 + index]++, 0);
        }
        ck_assert_ptr_null(strpbrk(bytes, "\t\r")); /* YAML readers parse it */
        ck_assert_ptr_eq(strchr(bytes, '\n'), bytes + n - 1);
        free(is_seen);
}
END_TEST

START_TEST(paths_are_quoted_as_json_wants_them)
{
        const struct cdi_spec spec = {
                dra, 1, 1, { "/run/a \"b\"\\c", "/run/gr\xc3\xbc\xc3\x9f/%s" }
        };
        _cleanup_(free) char *bytes = NULL;
        _cleanup_(json) struct json *root = NULL;
        const struct json *mount;
        size_t n = 0;

        bytes = cdi_spec_build(&spec, &n);

        ck_assert_int_eq(json_parse(bytes, n, &root, NULL), 0);
        mount = json_first(json_get(
                json_get(json_first(json_get(root, "devices")), "containerEdits"), "mounts"));
        ck_assert_str_eq(json_string(json_get(mount, "hostPath")), spec.mount.host_path);
        ck_assert_str_eq(json_string(json_get(mount, "containerPath")), spec.mount.container_path);
}
END_TEST

START_TEST(a_device_has_a_qualified_name)
{
        _cleanup_(free) char *id = cdi_device_id("dra-tdx", 5);

        ck_assert_str_eq(id, "kubevirt.io/tdx=dra-tdx5");
}
END_TEST

START_TEST(the_file_name_is_one_that_runtimes_read)
{
        ck_assert_str_eq(&CDI_SPEC_FILE[strlen(CDI_SPEC_FILE) - 5], ".json");
        ck_assert_ptr_null(strchr(CDI_SPEC_FILE, '/'));
}
END_TEST

START_TEST(the_largest_spec_is_built_in_a_blink)
{
        const struct cdi_spec spec = make_spec(both, 2, 4096);
        struct timespec before, after;
        size_t n = 0;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        for (int i = 0; i < 5; ++i)
                free(cdi_spec_build(&spec, &n));
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);

        ck_assert_uint_gt(n, 1000000);
        /* A millisecond or two each; a tree of JSON objects takes ten times that, sanitizers more.
         */
        ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000 +
                                 (after.tv_nsec - before.tv_nsec) / 1000000,
                         500);
}
END_TEST

SUITE("cdi-spec", two_devices_are_these_bytes, a_device_may_mount_its_own_directory_or_a_file_in_it,
      without_devices_there_is_no_file, the_rules_of_the_go_library_hold,
      paths_are_quoted_as_json_wants_them, a_device_has_a_qualified_name,
      the_file_name_is_one_that_runtimes_read, the_largest_spec_is_built_in_a_blink);
