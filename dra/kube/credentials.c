/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/credentials.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

void kube_credentials_deinit(struct kube_credentials *credentials)
{
        free(credentials->url);
        free(credentials->ca_file);
        free(credentials->token_file);
        free(credentials->client_cert);
        free(credentials->client_key);
        *credentials = (struct kube_credentials)KUBE_CREDENTIALS_NULL;
}

/* 127.0.0.0/8 in its full dotted form only, because resolvers disagree on "127.1" and "0x7f.1". */
static bool is_loopback_ipv4(const char *host, size_t n)
{
        unsigned n_parts = 0;
        uint64_t part;

        while (n) {
                const char *dot = memchr(host, '.', n);
                size_t length = dot ? (size_t)(dot - host) : n;

                if (parse_u64(host, length, &part) < 0 || part > 255 || ++n_parts > 4)
                        return false;
                if (n_parts == 1 && part != 127)
                        return false;
                host += length + (dot ? 1 : 0);
                n -= length + (dot ? 1 : 0);
        }
        return n_parts == 4;
}

static bool is_loopback(const char *host, size_t n)
{
        return (n == 9 && strncasecmp(host, "localhost", 9) == 0) ||
               (n == 5 && memcmp(host, "[::1]", 5) == 0) || is_loopback_ipv4(host, n);
}

static int check_port(const char *url, const char *port, size_t n, struct error *err)
{
        uint64_t number;

        if (n == 0)
                return 0;
        if (port[0] != ':' || parse_u64(port + 1, n - 1, &number) < 0 || number < 1 ||
            number > 65535)
                return error_set(err, -EINVAL, "API server URL \"%.256s\" has no valid port", url);
        return 0;
}

int kube_url_check(const char *url, struct error *err)
{
        bool is_https = strncasecmp(url, "https://", 8) == 0;
        const char *host, *end;
        size_t n_authority, n_host;

        if (!is_https && strncasecmp(url, "http://", 7) != 0)
                return error_set(err, -EINVAL,
                                 "API server URL \"%.256s\" does not begin with https://", url);
        for (const char *c = url; *c; ++c)
                if (*c <= ' ' || *c > '~' || strchr("?#@\\\"<>", *c))
                        return error_set(err, -EINVAL,
                                         "API server URL \"%.256s\" must be plain: no user name, "
                                         "query, fragment or spaces",
                                         url);
        host = url + (is_https ? 8 : 7);
        n_authority = strcspn(host, "/");
        end = host[0] == '[' ? memchr(host, ']', n_authority) : memchr(host, ':', n_authority);
        n_host = !end ? n_authority : (size_t)(end - host) + (host[0] == '[' ? 1 : 0);
        if (n_host == 0 || (host[0] == '[' && !end))
                return error_set(err, -EINVAL, "API server URL \"%.256s\" names no host", url);
        if (!is_https && !is_loopback(host, n_host))
                return error_set(
                        err, -EINVAL,
                        "API server URL \"%.256s\" is plain http to another machine: token "
                        "and answers could be read and forged on the way; use https://",
                        url);
        return check_port(url, host + n_host, n_authority - n_host, err);
}

static int check_readable(const char *path, const char *flag, struct error *err)
{
        _cleanup_(close) int fd = -1;
        struct stat status;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return error_errno(err, -errno, "cannot read %s (%s)", path, flag);
        if (fstat(fd, &status) < 0)
                return error_errno(err, -errno, "cannot read %s (%s)", path, flag);
        if (!S_ISREG(status.st_mode))
                return error_set(err, -EINVAL, "%s (%s) is not a regular file", path, flag);
        return 0;
}

static int check_files(const struct kube_credentials *credentials, struct error *err)
{
        const struct {
                const char *path;
                const char *flag;
        } files[] = {
                { credentials->ca_file, "--ca-file" },
                { credentials->token_file, "--token-file" },
                { credentials->client_cert, "--client-cert" },
                { credentials->client_key, "--client-key" },
        };

        if (!credentials->client_cert != !credentials->client_key)
                return error_set(err, -EINVAL,
                                 "--client-cert and --client-key come together, but %s is missing",
                                 credentials->client_cert ? "--client-key" : "--client-cert");
        for (size_t i = 0; i < array_size(files); ++i) {
                int r = files[i].path ? check_readable(files[i].path, files[i].flag, err) : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

static char *copy_url(const char *url)
{
        size_t n = strlen(url);

        while (n && url[n - 1] == '/')
                --n;
        return xstrndup(url, n);
}

/* NULL: not in a pod. */
static char *in_cluster_url(void)
{
        const char *host = getenv("KUBERNETES_SERVICE_HOST");
        const char *port = getenv("KUBERNETES_SERVICE_PORT");
        bool needs_brackets;

        if (!host || !*host || !port || !*port)
                return NULL;
        needs_brackets = strchr(host, ':') && host[0] != '[';
        return xasprintf("https://%s%s%s:%s", needs_brackets ? "[" : "", host,
                         needs_brackets ? "]" : "", port);
}

static char *copy_or_conventional(const char *given, const char *directory, const char *name)
{
        if (given)
                return xstrdup(given);
        return directory ? xasprintf("%s/%s", directory, name) : NULL;
}

int kube_credentials_resolve(const struct kube_credentials_options *options,
                             struct kube_credentials *ret, struct error *err)
{
        _cleanup_(kube_credentials) struct kube_credentials found = KUBE_CREDENTIALS_NULL;
        const char *directory = NULL;
        int r;

        if (options->api_server) {
                found.url = copy_url(options->api_server);
        } else {
                found.url = in_cluster_url();
                if (!found.url)
                        return KUBE_CREDENTIALS_NONE;
                directory = options->service_account_dir ? options->service_account_dir
                                                         : KUBE_SERVICE_ACCOUNT_DIR;
        }
        found.ca_file = copy_or_conventional(options->ca_file, directory, "ca.crt");
        /* A client certificate is an identity already, so do not look for a token. */
        found.token_file = copy_or_conventional(options->token_file,
                                                options->client_cert ? NULL : directory, "token");
        found.client_cert = options->client_cert ? xstrdup(options->client_cert) : NULL;
        found.client_key = options->client_key ? xstrdup(options->client_key) : NULL;
        r = kube_url_check(found.url, err);
        if (r < 0)
                return r;
        r = check_files(&found, err);
        if (r < 0)
                return r;
        *ret = found;
        found = (struct kube_credentials)KUBE_CREDENTIALS_NULL;
        return 0;
}

struct kube_token {
        char *path;
        char *value; /* NULL: never read */
        struct stat seen;
};

struct kube_token *kube_token_new(const char *path)
{
        struct kube_token *token = xcalloc(1, sizeof(*token));

        token->path = xstrdup(path);
        return token;
}

static void forget_value(struct kube_token *token)
{
        if (token->value)
                explicit_bzero(token->value, strlen(token->value));
        free(token->value);
        token->value = NULL;
}

void kube_token_free(struct kube_token *token)
{
        if (!token)
                return;
        forget_value(token);
        free(token->path);
        free(token);
}

/* Find the token in n bytes: *bytes moves to its start. 0, or -EBADMSG. A newline inside the token
 * would end the HTTP header and begin another one. */
static int trim(const char *path, const char **bytes, size_t *n, struct error *err)
{
        const char *space = " \t\r\n";

        while (*n && strchr(space, (*bytes)[*n - 1]) && (*bytes)[*n - 1])
                --*n;
        while (*n && strchr(space, (*bytes)[0]) && (*bytes)[0]) {
                ++*bytes;
                --*n;
        }
        if (*n == 0)
                return error_set(err, -EBADMSG, "token file %s is empty", path);
        for (size_t i = 0; i < *n; ++i)
                if ((*bytes)[i] <= ' ' || (*bytes)[i] > '~')
                        return error_set(err, -EBADMSG,
                                         "token file %s holds a space, line break or other byte "
                                         "that no token has",
                                         path);
        return 0;
}

static int read_token(struct kube_token *token, const struct stat *status, struct error *err)
{
        _cleanup_(free) char *content = NULL;
        const char *begin;
        size_t n;
        int r;

        r = file_read(AT_FDCWD, token->path, KUBE_TOKEN_MAX, &content, &n, err);
        if (r < 0)
                return r;
        begin = content;
        r = trim(token->path, &begin, &n, err);
        if (r == 0) {
                forget_value(token);
                token->value = xstrndup(begin, n);
                token->seen = *status;
        }
        explicit_bzero(content, strlen(content));
        return r;
}

int kube_token_get(struct kube_token *token, bool is_forced, const char **ret_token,
                   struct error *err)
{
        struct stat status;
        int r = 0;

        /* stat before reading: the next call's stat then notices a swap in between. */
        if (stat(token->path, &status) < 0)
                r = error_errno(err, -errno, "cannot read token file %s", token->path);
        else if (is_forced || !token->value || !file_is_unchanged(&status, &token->seen))
                r = read_token(token, &status, err);
        /* kubelet swaps the file about hourly and a token lives longer than that, so the last known
         * token stays valid while the file is missing. */
        if (r < 0 && (is_forced || !token->value))
                return r;
        if (err)
                *err = (struct error)ERROR_NULL;
        *ret_token = token->value;
        return 0;
}
