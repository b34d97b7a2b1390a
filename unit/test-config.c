/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/text.h"
#include "unit/suite.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ARGUMENTS_MAX 12

/* Parses the arguments, which are separated by single blanks. */
static int parse(const char *line, struct config *ret, struct error *err)
{
        _cleanup_(free) char *words = xstrdup(line);
        char *arguments[ARGUMENTS_MAX], *rest = words;
        int n = 0;

        for (char *word; (word = strsep(&rest, " "));)
                if (*word || rest)
                        arguments[n++] = word;
        return config_parse(n, arguments, ret, err);
}

static void enter(void)
{
        ck_assert_int_eq(clearenv(), 0);
}

START_TEST(without_flags_the_defaults_are_in_force)
{
        _cleanup_(config) struct config config = CONFIG_NULL;
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(parse("", &config, &error), 0);

        ck_assert_ptr_null(config.node_name);
        ck_assert_ptr_null(config.qgs_socket);
        ck_assert_ptr_null(config.listen);
        ck_assert_str_eq(config.kubelet_dir, "/var/lib/kubelet");
        ck_assert_str_eq(config.cdi_dir, "/var/run/cdi");
        ck_assert_str_eq(config.cgroup_root, "/sys/fs/cgroup");
        ck_assert_str_eq(config.host_root, "");
        ck_assert_str_eq(config.state_dir, "/var/lib/kubelet/plugins/tdx.kubevirt.io");
        ck_assert_int_eq(config.capacity, -1);
        ck_assert_uint_eq(config.reserve, 0);
        ck_assert_int_eq(config.split, -1);
        ck_assert(config.serves_dra && config.serves_plugin && config.is_durable);
        ck_assert(!config.is_injecting_cdi);
        ck_assert_int_eq(config.attestation, CONFIG_FROM_KUBEVIRT);
        ck_assert_uint_eq(config.prepare_wait_ms, 30000);
        ck_assert_uint_eq(config.poll_interval_ms, 30000);
}
END_TEST

START_TEST(a_flag_wins_over_its_variable_and_the_last_flag_over_the_first)
{
        _cleanup_(config) struct config config = CONFIG_NULL;
        struct error error = ERROR_NULL;

        enter();
        setenv("DRA_RESERVE", "2", 1);
        setenv("DRA_CAPACITY", "9", 1);
        setenv("NODE_NAME", "from-pod", 1);
        setenv("DRA_CDI_DIR", "/etc/cdi", 1);

        ck_assert_int_eq(parse("--reserve 3 --cdi-dir=/a --cdi-dir /b=c", &config, &error), 0);

        ck_assert_uint_eq(config.reserve, 3);
        ck_assert_int_eq(config.capacity, 9);
        ck_assert_str_eq(config.node_name, "from-pod");
        ck_assert_str_eq(config.cdi_dir, "/b=c");
}
END_TEST

START_TEST(a_flags_own_variable_wins_over_that_of_the_downward_api)
{
        _cleanup_(config) struct config config = CONFIG_NULL;
        struct error error = ERROR_NULL;

        enter();
        setenv("NODE_NAME", "from-pod", 1);
        setenv("POD_UID", "", 1); /* as if it were not set */
        setenv("DRA_NODE_NAME", "from-admin", 1);

        ck_assert_int_eq(parse("", &config, &error), 0);

        ck_assert_str_eq(config.node_name, "from-admin");
        ck_assert_ptr_null(config.pod_uid);
}
END_TEST

START_TEST(values_that_fit_are_taken)
{
        static const struct {
                const char *line;
                size_t offset;
                int64_t value; /* of an int64_t or uint64_t */
        } cases[] = {
                { "--capacity 0", offsetof(struct config, capacity), 0 },
                { "--capacity 4096", offsetof(struct config, capacity), 4096 },
                { "--share dynamic", offsetof(struct config, split), -1 },
                { "--share split=0", offsetof(struct config, split), 0 },
                { "--share split=4096", offsetof(struct config, split), 4096 },
                { "--prepare-wait 0", offsetof(struct config, prepare_wait_ms), 0 },
                { "--prepare-wait 40s", offsetof(struct config, prepare_wait_ms), 40000 },
                { "--reconcile-after 1s", offsetof(struct config, reconcile_after_ms), 1000 },
                { "--poll-interval 100ms", offsetof(struct config, poll_interval_ms), 100 },
                { "--poll-interval 30s", offsetof(struct config, poll_interval_ms), 30000 },
        };

        enter();
        for (size_t i = 0; i < array_size(cases); ++i) {
                _cleanup_(config) struct config config = CONFIG_NULL;
                struct error error = ERROR_NULL;
                int64_t value;

                ck_assert_msg(!parse(cases[i].line, &config, &error), "%s", error.text);
                memcpy(&value, (char *)&config + cases[i].offset, sizeof(value));
                ck_assert_msg(value == cases[i].value, "%s", cases[i].line);
        }
}
END_TEST

START_TEST(a_value_out_of_its_range_is_refused_with_what_the_flag_takes)
{
        static const struct {
                const char *line, *words;
        } cases[] = {
                { "--capacity -1", "--capacity: \"-1\" is not a number of TDs from 0 to 4096" },
                { "--capacity 4097", "0 to 4096" },
                { "--reserve 1.5", "--reserve: \"1.5\"" },
                { "--share split=", "split=K" },
                { "--share split=4097", "split=K" },
                { "--share none", "dynamic, or split=K" },
                { "--serve all", "dra, plugin, both" },
                { "--plugin-inject env", "mounts or cdi" },
                { "--attestation yes", "from-kubevirt, enforced, optional" },
                { "--prepare-wait 41s", "0 to 40s" },
                { "--reconcile-after 0", "1s to 1h" },
                { "--poll-interval 99ms", "100ms to 30s" },
                { "--poll-interval 31s", "100ms to 30s" },
                { "--durable maybe", "yes or no" },
                { "--log-level loud", "error, warn, info, debug" },
                { "--log-format xml", "text, json" },
                { "--listen 8080", "--listen" },
                { "--kubelet-dir=", "--kubelet-dir" },
                { "--capacity", "--capacity needs a value: N" },
                { "--qgs /x", "direct or relay" },
                { "--quotes /x", "no flag \"--quotes\"" },
                { "--This node=1", "no flag" },
                { "stray", "\"stray\" is not a flag" },
                { "-- x", "no flag" },
        };

        enter();
        for (size_t i = 0; i < array_size(cases); ++i) {
                struct config config = CONFIG_NULL;
                struct error error = ERROR_NULL;

                ck_assert_msg(parse(cases[i].line, &config, &error) == -EINVAL, "%s",
                              cases[i].line);
                ck_assert_msg(strstr(error.text, cases[i].words), "%s: %s", cases[i].line,
                              error.text);
        }
}
END_TEST

START_TEST(a_variable_that_is_wrong_is_named)
{
        struct config config = CONFIG_NULL;
        struct error error = ERROR_NULL;

        enter();
        setenv("DRA_POLL_INTERVAL", "1h", 1);

        ck_assert_int_eq(parse("", &config, &error), -EINVAL);

        ck_assert_ptr_nonnull(strstr(error.text, "environment variable DRA_POLL_INTERVAL"));
        ck_assert_ptr_nonnull(strstr(error.text, "100ms to 30s"));
}
END_TEST

START_TEST(each_path_can_be_served_alone)
{
        static const struct {
                const char *line;
                bool serves_dra, serves_plugin;
        } cases[] = {
                { "--serve dra", true, false },
                { "--serve plugin", false, true },
                { "--serve both", true, true },
                { "--serve dra --serve plugin", false, true },
        };

        enter();
        for (size_t i = 0; i < array_size(cases); ++i) {
                _cleanup_(config) struct config config = CONFIG_NULL;
                struct error error = ERROR_NULL;

                ck_assert_int_eq(parse(cases[i].line, &config, &error), 0);
                ck_assert(config.serves_dra == cases[i].serves_dra);
                ck_assert(config.serves_plugin == cases[i].serves_plugin);
        }
}
END_TEST

START_TEST(with_a_pod_uid_each_instance_has_its_own_sockets)
{
        _cleanup_(config) struct config config = CONFIG_NULL;
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(parse("--pod-uid 11-22 --kubelet-dir /k", &config, &error), 0);

        ck_assert_ptr_nonnull(strstr(config.dra_socket, "11-22"));
        ck_assert_ptr_nonnull(strstr(config.registration_socket, "11-22"));
        ck_assert_str_eq(config.state_dir, "/k/plugins/tdx.kubevirt.io");
}
END_TEST

START_TEST(what_run_needs_beyond_that_is_checked_with_the_remedy)
{
        static const struct {
                const char *line, *words; /* NULL: fit */
        } cases[] = {
                { "--node-name n", NULL },
                { "--node-name n --qgs-socket /run/a/q --vm-qgs-socket /run/b/q", NULL },
                { "", "--node-name, or NODE_NAME" },
                { "--node-name N_", "--node-name: \"N_\"" },
                { "--node-name n --pod-uid ../x", "--pod-uid" },
                { "--node-name n --kubelet-dir k", "--kubelet-dir: k is not an absolute path" },
                { "--node-name n --cdi-dir cdi", "--cdi-dir: cdi is not an absolute path" },
                { "--node-name n --qgs-socket /run/qgs.socket", "--qgs-socket" },
                { "--node-name n --qgs-socket /run/a/q", "differ in their file names" },
                { "--node-name n --qgs-socket /run/a/q --vm-qgs-socket /run/b/p",
                  "differ in their file names" },
                { "--node-name n --vm-qgs-socket /etc/x/qgs.socket", "--vm-qgs-socket" },
                { "--node-name n --kubelet-dir /k --qgs-socket /k/x/qgs.socket",
                  "lies in --kubelet-dir" },
                { "--node-name n --cdi-dir /c --qgs-socket /c/x/qgs.socket", "lies in --cdi-dir" },
        };

        enter();
        for (size_t i = 0; i < array_size(cases); ++i) {
                _cleanup_(config) struct config config = CONFIG_NULL;
                struct error error = ERROR_NULL;
                int r;

                ck_assert_msg(!parse(cases[i].line, &config, &error), "%s", error.text);
                r = config_check(&config, &error);

                ck_assert_msg(r == (cases[i].words ? -EINVAL : 0), "%s: %s", cases[i].line,
                              error.text);
                if (cases[i].words)
                        ck_assert_msg(strstr(error.text, cases[i].words), "%s: %s", cases[i].line,
                                      error.text);
        }
}
END_TEST

START_TEST(help_may_be_asked_for_anywhere)
{
        struct config config = CONFIG_NULL;
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(parse("--help", &config, &error), CONFIG_HELP);
        ck_assert_int_eq(parse("--capacity 3 -h", &config, &error), CONFIG_HELP);
}
END_TEST

START_TEST(the_flags_are_shown_in_groups_and_fit_the_width)
{
        _cleanup_(text) struct text text = TEXT_NULL;
        unsigned n_headings = 0, n_flags = 0, n_variables = 0;
        char *rest;

        config_describe_flags(&text);
        rest = text.bytes;
        for (char *line; (line = strsep(&rest, "\n"));) {
                ck_assert_msg(strlen(line) <= OPTIONS_WIDTH, "%s", line);
                n_headings += *line && *line != ' ';
                n_flags += strncmp(line, "  --", 4) == 0;
                /* A blank parts the flag from its meaning. */
                if (strlen(line) > OPTIONS_INDENT)
                        ck_assert_msg(line[OPTIONS_INDENT - 1] == ' ' || *line != ' ', "%s", line);
                n_variables += strstr(line, "[DRA_") != NULL;
        }

        ck_assert_uint_ge(n_headings, 5);
        ck_assert_uint_ge(n_flags, 25);
        ck_assert_uint_eq(n_variables, n_flags);
}
END_TEST

SUITE("config", without_flags_the_defaults_are_in_force,
      a_flag_wins_over_its_variable_and_the_last_flag_over_the_first,
      a_flags_own_variable_wins_over_that_of_the_downward_api, values_that_fit_are_taken,
      a_value_out_of_its_range_is_refused_with_what_the_flag_takes,
      a_variable_that_is_wrong_is_named, each_path_can_be_served_alone,
      with_a_pod_uid_each_instance_has_its_own_sockets,
      what_run_needs_beyond_that_is_checked_with_the_remedy, help_may_be_asked_for_anywhere,
      the_flags_are_shown_in_groups_and_fit_the_width);
