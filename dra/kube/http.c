/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/http.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/text.h"
#include "base/timer.h"
#include "kube/credentials.h"
#include "kube/http_failure.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/*
 * curl must not be re-entered: it refuses most calls from inside its callbacks. So http_start(),
 * http_cancel() and http_free() only note the request, and settle(), which a timer runs when the
 * stack is empty, carries it out.
 */

#define CONNECT_TIMEOUT_MS 5000L
/* A reply may have 2 MiB, and all of them together have the container's memory. Two are watches. */
#define CONNECTIONS_MAX  8L
#define EASY_IDLE_MAX    8U
#define CA_CACHE_SECONDS 60L /* after this a rotated CA takes effect; curl's default is a day */
/* A dead peer is noticed after KEEPALIVE_IDLE_S + KEEPALIVE_PROBES * KEEPALIVE_INTERVAL_S. */
#define KEEPALIVE_IDLE_S     10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES     4
#define UNACKNOWLEDGED_MS    30000

struct http {
        struct kube_credentials credentials;
        struct kube_token *token; /* NULL: none */
        CURLM *multi;
        uv_loop_t *loop;
        struct timer *timer; /* curl's */
        struct timer *soon;  /* runs settle() */
        bool is_closing;
        struct list calls;
        size_t n_submitted;        /* calls that curl has */
        CURL *idle[EASY_IDLE_MAX]; /* with the options set that all requests share */
        size_t n_idle;
};

struct http_call {
        struct list link;
        struct http *http;
        struct http_request request; /* its strings are owned */
        uint64_t started_ms;
        CURL *easy; /* NULL: not handed to curl (not yet, or because the call failed) */
        struct curl_slist *headers;
        struct text body; /* of the reply */
        struct error failure;
        bool is_cancelled;
        bool is_repeated; /* after a 401 */
        bool has_headers; /* on_bytes was told */
        bool is_too_large;
        char curl_text[CURL_ERROR_SIZE];
};

struct watched_socket {
        struct poll *poll;
        struct http *http;
        curl_socket_t fd;
        int events; /* that curl waits for */
};

static void call_free(struct http_call *call)
{
        list_unlink(&call->link);
        text_deinit(&call->body);
        curl_slist_free_all(call->headers);
        free((char *)call->request.method);
        free((char *)call->request.path);
        free((char *)call->request.content_type);
        free((char *)call->request.body);
        free(call);
}

static CURL *easy_take(struct http *http);
static void settle_soon(struct http *http);

static void easy_release(struct http *http, CURL *easy)
{
        /* Clear the options that point into the call, which ends now. */
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
        if (http->n_idle < EASY_IDLE_MAX)
                http->idle[http->n_idle++] = easy;
        else
                curl_easy_cleanup(easy);
}

/* Take the call from curl. That closes the connection of an unfinished transfer. */
static void withdraw(struct http_call *call)
{
        if (!call->easy)
                return;
        curl_multi_remove_handle(call->http->multi, call->easy);
        easy_release(call->http, take_ptr(call->easy));
        --call->http->n_submitted;
        settle_soon(call->http);
}

static void reply_to(struct http_call *call, const struct http_reply *reply)
{
        /* Unlink first: http_free() inside the callback must not find the call. */
        list_unlink(&call->link);
        call->request.on_reply(call->request.owner, reply);
        call_free(call);
}

static void fail(struct http_call *call)
{
        struct http_reply reply = { .body = "", .error = call->failure };

        error_prefix(&reply.error, "%s %.200s", call->request.method, call->request.path);
        reply_to(call, &reply);
}

/* True: the request is sent once more, with the token file read again. */
static bool wants_repeat(struct http_call *call, CURLcode result, long status)
{
        if (result != CURLE_OK || status != 401 || !call->http->token || call->is_repeated)
                return false;
        call->is_repeated = true;
        text_deinit(&call->body);
        curl_slist_free_all(call->headers);
        call->headers = NULL;
        settle_soon(call->http);
        return true;
}

static void on_transfer_done(struct http_call *call, CURLcode result)
{
        struct http_reply reply = { 0 };
        curl_off_t retry_after_s = 0;
        long status = 0;

        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
        if (call->is_too_large)
                error_set(&call->failure, -EMSGSIZE, "the reply is larger than %zu bytes",
                          call->request.max_reply);
        else if (result != CURLE_OK)
                http_failure_describe(
                        &(struct http_failure){ .easy = call->easy,
                                                .result = result,
                                                .curl_text = call->curl_text,
                                                .url = call->http->credentials.url,
                                                .timeout_ms = call->request.timeout_ms,
                                                .n_received = call->body.n },
                        &call->failure);
        withdraw(call);
        if (call->is_cancelled) {
                call_free(call);
                return;
        }
        if (wants_repeat(call, result, status))
                return;
        if (call->failure.code) {
                fail(call);
                return;
        }
        reply.status = (int)status;
        reply.body = call->body.n ? call->body.bytes : "";
        reply.n_body = call->body.n;
        reply.retry_after_ms = retry_after_s > 0 ? (uint64_t)retry_after_s * 1000 : 0;
        reply_to(call, &reply);
}

/* Let curl handle the event, then call back for the transfers that are over. */
static void drive(struct http *http, curl_socket_t fd, int events)
{
        const CURLMsg *message;
        int n_running, n_left;

        curl_multi_socket_action(http->multi, fd, events, &n_running);
        while ((message = curl_multi_info_read(http->multi, &n_left))) {
                char *call = NULL;

                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
                on_transfer_done((void *)call, message->data.result);
        }
}

static void on_timer(void *owner)
{
        drive(owner, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *owner)
{
        struct http *http = owner;

        if (timeout_ms < 0)
                timer_stop(http->timer);
        else
                timer_start(http->timer, (uint64_t)timeout_ms);
        return 0;
}

static void on_socket_event(void *owner, int status, int events)
{
        const struct watched_socket *watched = owner;
        int flags = 0;

        /* After a reset there may still be a reply to read (a 413 to a body sent half), and the
         * socket holds the reason: let curl find both rather than report an error to it. */
        if (status < 0 || events & UV_READABLE)
                flags |= CURL_CSELECT_IN;
        if (status < 0 || events & UV_WRITABLE)
                flags |= CURL_CSELECT_OUT;
        /* libuv stopped the poll when it reported the error. */
        if (status < 0)
                (void)poll_start(watched->poll, watched->events);
        drive(watched->http, watched->fd, flags); /* may free watched */
}

static struct watched_socket *watch_socket(struct http *http, curl_socket_t fd)
{
        struct watched_socket *watched = xcalloc(1, sizeof(*watched));

        watched->poll = poll_new(http->loop, fd, on_socket_event, watched);
        if (!watched->poll) {
                free(watched);
                return NULL;
        }
        watched->http = http;
        watched->fd = fd;
        curl_multi_assign(http->multi, fd, watched);
        return watched;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *assigned)
{
        struct watched_socket *watched = assigned;
        struct http *http = owner;

        if (what == CURL_POLL_REMOVE) {
                if (!watched)
                        return 0;
                curl_multi_assign(http->multi, fd, NULL);
                /* Stop watching now: curl closes the descriptor when we return. */
                poll_free(watched->poll);
                free(watched);
                return 0;
        }
        if (!watched)
                watched = watch_socket(http, fd);
        if (!watched)
                return -1;
        watched->events =
                (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
        return poll_start(watched->poll, watched->events) < 0 ? -1 : 0;
}

static curl_socket_t on_open_socket(void *owner, curlsocktype purpose, struct curl_sockaddr *peer)
{
        const struct {
                int level, name, value;
        } options[] = {
                { SOL_SOCKET, SO_KEEPALIVE, 1 },
                { IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
                { IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S },
                { IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES },
                { IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS },
        };
        int fd = socket(peer->family, peer->socktype | SOCK_CLOEXEC, peer->protocol);

        if (fd < 0)
                return CURL_SOCKET_BAD;
        for (size_t i = 0; i < array_size(options); ++i)
                (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                                 sizeof(options[i].value));
        return fd;
}

static bool is_streaming(const struct http_call *call)
{
        long status = 0;

        if (!call->request.on_bytes)
                return false;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        return status == 200;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *owner)
{
        struct http_call *call = owner;

        if (call->is_cancelled)
                return 0;
        /* The empty line after the headers; a second one may follow trailers. */
        if (n <= 2 && !call->has_headers && is_streaming(call)) {
                call->has_headers = true;
                call->request.on_bytes(call->request.owner, NULL, 0);
        }
        return call->is_cancelled ? 0 : n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *owner)
{
        struct http_call *call = owner;

        if (call->is_cancelled)
                return CURL_WRITEFUNC_ERROR;
        if (is_streaming(call)) {
                call->request.on_bytes(call->request.owner, bytes, n);
                return call->is_cancelled ? CURL_WRITEFUNC_ERROR : n;
        }
        if (n > call->request.max_reply - call->body.n) {
                call->is_too_large = true;
                return CURL_WRITEFUNC_ERROR;
        }
        text_add_bytes(&call->body, bytes, n);
        return n;
}

static void set_tls(const struct kube_credentials *credentials, CURL *easy)
{
        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_SECONDS);
        if (credentials->ca_file) {
                /* Trust this CA only, not the distribution's CAs as well. */
                curl_easy_setopt(easy, CURLOPT_CAINFO, credentials->ca_file);
                curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        }
        if (credentials->client_cert) {
                curl_easy_setopt(easy, CURLOPT_SSLCERT, credentials->client_cert);
                curl_easy_setopt(easy, CURLOPT_SSLKEY, credentials->client_key);
                /* Makes an encrypted key fail; otherwise OpenSSL would prompt on the terminal and
                 * wait. */
                curl_easy_setopt(easy, CURLOPT_KEYPASSWD, "");
        }
}

static CURL *easy_take(struct http *http)
{
        CURL *easy;

        if (http->n_idle)
                return http->idle[--http->n_idle];
        easy = curl_easy_init();
        if (!easy)
                abort();
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_USERAGENT, HTTP_USER_AGENT);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        set_tls(&http->credentials, easy);
        return easy;
}

static void add_header(struct http_call *call, const char *name, const char *value)
{
        _cleanup_(free) char *line = xasprintf("%s:%s", name, value);
        struct curl_slist *longer = curl_slist_append(call->headers, line);

        if (!longer)
                abort();
        call->headers = longer;
        explicit_bzero(line, strlen(line));
}

/* kube_url_check() allows only https and loopback, and it is safe to send a token to either. */
static int add_headers(struct http_call *call, struct error *err)
{
        _cleanup_(free) char *bearer = NULL;
        const char *token, *type = call->request.content_type;
        int r;

        add_header(call, "Accept", " application/json");
        if (call->request.body) {
                add_header(call, "Content-Type", type ? type : " application/json");
                add_header(call, "Expect", ""); /* no extra round trip before the body */
        }
        if (!call->http->token)
                return 0;
        r = kube_token_get(call->http->token, call->is_repeated, &token, err);
        if (r < 0)
                return r;
        bearer = xasprintf(" Bearer %s", token);
        add_header(call, "Authorization", bearer);
        explicit_bzero(bearer, strlen(bearer));
        return 0;
}

/* The time in the queue counts. 0: no limit. */
static long remaining_ms(const struct http_call *call)
{
        uint64_t waited_ms = uv_now(call->http->loop) - call->started_ms;

        if (!call->request.timeout_ms)
                return 0;
        return waited_ms < call->request.timeout_ms ? (long)(call->request.timeout_ms - waited_ms)
                                                    : 1;
}

static void set_request(struct http_call *call)
{
        _cleanup_(free) char *url = NULL;
        const struct http_request *request = &call->request;
        CURL *easy = call->easy;

        url = xasprintf("%s%s", call->http->credentials.url, request->path);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        if (request->body) {
                curl_easy_setopt(easy, CURLOPT_POST, 1L);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->n_body);
        } else {
                curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        }
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, remaining_ms(call));
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_text);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
}

static void submit(struct http_call *call)
{
        CURLMcode result;

        if (add_headers(call, &call->failure) < 0) {
                fail(call);
                return;
        }
        call->curl_text[0] = '\0';
        call->easy = easy_take(call->http);
        ++call->http->n_submitted;
        set_request(call);
        result = curl_multi_add_handle(call->http->multi, call->easy);
        assert(result == CURLM_OK);
}

static void dispose(struct http *http)
{
        assert(list_is_empty(&http->calls));
        while (http->n_idle)
                curl_easy_cleanup(http->idle[--http->n_idle]);
        curl_multi_cleanup(http->multi);
        curl_global_cleanup();
        timer_free(http->timer);
        timer_free(http->soon);
        kube_credentials_deinit(&http->credentials);
        kube_token_free(http->token);
        free(http);
}

/* The first call that settle() must act on. curl would queue calls, too, but it begins the next one
 * before we have seen the end of the last: with a fast server dozens of replies were in memory.
 * Search from the front each time, because a callback may
 * cancel or start any call; the list holds only the pending calls. */
static struct http_call *find_unsettled(struct http *http)
{
        struct list *position;

        list_for_each (position, &http->calls) {
                struct http_call *call = container_of(position, struct http_call, link);

                if (call->is_cancelled ||
                    (!call->easy && http->n_submitted < (size_t)CONNECTIONS_MAX))
                        return call;
        }
        return NULL;
}

static void settle(void *owner)
{
        struct http *http = owner;
        bool is_any_submitted = false;
        struct http_call *call;

        while ((call = find_unsettled(http))) {
                if (!call->is_cancelled) {
                        submit(call);
                        is_any_submitted = true;
                        continue;
                }
                withdraw(call);
                call_free(call);
        }
        if (http->is_closing)
                dispose(http);
        else if (is_any_submitted) /* rather than with the next turn of the loop */
                drive(http, CURL_SOCKET_TIMEOUT, 0);
}

static void settle_soon(struct http *http)
{
        timer_start(http->soon, 0);
}

static void copy_credentials(const struct kube_credentials *from, struct kube_credentials *to)
{
        to->url = xstrdup(from->url);
        to->ca_file = from->ca_file ? xstrdup(from->ca_file) : NULL;
        to->token_file = from->token_file ? xstrdup(from->token_file) : NULL;
        to->client_cert = from->client_cert ? xstrdup(from->client_cert) : NULL;
        to->client_key = from->client_key ? xstrdup(from->client_key) : NULL;
}

int http_new(uv_loop_t *loop, const struct kube_credentials *credentials, struct http **ret_http,
             struct error *err)
{
        struct http *http;
        int r;

        r = kube_url_check(credentials->url, err);
        if (r < 0)
                return r;
        http = xcalloc(1, sizeof(*http));
        copy_credentials(credentials, &http->credentials);
        if (credentials->token_file)
                http->token = kube_token_new(credentials->token_file);
        list_init(&http->calls);
        http->loop = loop;
        http->timer = timer_new(loop, on_timer, http);
        http->soon = timer_new(loop, settle, http);
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(http->multi = curl_multi_init()))
                abort();
        curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
        curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
        curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
        curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
        curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
        curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
        *ret_http = http;
        return 0;
}

void http_free(struct http *http)
{
        struct list *position;

        if (!http || http->is_closing)
                return;
        http->is_closing = true;
        list_for_each (position, &http->calls)
                container_of(position, struct http_call, link)->is_cancelled = true;
        settle_soon(http);
}

struct http_call *http_start(struct http *http, const struct http_request *request)
{
        struct http_call *call = xcalloc(1, sizeof(*call));

        assert(!http->is_closing);
        call->http = http;
        call->started_ms = uv_now(http->loop);
        call->request = *request;
        call->request.method = xstrdup(request->method);
        call->request.path = xstrdup(request->path);
        /* With the space that follows the colon in a header. */
        call->request.content_type =
                request->content_type ? xasprintf(" %s", request->content_type) : NULL;
        if (request->body) {
                call->request.body = xmalloc(request->n_body);
                memcpy((char *)call->request.body, request->body, request->n_body);
        }
        list_add_tail(&http->calls, &call->link);
        settle_soon(http);
        return call;
}

void http_cancel(struct http_call *call)
{
        call->is_cancelled = true;
        settle_soon(call->http);
}
