/* SPDX-License-Identifier: Apache-2.0 */
/* The settings half of attestation: the record of the last run, and what flags and CR make
 * together. The verdict on QGS has tests of its own. */
#include "attestation.h"

#include "attestation_facts.h"
#include "attestation_record.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "config.h"
#include "kube/api.h"
#include "unit/stub-http.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- the record ---- */

static int take_all(const char *path, struct error *err)
{
        return strncmp(path, "/bad", 4) == 0 ? error_set(err, -EINVAL, "%s is bad", path) : 0;
}

static struct kubevirt_attestation parsed(const char *text, int outcome)
{
        struct kubevirt_attestation values = KUBEVIRT_ATTESTATION_NULL;
        struct error error = ERROR_NULL;

        ck_assert_msg(attestation_record_parse(text, strlen(text), take_all, &values, &error) ==
                              outcome,
                      "%s: %s", text, error.text);
        ck_assert_int_eq(!outcome, !error.text[0]);
        return values;
}

START_TEST(what_is_recorded_is_read_again_by_field)
{
        struct kubevirt_attestation values = { .is_enforced = true,
                                               .qgs_socket = xstrdup("/run/a \"b\"/s"),
                                               .qgs_socket_refusal = xstrdup("it is \"x\"; no") };
        _cleanup_(free) char *text = attestation_record_build(&values);
        struct kubevirt_attestation again = parsed(text, 0);

        ck_assert(kubevirt_attestation_equal(&values, &again));
        kubevirt_attestation_deinit(&again);
        kubevirt_attestation_deinit(&values);
        again = parsed("{\"enforced\":false,\"qgsSocketPath\":\"/run/a/s\"}", 0);
        ck_assert(!again.is_enforced);
        ck_assert_ptr_null(again.qgs_socket_refusal);
        kubevirt_attestation_deinit(&again);
}
END_TEST

START_TEST(half_a_record_gives_the_half_that_is_right)
{
        struct kubevirt_attestation values;

        values = parsed("{\"enforced\":true,\"qgsSocketPath\":\"/bad/s\"}",
                        ATTESTATION_RECORD_PARTIAL);
        ck_assert(values.is_enforced);
        ck_assert_str_eq(values.qgs_socket, KUBEVIRT_QGS_SOCKET);
        kubevirt_attestation_deinit(&values);
        values = parsed("{\"enforced\":true}", ATTESTATION_RECORD_PARTIAL);
        ck_assert(values.is_enforced);
        kubevirt_attestation_deinit(&values);
        values = parsed("{\"enforced\":\"true\",\"qgsSocketPath\":\"/run/a/s\"}",
                        ATTESTATION_RECORD_PARTIAL);
        ck_assert(!values.is_enforced);
        ck_assert_str_eq(values.qgs_socket, "/run/a/s");
        kubevirt_attestation_deinit(&values);
        /* It would go into a log line. */
        values = parsed("{\"enforced\":true,\"qgsSocketPath\":\"/run/a/s\","
                        "\"qgsSocketPathRefused\":\"a\\nb\"}",
                        0);
        ck_assert_ptr_null(values.qgs_socket_refusal);
        kubevirt_attestation_deinit(&values);
}
END_TEST

START_TEST(what_is_no_record_gives_nothing)
{
        static const char *const table[] = { "", "{", "[]", "7", "\"enforced\"", "{} {}" };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct kubevirt_attestation values = KUBEVIRT_ATTESTATION_NULL;
                struct error error = ERROR_NULL;

                ck_assert_msg(attestation_record_parse(table[i], strlen(table[i]), take_all,
                                                       &values, &error) == -EBADMSG,
                              "%s", table[i]);
                ck_assert_ptr_null(values.qgs_socket);
        }
}
END_TEST

/* ---- flags, CR and record together ---- */

static uv_loop_t loop;
static struct stub_server server;
static struct http *http;
static struct kube_api *api;
static struct attestation *attestation;
static struct attestation_facts facts;
static char directory[64];
static struct config config;

static void on_changed(void *owner)
{
        attestation_facts(attestation, &facts);
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

/* NULL: no record. */
static void enter(const char *record)
{
        snprintf(directory, sizeof(directory), "/tmp/test-att.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        config = (struct config){ .host_root = directory,
                                  .kubelet_dir = (char *)"/var/lib/kubelet",
                                  .device_plugin_dir = (char *)"/var/lib/kubelet/device-plugins",
                                  .cdi_dir = (char *)"/var/run/cdi",
                                  .state_dir = directory };
        if (record) {
                _cleanup_(close) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                ck_assert_int_eq(file_replace(fd, ATTESTATION_RECORD, record, strlen(record), 0600,
                                              FILE_UNSYNCED, NULL),
                                 0);
        }
}

static void start(const struct stub_answer *answers, size_t n_answers)
{
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        stub_start(&server, &loop, answers, n_answers);
        http = stub_client(&server);
        api = kube_api_new(http);
        attestation = attestation_new(&(struct attestation_options){
                .loop = &loop, .config = &config, .api = api, .on_changed = on_changed });
        attestation_facts(attestation, &facts);
}

static bool is_settled_by_the_cluster(void)
{
        return facts.is_known;
}

static void run_until(bool (*is_met)(void))
{
        stub_set_deadline(&server);
        while (!is_met())
                uv_run(&loop, UV_RUN_ONCE);
        uv_timer_stop(&server.tick);
}

static void leave(void)
{
        attestation_stop(attestation);
        attestation_free(attestation);
        kube_api_free(api);
        http_free(http);
        stub_stop(&server);
        ck_assert_int_eq(nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void ck_assert_record(const char *text)
{
        _cleanup_(free) char *path = xasprintf("%s/" ATTESTATION_RECORD, directory);
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n;

        if (!text) {
                ck_assert_int_eq(file_read(AT_FDCWD, path, 4096, &bytes, &n, NULL), -ENOENT);
                return;
        }
        ck_assert_msg(file_read(AT_FDCWD, path, 4096, &bytes, &n, &error) == 0, "%s", error.text);
        ck_assert_msg(strstr(bytes, text) != NULL, "%s", bytes);
}

#define CR(attestation)                                                                            \
        {                                                                                          \
                200, NULL,                                                                         \
                        "{\"kind\":\"KubeVirtList\",\"metadata\":{\"resourceVersion\":\"10\"},"    \
                        "\"items\":[{"                                                             \
                        "\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\"},\"spec\":{"            \
                        "\"configuration\":{"                                                      \
                        "\"confidentialCompute\":{\"tdx\":{\"attestation\":" attestation "}}}}}]}" \
        }
#define STREAM                                     \
        {                                          \
                200, NULL, NULL, .is_stream = true \
        }
#define FORBIDDEN                                                                  \
        {                                                                          \
                403, NULL, "{\"kind\":\"Status\",\"message\":\"no\",\"code\":403}" \
        }

START_TEST(enforced_beside_a_refused_path_is_in_force_and_recorded)
{
        static const struct stub_answer answers[] = {
                CR("{\"enforced\":true,\"qgsSocketPath\":\"/var/run/qgs.socket\"}"), STREAM
        };

        enter(NULL);
        start(answers, 2);
        ck_assert(!facts.is_known);
        run_until(is_settled_by_the_cluster);

        ck_assert(!facts.is_schedulable[ATTESTATION_CDI]);
        ck_assert(!facts.is_schedulable[ATTESTATION_MOUNTS]);
        ck_assert_str_eq(facts.state, "path-refused");
        ck_assert_ptr_nonnull(strstr(facts.description, "\"/var/run/qgs.socket\""));
        ck_assert(facts.refuses_path && !facts.refuses_enforced);
        ck_assert_ptr_null(facts.doubt);
        ck_assert_str_eq(facts.host_directory, "/var/run/tdx-qgs");
        ck_assert_record("{\"enforced\":true,\"qgsSocketPath\":\"/var/run/tdx-qgs/qgs.socket\","
                         "\"qgsSocketPathRefused\":");
        leave();
}
END_TEST

START_TEST(with_both_flags_the_crs_path_decides_nothing_but_enforced_does)
{
        static const struct stub_answer answers[] = {
                CR("{\"enforced\":true,\"qgsSocketPath\":\"/var/run/qgs.socket\"}"), STREAM
        };

        enter(NULL);
        config.qgs_socket = (char *)"/run/q/s";
        config.vm_qgs_socket = (char *)"/run/vm/s";
        start(answers, 2);
        run_until(is_settled_by_the_cluster);

        ck_assert(!facts.refuses_path);
        ck_assert(!facts.is_schedulable[ATTESTATION_CDI]);
        ck_assert_str_eq(facts.state, "absent");
        ck_assert_str_eq(facts.vm_directory, "/run/vm");
        leave();
}
END_TEST

/* A QGS that takes requests and says nothing, at /var/run/tdx-qgs/qgs.socket. */
static int make_silent_qgs(void)
{
        static const char *const below[] = { "/var", "/var/run", "/var/run/tdx-qgs" };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        for (size_t i = 0; i < array_size(below); ++i) {
                _cleanup_(free) char *path = xasprintf("%s%s", directory, below[i]);

                ck_assert_int_eq(mkdir(path, 0755), 0);
        }
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/var/run/tdx-qgs/qgs.socket",
                 directory);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(chmod(address.sun_path, 0666), 0);
        ck_assert_int_eq(listen(fd, 8), 0);
        return fd;
}

static bool is_schedulable(void)
{
        return facts.is_schedulable[ATTESTATION_MOUNTS];
}

START_TEST(while_qgs_was_not_heard_yet_vms_are_placed_as_soon_as_nothing_enforces_it)
{
        static const struct stub_answer answers[] = { CR("{\"enforced\":false}"), STREAM };
        int qgs_fd;

        enter(NULL);
        qgs_fd = make_silent_qgs();
        start(answers, 2);
        /* The cluster may enforce it. */
        ck_assert(!facts.is_schedulable[ATTESTATION_CDI]);
        run_until(is_schedulable);

        ck_assert(!facts.is_known);
        ck_assert(!facts.works[ATTESTATION_CDI]);
        close(qgs_fd);
        leave();
}
END_TEST

START_TEST(while_qgs_was_not_heard_yet_no_vm_is_placed_if_it_is_enforced)
{
        static const struct stub_answer answers[] = { CR("{\"enforced\":true}"), STREAM };
        int qgs_fd;

        enter(NULL);
        qgs_fd = make_silent_qgs();
        start(answers, 2);
        run_until(is_settled_by_the_cluster); /* after its five seconds */

        ck_assert_str_eq(facts.state, "hung");
        ck_assert(!is_schedulable());
        close(qgs_fd);
        leave();
}
END_TEST

START_TEST(a_flag_that_settles_enforcement_is_not_overruled_by_a_refused_value)
{
        static const struct stub_answer answers[] = { CR("{\"enforced\":\"yes\"}"), STREAM };

        enter(NULL);
        config.attestation = CONFIG_OPTIONAL;
        start(answers, 2);
        run_until(is_settled_by_the_cluster);

        ck_assert(facts.is_schedulable[ATTESTATION_CDI]);
        ck_assert(!facts.refuses_enforced);
        leave();
}
END_TEST

START_TEST(a_cr_that_may_not_be_read_leaves_the_last_known_settings_and_their_record)
{
        static const struct stub_answer answers[] = { FORBIDDEN };

        enter("{\"enforced\":true,\"qgsSocketPath\":\"/run/k/s\"}");
        start(answers, 1);
        run_until(is_settled_by_the_cluster);

        ck_assert(!facts.is_schedulable[ATTESTATION_CDI]);
        ck_assert_str_eq(facts.host_directory, "/run/k");
        ck_assert_ptr_null(facts.doubt);
        ck_assert_record("/run/k/s");
        leave();
}
END_TEST

START_TEST(a_cr_that_may_not_be_read_with_nothing_known_is_a_doubt_and_no_record)
{
        static const struct stub_answer answers[] = { FORBIDDEN };

        enter(NULL);
        start(answers, 1);
        run_until(is_settled_by_the_cluster);

        ck_assert(facts.is_schedulable[ATTESTATION_CDI]);
        ck_assert_ptr_nonnull(strstr(facts.doubt, "are not permitted"));
        ck_assert_record(NULL);
        leave();
}
END_TEST

START_TEST(a_refused_path_of_the_last_run_is_refused_until_the_cluster_says_otherwise)
{
        static const struct stub_answer answers[] = { FORBIDDEN };

        enter("{\"enforced\":true,\"qgsSocketPath\":\"/run/k/"
              "s\",\"qgsSocketPathRefused\":\"why\"}");
        start(answers, 1);
        run_until(is_settled_by_the_cluster);

        ck_assert_str_eq(facts.state, "path-refused");
        ck_assert_str_eq(facts.description, "why");
        leave();
}
END_TEST

START_TEST(run_is_seen_where_the_pod_has_var_run)
{
        static const struct stub_answer answers[] = {
                CR("{\"qgsSocketPath\":\"/run/tdx-qgs/qgs.socket\"}"), STREAM
        };
        _cleanup_(free) char *seen = NULL, *run = NULL, *var = NULL;

        enter(NULL);
        var = xasprintf("%s/var", directory);
        run = xasprintf("%s/run", var);
        seen = xasprintf("%s/tdx-qgs", run);
        ck_assert_int_eq(mkdir(var, 0755), 0);
        ck_assert_int_eq(mkdir(run, 0755), 0);
        start(answers, 2);
        run_until(is_settled_by_the_cluster);

        ck_assert_str_eq(facts.host_directory, "/run/tdx-qgs");
        ck_assert_str_eq(facts.vm_directory, "/run/tdx-qgs");
        ck_assert_str_eq(facts.seen_directory, seen);
        leave();
}
END_TEST

SUITE("attestation", what_is_recorded_is_read_again_by_field,
      half_a_record_gives_the_half_that_is_right, what_is_no_record_gives_nothing,
      enforced_beside_a_refused_path_is_in_force_and_recorded,
      with_both_flags_the_crs_path_decides_nothing_but_enforced_does,
      while_qgs_was_not_heard_yet_vms_are_placed_as_soon_as_nothing_enforces_it,
      while_qgs_was_not_heard_yet_no_vm_is_placed_if_it_is_enforced,
      a_flag_that_settles_enforcement_is_not_overruled_by_a_refused_value,
      a_cr_that_may_not_be_read_leaves_the_last_known_settings_and_their_record,
      a_cr_that_may_not_be_read_with_nothing_known_is_a_doubt_and_no_record,
      a_refused_path_of_the_last_run_is_refused_until_the_cluster_says_otherwise,
      run_is_seen_where_the_pod_has_var_run);
