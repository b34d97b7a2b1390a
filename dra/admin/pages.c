/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/pages.h"

#include "base/address.h"
#include "base/brake.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/text.h"
#include "base/timer.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define BACKLOG             64
#define ACCEPTS_PER_WAKE    16 /* then the loop serves its other sources */
#define OUT_OF_FDS_PAUSE_MS 100

/* We accept and cut connections ourselves. libmicrohttpd's listener spins when descriptors run out
 * and stops accepting while all places are taken (idle clients may hold them for ever), and its
 * timeout restarts with every byte. */
struct connection {
        struct list link; /* ordered, longest without progress first; unlinked once cut */
        int fd;           /* libmicrohttpd's */
        uint64_t since_ms;
};

struct pages {
        struct pages_options options;
        char *address;
        int fd;
        struct MHD_Daemon *http;
        struct list connections;
        unsigned n_connections;
        struct timer *timer;
        struct poll *acceptor;
        struct poll *traffic;        /* on libmicrohttpd's epoll descriptor */
        uint64_t accepting_since_ms; /* loop time; in the future: accepting is paused */
};

/* ---- the socket ---- */

static int bind_to(const struct sockaddr_storage *address, int *ret_fd)
{
        _cleanup_(close) int fd = -1;
        int on = 1, off = 0;

        fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (address->ss_family == AF_INET6)
                (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        if (bind(fd, (const struct sockaddr *)address, address_size(address)) < 0 ||
            listen(fd, BACKLOG) < 0)
                return -errno;
        *ret_fd = take_fd(&fd);
        return 0;
}

static int listen_on(const char *address, int *ret_fd, struct error *err)
{
        _cleanup_(free) char *without_v6 = xasprintf("0.0.0.0%s", address);
        struct sockaddr_storage parsed = { 0 };
        int r;

        r = address_parse(address, &parsed, err);
        if (r < 0)
                return r;
        r = bind_to(&parsed, ret_fd);
        /* ":PORT" means every address: on a machine without IPv6 that is IPv4 alone. */
        if ((r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) && address[0] == ':' &&
            address_parse(without_v6, &parsed, err) == 0)
                r = bind_to(&parsed, ret_fd);
        return r < 0 ? error_errno(err, r, "cannot listen on %s", address) : 0;
}

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct text *body)
{
        size_t n = body->n;
        struct MHD_Response *response =
                MHD_create_response_from_buffer(n, text_take(body), MHD_RESPMEM_MUST_FREE);
        enum MHD_Result r;

        if (!response)
                return MHD_NO;
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
        if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
                (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
        r = MHD_queue_response(connection, status, response);
        MHD_destroy_response(response);
        return r;
}

static void print_index(const struct pages *pages, struct text *text)
{
        for (size_t i = 0; i < pages->options.n_pages; ++i)
                text_addf(text, "%-10s %s\n", pages->options.pages[i].path,
                          pages->options.pages[i].meaning);
}

static const struct page *find_page(const struct pages *pages, const char *path)
{
        for (size_t i = 0; i < pages->options.n_pages; ++i)
                if (strcmp(pages->options.pages[i].path, path) == 0)
                        return &pages->options.pages[i];
        return NULL;
}

static enum MHD_Result answer_request(const struct pages *pages, struct MHD_Connection *connection,
                                      const char *path, const char *method)
{
        static const char plain[] = "text/plain; charset=utf-8";
        _cleanup_(text) struct text text = TEXT_NULL;
        const struct page *page = find_page(pages, path);
        unsigned status;

        if (!page && strcmp(path, "/") != 0) {
                text_add(&text, "There is no such page; / lists them.\n");
                return answer(connection, MHD_HTTP_NOT_FOUND, plain, &text);
        }
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
                text_add(&text, "GET and HEAD only.\n");
                return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain, &text);
        }
        if (!page) {
                print_index(pages, &text);
                return answer(connection, MHD_HTTP_OK, plain, &text);
        }
        status = page->print(pages->options.owner, &text);
        return answer(connection, status, page->type, &text);
}

static bool has_body(struct MHD_Connection *connection)
{
        return MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                           MHD_HTTP_HEADER_CONTENT_LENGTH) ||
               MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                           MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

/* Called when the head of a request is in, and again when the whole request is. libmicrohttpd takes
 * an answer to the head for a refusal to read on, and closes the connection after it. That is how
 * we treat a request with a body, because no page takes one. */
static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *body,
                                  size_t *n_body, void **request)
{
        static char seen;

        if (*request || has_body(connection))
                return answer_request(owner, connection, path, method);
        *request = &seen;
        return MHD_YES;
}

/* ---- connections ---- */

static void begin_patience(struct pages *pages, struct connection *connection)
{
        connection->since_ms = uv_now(pages->options.loop);
        list_unlink(&connection->link);
        list_add_tail(&pages->connections, &connection->link);
}

static void on_connection_change(void *owner, struct MHD_Connection *handle, void **context,
                                 enum MHD_ConnectionNotificationCode code)
{
        struct connection *connection = *context;
        struct pages *pages = owner;

        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                connection = xcalloc(1, sizeof(*connection));
                connection->fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)
                                         ->connect_fd;
                list_init(&connection->link);
                begin_patience(pages, connection);
                ++pages->n_connections;
                *context = connection;
                return;
        }
        *context = NULL;
        list_unlink(&connection->link);
        free(connection);
        --pages->n_connections;
}

static void on_answered(void *owner, struct MHD_Connection *handle, void **request,
                        enum MHD_RequestTerminationCode code)
{
        struct connection *connection =
                MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

        /* A connection that was cut is off the list and must stay off it. */
        if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && !list_is_empty(&connection->link))
                begin_patience(owner, connection);
}

/* libmicrohttpd notices when it runs next, and closes the descriptor. */
static void cut_first(struct pages *pages)
{
        struct connection *connection =
                container_of(pages->connections.next, struct connection, link);

        list_unlink(&connection->link);
        (void)shutdown(connection->fd, SHUT_RDWR);
}

/* ---- the loop ---- */

static uint64_t first_due_ms(const struct pages *pages)
{
        const struct connection *first =
                container_of(pages->connections.next, const struct connection, link);

        return list_is_empty(&pages->connections) ? UINT64_MAX
                                                  : first->since_ms + pages->options.patience_ms;
}

static void schedule(struct pages *pages)
{
        uint64_t now = uv_now(pages->options.loop), due_ms = first_due_ms(pages);
        MHD_UNSIGNED_LONG_LONG in_ms;

        if (MHD_get_timeout(pages->http, &in_ms) == MHD_YES && now + in_ms < due_ms)
                due_ms = now + in_ms;
        if (pages->accepting_since_ms > now && pages->accepting_since_ms < due_ms)
                due_ms = pages->accepting_since_ms;
        if (due_ms == UINT64_MAX)
                timer_stop(pages->timer);
        else
                timer_start(pages->timer, due_ms > now ? due_ms - now : 0);
}

static void turn(struct pages *pages)
{
        while (first_due_ms(pages) <= uv_now(pages->options.loop))
                cut_first(pages);
        (void)MHD_run(pages->http);
        schedule(pages);
}

static void on_traffic(void *owner, int status, int events)
{
        turn(owner);
}

static void on_timer(void *owner)
{
        struct pages *pages = owner;

        if (!poll_is_running(pages->acceptor) &&
            pages->accepting_since_ms <= uv_now(pages->options.loop))
                (void)poll_start(pages->acceptor, UV_READABLE);
        turn(pages);
}

/* A listener that cannot accept stays readable: without a pause the loop would spin. */
static void pause_accepting(struct pages *pages, int code)
{
        log_warn_braked("cannot accept a connection, trying again shortly",
                        log_str("address", pages->address), log_str("reason", strerror(code)));
        poll_stop(pages->acceptor);
        pages->accepting_since_ms = uv_now(pages->options.loop) + OUT_OF_FDS_PAUSE_MS;
}

/* Room for one more connection: if there is none, cut the one without progress for longest. */
static void make_room(struct pages *pages)
{
        if (pages->n_connections < PAGES_CONNECTIONS_MAX)
                return;
        if (!list_is_empty(&pages->connections))
                cut_first(pages);
        (void)MHD_run(pages->http);
}

static void on_acceptable(void *owner, int status, int events)
{
        struct pages *pages = owner;

        for (int i = 0; i < ACCEPTS_PER_WAKE; ++i) {
                struct sockaddr_storage peer = { 0 };
                socklen_t n = sizeof(peer);
                int fd = accept4(pages->fd, (struct sockaddr *)&peer, &n,
                                 SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                            errno == ENOMEM)
                                pause_accepting(pages, errno);
                        break;
                }
                make_room(pages);
                /* Closes fd if it fails. */
                (void)MHD_add_connection(pages->http, fd, (struct sockaddr *)&peer, n);
        }
        turn(pages);
}

/* ---- life ---- */

static int start_http(struct pages *pages, int *ret_fd, struct error *err)
{
        const union MHD_DaemonInfo *info;

        pages->http = MHD_start_daemon(
                MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, pages,
                MHD_OPTION_CONNECTION_LIMIT, (unsigned)PAGES_CONNECTIONS_MAX,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)PAGES_REQUEST_MAX,
                MHD_OPTION_NOTIFY_CONNECTION, on_connection_change, pages,
                MHD_OPTION_NOTIFY_COMPLETED, on_answered, pages, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                MHD_OPTION_END);
        info = pages->http ? MHD_get_daemon_info(pages->http, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
        if (!info)
                return error_set(err, -EIO, "cannot start libmicrohttpd");
        *ret_fd = info->epoll_fd;
        return 0;
}

static int start_polling(struct pages *pages, int http_fd, struct error *err)
{
        pages->acceptor = poll_new(pages->options.loop, pages->fd, on_acceptable, pages);
        pages->traffic = poll_new(pages->options.loop, http_fd, on_traffic, pages);
        if (!pages->acceptor || !pages->traffic)
                return error_set(err, -EIO, "cannot poll %s and its connections",
                                 pages->options.listen);
        (void)poll_start(pages->acceptor, UV_READABLE);
        (void)poll_start(pages->traffic, UV_READABLE);
        return 0;
}

int pages_start(const struct pages_options *options, struct pages **ret, struct error *err)
{
        struct pages *pages;
        int http_fd = -1, fd = -1, r;

        r = listen_on(options->listen, &fd, err);
        if (r < 0)
                return r;
        pages = xcalloc(1, sizeof(*pages));
        pages->options = *options;
        if (!options->patience_ms)
                pages->options.patience_ms = PAGES_PATIENCE_MS;
        pages->fd = fd;
        pages->address = address_print_local(fd);
        list_init(&pages->connections);
        pages->timer = timer_new(options->loop, on_timer, pages);
        r = start_http(pages, &http_fd, err);
        if (!r)
                r = start_polling(pages, http_fd, err);
        if (r < 0) {
                pages_stop(pages);
                return r;
        }
        *ret = pages;
        return 0;
}

const char *pages_address(const struct pages *pages)
{
        return pages->address;
}

void pages_stop(struct pages *pages)
{
        if (!pages)
                return;
        /* Take the polls off the loop before closing: libuv must not poll a closed descriptor. */
        timer_free(pages->timer);
        poll_free(pages->acceptor);
        poll_free(pages->traffic);
        close(take_fd(&pages->fd));
        if (pages->http)
                MHD_stop_daemon(pages->http);
        free(pages->address);
        free(pages);
}
