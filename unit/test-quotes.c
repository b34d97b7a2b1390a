/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver makes of the quotes that the relay reports, and whose TD each came from. */
#include "quotes.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "config.h"
#include "ledger.h"
#include "tenant.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uv.h>

static uv_loop_t loop;
static char directory[32];
static struct config config;
static bool is_active;

static bool find_holder(void *owner, const struct relay_td *td, struct tenant *ret)
{
        ck_assert_ptr_eq(owner, &loop);
        *ret = (struct tenant){ .namespace_ = "default", .claim = td->device ? "other" : "one" };
        return is_active;
}

static struct quotes *enter(const char *log)
{
        const struct quotes_options options = {
                .loop = &loop, .config = &config, .find_holder = find_holder, .owner = &loop
        };

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        memcpy(directory, "/tmp/dra-quotes.XXXXXX", sizeof("/tmp/dra-quotes.XXXXXX"));
        ck_assert_ptr_nonnull(mkdtemp(directory));
        config = (struct config){ .node_name = xstrdup("node1"),
                                  .quote_log = strcmp(log, "journal") == 0
                                                       ? xstrdup(log)
                                                       : xasprintf("%s/%s", directory, log),
                                  .host_root = xstrdup(directory) };
        is_active = true;
        return quotes_new(&options);
}

static void leave(struct quotes *quotes)
{
        quotes_free(quotes);
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        config_deinit(&config);
        ck_assert_int_eq(rmdir(directory), 0);
}

static void say(struct quotes *quotes, enum relay_outcome outcome)
{
        const struct relay_message message = {
                .kind = RELAY_QUOTE,
                .quote = { .time_ms = 1700000000123, .outcome = outcome, .us = 41999 }
        };

        quotes_take(quotes, &message);
}

/* The caller's; "" if there is no file. */
static char *read_log(void)
{
        struct error error = ERROR_NULL;
        char *bytes = NULL;
        size_t n;

        return file_read(AT_FDCWD, config.quote_log, 4096, &bytes, &n, &error) < 0 ? xstrdup("")
                                                                                   : bytes;
}

START_TEST(a_line_says_who_attested_when)
{
        const struct tenant holder = { "default", "vm-tdx", "8d3c" };
        const struct tenant nobody = { 0 };
        struct relay_quote quote = { .time_ms = 1700000000005,
                                     .td = { 5, RELAY_CLAIM },
                                     .outcome = RELAY_DELIVERED,
                                     .us = 41234,
                                     .has_digest = true,
                                     .digest = { 0x6b, 0x86, [31] = 0x0f } };
        _cleanup_(free) char *line = quotes_print(&quote, "n1", &holder), *other = NULL,
                             *last = NULL;

        ck_assert_str_eq(line, "{\"time\":\"2023-11-14T22:13:20.005Z\",\"node\":\"n1\","
                               "\"device\":\"tdx5\",\"path\":\"claim\",\"namespace\":\"default\","
                               "\"claim\":\"vm-tdx\",\"podUid\":\"8d3c\","
                               "\"outcome\":\"delivered\",\"ms\":41,\"reportDataSha256\":"
                               "\"6b8600000000000000000000000000000000000000000000000000000000000f"
                               "\"}\n");

        quote = (struct relay_quote){ .td = { 0, RELAY_PLUGIN },
                                      .outcome = RELAY_QGS_ERROR,
                                      .error = 0x12001 };
        other = quotes_print(&quote, "n1", &nobody);
        ck_assert_str_eq(other, "{\"time\":\"1970-01-01T00:00:00.000Z\",\"node\":\"n1\","
                                "\"device\":\"tdx0\",\"path\":\"plugin\","
                                "\"outcome\":\"qgs-error\",\"error\":73729,\"ms\":0}\n");

        quote = (struct relay_quote){ .outcome = RELAY_GAVE_UP, .cause = -ECONNREFUSED };
        last = quotes_print(&quote, "n1", &nobody);
        ck_assert_ptr_nonnull(
                strstr(last, "\"outcome\":\"gave-up\",\"cause\":\"Connection refused\""));
}
END_TEST

START_TEST(each_quote_is_one_line_of_the_file_also_after_it_was_rotated)
{
        struct quotes *quotes = enter("log");
        _cleanup_(free) char *rotated = xasprintf("%s.1", config.quote_log), *first = NULL,
                             *second = NULL;
        struct stat file;

        say(quotes, RELAY_DELIVERED);
        say(quotes, RELAY_LEFT);

        first = read_log();
        ck_assert_ptr_nonnull(strstr(first, "\"claim\":\"one\",\"outcome\":\"delivered\""));
        ck_assert_ptr_nonnull(strstr(strchr(first, '\n') + 1, "\"outcome\":\"left\""));
        ck_assert_int_eq(stat(config.quote_log, &file), 0);
        ck_assert_uint_eq(file.st_mode & 07777, 0600);

        ck_assert_int_eq(rename(config.quote_log, rotated), 0);
        say(quotes, RELAY_DELIVERED);
        second = read_log();
        ck_assert_ptr_nonnull(strstr(second, "\"outcome\":\"delivered\""));
        ck_assert_uint_eq(quotes_n_unlogged(quotes), 0);
        (void)unlink(rotated);
        (void)unlink(config.quote_log);
        leave(quotes);
}
END_TEST

START_TEST(an_instance_that_does_not_serve_the_node_counts_but_logs_nothing)
{
        struct quotes *quotes = enter("log");
        _cleanup_(free) char *log = NULL;

        is_active = false;
        say(quotes, RELAY_DELIVERED);

        log = read_log();
        ck_assert_str_eq(log, "");
        ck_assert_uint_eq(quotes_counts(quotes)->n[RELAY_DELIVERED], 1);
        leave(quotes);
}
END_TEST

START_TEST(a_log_that_cannot_be_written_costs_lines_which_are_counted)
{
        struct quotes *quotes = enter("missing/log");

        say(quotes, RELAY_DELIVERED);
        say(quotes, RELAY_DELIVERED);

        ck_assert_uint_eq(quotes_n_unlogged(quotes), 2);
        ck_assert_uint_eq(quotes_counts(quotes)->n[RELAY_DELIVERED], 2);
        leave(quotes);
}
END_TEST

/* journald's socket is where the host has it. */
START_TEST(the_journal_gets_an_entry_a_quote_and_a_full_one_does_not_make_the_driver_wait)
{
        struct quotes *quotes = enter("journal");
        static const char *const parts[] = { "var", "var/run", "var/run/systemd",
                                             "var/run/systemd/journal" };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char entry[1024];
        ssize_t n;
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        say(quotes, RELAY_DELIVERED);
        ck_assert_uint_eq(quotes_n_unlogged(quotes), 1); /* there is none yet */
        for (size_t i = 0; i < array_size(parts); ++i) {
                _cleanup_(free) char *path = xasprintf("%s/%s", directory, parts[i]);

                ck_assert_int_eq(mkdir(path, 0755), 0);
        }
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/socket", directory,
                       parts[3]);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);

        say(quotes, RELAY_DELIVERED);

        n = recv(fd, entry, sizeof(entry) - 1, 0);
        ck_assert_int_gt(n, 0);
        entry[n] = '\0';
        ck_assert_ptr_nonnull(strstr(entry, "\nSYSLOG_IDENTIFIER=tdx-quotes\nMESSAGE={\"time\":"));
        ck_assert_ptr_eq(strchr(strstr(entry, "MESSAGE="), '\n'), entry + n - 1);

        for (unsigned i = 0; i < 10000 && quotes_n_unlogged(quotes) < 2; ++i)
                say(quotes, RELAY_DELIVERED);
        ck_assert_uint_eq(quotes_n_unlogged(quotes), 2);
        close(fd);
        (void)unlink(address.sun_path);
        for (size_t i = array_size(parts); i-- > 0;) {
                _cleanup_(free) char *path = xasprintf("%s/%s", directory, parts[i]);

                (void)rmdir(path);
        }
        leave(quotes);
}
END_TEST

START_TEST(a_snapshot_of_the_node_replaces_the_counts_since_it_has_them_all)
{
        struct quotes *quotes = enter("log");
        struct relay_message message = { .kind = RELAY_SNAPSHOT };

        is_active = false;
        say(quotes, RELAY_DELIVERED);
        ck_assert_int_eq(quotes_counts(quotes)->delivered_ms, 1700000000123);
        message.snapshot = (struct relay_snapshot){ .is_of_node = true,
                                                    .counts = { 5, { 7, 1 } },
                                                    .n_lost = 3 };
        quotes_take(quotes, &message);
        message.snapshot = (struct relay_snapshot){ .counts = { 9, { 2 } } }; /* of a TD */
        quotes_take(quotes, &message);
        say(quotes, RELAY_QGS_ERROR);

        ck_assert_uint_eq(quotes_counts(quotes)->n[RELAY_DELIVERED], 7);
        ck_assert_uint_eq(quotes_counts(quotes)->n[RELAY_QGS_ERROR], 2);
        ck_assert_int_eq(quotes_counts(quotes)->delivered_ms, 5);
        ck_assert_uint_eq(quotes_n_unlogged(quotes), 3);
        leave(quotes);
}
END_TEST

/* The name that the scheduler chose may differ from the TD that the claim got. */
START_TEST(a_claim_is_found_by_the_TD_that_it_got)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct ledger_claim *claim = ledger_claim_new("uid-1", "ns", "vm", 2);
        const struct relay_td third = { 3, RELAY_CLAIM }, none = { 1, RELAY_CLAIM };
        struct tenant tenant;

        for (size_t i = 0; i < 2; ++i) {
                claim->devices[i].request = xstrdup("td");
                claim->devices[i].pool = xstrdup("node1");
                claim->devices[i].device = xasprintf("tdx%d", i ? 9 : 1);
                claim->devices[i].is_admin_access = i == 0;
                claim->devices[i].slot = i ? 3 : LEDGER_NO_SLOT;
        }
        claim->n_pods = 1;
        claim->pod_uids = xcalloc(1, sizeof(*claim->pod_uids));
        claim->pod_uids[0] = xstrdup("pod-1");
        ledger_set_total(ledger, 8);
        ledger_restore(ledger, claim);

        tenant_find(ledger, NULL, &third, &tenant);
        ck_assert_str_eq(tenant.namespace_, "ns");
        ck_assert_str_eq(tenant.claim, "vm");
        ck_assert_str_eq(tenant.pod_uid, "pod-1");
        tenant_find(ledger, NULL, &none, &tenant);
        ck_assert_ptr_null(tenant.claim);
        ck_assert_ptr_null(tenant.pod_uid);
}
END_TEST

SUITE("quotes", a_line_says_who_attested_when,
      each_quote_is_one_line_of_the_file_also_after_it_was_rotated,
      an_instance_that_does_not_serve_the_node_counts_but_logs_nothing,
      a_log_that_cannot_be_written_costs_lines_which_are_counted,
      the_journal_gets_an_entry_a_quote_and_a_full_one_does_not_make_the_driver_wait,
      a_snapshot_of_the_node_replaces_the_counts_since_it_has_them_all,
      a_claim_is_found_by_the_TD_that_it_got);
