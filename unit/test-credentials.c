/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/credentials.h"

#include "base/error.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char directory[64];

static void enter(void)
{
        snprintf(directory, sizeof(directory), "/tmp/test-credentials.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        ck_assert_int_eq(chdir(directory), 0);
        unsetenv("KUBERNETES_SERVICE_HOST");
        unsetenv("KUBERNETES_SERVICE_PORT");
}

static void leave(void)
{
        static const char *const names[] = { "ca.crt", "token", "cert", "key" };

        for (size_t i = 0; i < array_size(names); ++i)
                unlink(names[i]);
        ck_assert_int_eq(rmdir(directory), 0);
}

static void write_file(const char *name, const char *content, size_t n)
{
        FILE *file = fopen(name, "w");

        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(fwrite(content, 1, n, file), n);
        ck_assert_int_eq(fclose(file), 0);
}

static void write_text(const char *name, const char *content)
{
        write_file(name, content, strlen(content));
}

START_TEST(only_https_or_loopback_is_accepted)
{
        static const struct {
                const char *url;
                const char *text; /* part of the error's; NULL: accepted */
        } table[] = {
                { "https://10.0.0.1:6443", NULL },
                { "HTTPS://api.example.com/k8s/clusters/c-1", NULL },
                { "https://[fd00::1]:443", NULL },
                { "https://[fd00::1]", NULL },
                { "http://127.0.0.1:8080", NULL },
                { "http://127.255.0.9", NULL },
                { "http://localhost:8001/x", NULL },
                { "http://[::1]:8001", NULL },
                { "http://10.0.0.1", "use https://" },
                { "http://127.0.0.1.evil.example", "use https://" },
                { "http://127.0.0.1@evil.example", "must be plain" },
                { "http://127.1", "use https://" },
                { "http://127.0.0.256", "use https://" },
                { "http://localhost.evil.example", "use https://" },
                { "http://[::2]", "use https://" },
                { "http://", "names no host" },
                { "https://", "names no host" },
                { "https:///x", "names no host" },
                { "https://:443", "names no host" },
                { "https://[::1", "names no host" },
                { "https://a:0", "no valid port" },
                { "https://a:65536", "no valid port" },
                { "https://a:", "no valid port" },
                { "https://[::1]443", "no valid port" },
                { "https://a?b", "must be plain" },
                { "https://a#b", "must be plain" },
                { "https://a b", "must be plain" },
                { "https://a\r\nX: y", "must be plain" },
                { "file:///etc/passwd", "does not begin with https://" },
                { "", "does not begin with https://" },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct error error = ERROR_NULL;
                int r = kube_url_check(table[i].url, &error);

                ck_assert_msg(r == (table[i].text ? -EINVAL : 0), "%s: %d %s", table[i].url, r,
                              error.text);
                if (table[i].text)
                        ck_assert_msg(strstr(error.text, table[i].text), "%s: %s", table[i].url,
                                      error.text);
        }
}
END_TEST

START_TEST(outside_a_pod_without_options_there_are_none)
{
        struct kube_credentials_options options = { 0 };
        struct kube_credentials credentials = KUBE_CREDENTIALS_NULL;

        enter();

        ck_assert_int_eq(kube_credentials_resolve(&options, &credentials, NULL),
                         KUBE_CREDENTIALS_NONE);
        ck_assert_ptr_null(credentials.url);
        leave();
}
END_TEST

START_TEST(in_a_pod_the_service_account_is_used)
{
        struct kube_credentials_options options = { .service_account_dir = "." };
        struct kube_credentials credentials = KUBE_CREDENTIALS_NULL;
        struct error error = ERROR_NULL;

        enter();
        write_text("ca.crt", "x");
        write_text("token", "t");
        setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
        setenv("KUBERNETES_SERVICE_PORT", "443", 1);

        ck_assert_int_eq(kube_credentials_resolve(&options, &credentials, &error), 0);
        ck_assert_str_eq(credentials.url, "https://[fd00::1]:443");
        ck_assert_str_eq(credentials.ca_file, "./ca.crt");
        ck_assert_str_eq(credentials.token_file, "./token");
        ck_assert_ptr_null(credentials.client_cert);
        kube_credentials_deinit(&credentials);

        setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
        ck_assert_int_eq(kube_credentials_resolve(&options, &credentials, &error), 0);
        ck_assert_str_eq(credentials.url, "https://10.96.0.1:443");
        kube_credentials_deinit(&credentials);
        leave();
}
END_TEST

START_TEST(the_error_in_a_pod_without_a_token_names_the_missing_file)
{
        struct kube_credentials_options options = { .service_account_dir = "." };
        struct kube_credentials credentials = KUBE_CREDENTIALS_NULL;
        struct error error = ERROR_NULL;

        enter();
        write_text("ca.crt", "x");
        setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
        setenv("KUBERNETES_SERVICE_PORT", "443", 1);

        ck_assert_int_eq(kube_credentials_resolve(&options, &credentials, &error), -ENOENT);
        ck_assert_str_eq(error.text,
                         "cannot read ./token (--token-file): No such file or directory");
        ck_assert_ptr_null(credentials.url);
        leave();
}
END_TEST

START_TEST(explicit_options_win_and_need_no_token)
{
        struct kube_credentials_options options = { .api_server = "https://a:6443/",
                                                    .ca_file = "ca.crt",
                                                    .client_cert = "cert",
                                                    .client_key = "key" };
        struct kube_credentials credentials = KUBE_CREDENTIALS_NULL;

        enter();
        write_text("ca.crt", "x");
        write_text("cert", "x");
        write_text("key", "x");
        setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
        setenv("KUBERNETES_SERVICE_PORT", "443", 1);

        ck_assert_int_eq(kube_credentials_resolve(&options, &credentials, NULL), 0);
        ck_assert_str_eq(credentials.url, "https://a:6443");
        ck_assert_str_eq(credentials.client_key, "key");
        ck_assert_ptr_null(credentials.token_file);
        kube_credentials_deinit(&credentials);
        leave();
}
END_TEST

START_TEST(a_certificate_without_its_key_is_refused)
{
        struct kube_credentials_options options = { .api_server = "https://a",
                                                    .client_cert = "cert" };
        struct kube_credentials credentials = KUBE_CREDENTIALS_NULL;
        struct error error = ERROR_NULL;

        ck_assert_int_eq(kube_credentials_resolve(&options, &credentials, &error), -EINVAL);
        ck_assert_str_eq(error.text,
                         "--client-cert and --client-key come together, but --client-key is "
                         "missing");
}
END_TEST

START_TEST(a_token_is_trimmed_and_checked)
{
        static const struct {
                const char *content;
                size_t n;
                const char *token; /* NULL: refused */
        } table[] = {
                { "abc.DEF-_1", 10, "abc.DEF-_1" },
                { " \r\n abc\r\n\n", 10, "abc" },
                { "", 0, NULL },
                { " \n", 2, NULL },
                { "a\nb", 3, NULL },
                { "a b", 3, NULL },
                { "a\r\nX: y", 7, NULL },
                { "a\0b", 3, NULL },
                { "a\0", 2, NULL },
                { "\0a", 2, NULL },
                { "a\xc3\xa4", 3, NULL },
                { "a\x7f", 2, NULL },
        };

        enter();
        for (size_t i = 0; i < array_size(table); ++i) {
                _cleanup_(kube_token) struct kube_token *token = kube_token_new("token");
                struct error error = ERROR_NULL;
                const char *value = NULL;
                int r;

                write_file("token", table[i].content, table[i].n);
                r = kube_token_get(token, false, &value, &error);

                ck_assert_msg(r == (table[i].token ? 0 : -EBADMSG), "%zu: %d", i, r);
                if (table[i].token)
                        ck_assert_str_eq(value, table[i].token);
        }
        leave();
}
END_TEST

START_TEST(a_token_beyond_its_limit_is_refused)
{
        _cleanup_(kube_token) struct kube_token *token = kube_token_new("token");
        _cleanup_(free) char *content = xmalloc(KUBE_TOKEN_MAX + 1);
        const char *value = NULL;

        enter();
        memset(content, 'x', KUBE_TOKEN_MAX + 1);
        write_file("token", content, KUBE_TOKEN_MAX + 1);
        ck_assert_int_eq(kube_token_get(token, false, &value, NULL), -EFBIG);
        write_file("token", content, KUBE_TOKEN_MAX);
        ck_assert_int_eq(kube_token_get(token, false, &value, NULL), 0);
        leave();
}
END_TEST

START_TEST(a_swapped_token_file_is_read_again)
{
        _cleanup_(kube_token) struct kube_token *token = kube_token_new("token");
        const char *value = NULL;

        enter();
        write_text("token", "one");
        ck_assert_int_eq(kube_token_get(token, false, &value, NULL), 0);
        ck_assert_str_eq(value, "one");

        write_text("key", "two");
        ck_assert_int_eq(rename("key", "token"), 0);

        ck_assert_int_eq(kube_token_get(token, false, &value, NULL), 0);
        ck_assert_str_eq(value, "two");
        leave();
}
END_TEST

START_TEST(an_unchanged_token_file_is_not_read_again_unless_forced)
{
        _cleanup_(kube_token) struct kube_token *token = kube_token_new("token");
        const char *value = NULL;
        struct stat before;

        enter();
        write_text("token", "one");
        ck_assert_int_eq(stat("token", &before), 0);
        ck_assert_int_eq(kube_token_get(token, false, &value, NULL), 0);
        write_text("token", "two");
        ck_assert_int_eq(utimensat(AT_FDCWD, "token",
                                   (struct timespec[]){ before.st_atim, before.st_mtim }, 0),
                         0);

        ck_assert_int_eq(kube_token_get(token, false, &value, NULL), 0);
        ck_assert_str_eq(value, "one");
        ck_assert_int_eq(kube_token_get(token, true, &value, NULL), 0);
        ck_assert_str_eq(value, "two");
        leave();
}
END_TEST

START_TEST(while_the_token_file_is_away_the_known_one_serves)
{
        _cleanup_(kube_token) struct kube_token *token = kube_token_new("token");
        const char *value = NULL;
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(kube_token_get(token, false, &value, &error), -ENOENT);
        write_text("token", "one");
        ck_assert_int_eq(kube_token_get(token, false, &value, &error), 0);
        unlink("token");

        value = NULL;
        ck_assert_int_eq(kube_token_get(token, false, &value, &error), 0);
        ck_assert_str_eq(value, "one");
        ck_assert_int_eq(kube_token_get(token, true, &value, &error), -ENOENT);
        leave();
}
END_TEST

SUITE("credentials", only_https_or_loopback_is_accepted,
      outside_a_pod_without_options_there_are_none, in_a_pod_the_service_account_is_used,
      the_error_in_a_pod_without_a_token_names_the_missing_file,
      explicit_options_win_and_need_no_token, a_certificate_without_its_key_is_refused,
      a_token_is_trimmed_and_checked, a_token_beyond_its_limit_is_refused,
      a_swapped_token_file_is_read_again, an_unchanged_token_file_is_not_read_again_unless_forced,
      while_the_token_file_is_away_the_known_one_serves);
