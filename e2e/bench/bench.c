/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the driver from outside; e2e/bench/run is what to call.
 *
 *         bench SCENARIO DRIVER DIRECTORY          prints "key value" lines
 *
 * One loop in this process stands in for kubelet (a registrar that inotify wakes, and a gRPC client
 * on the driver's unix sockets) and for the API server (HTTP/1.1 on loopback; the simulators of
 * e2e/sim/ are Python, and would be what is measured). Whatever the stand-ins cost on the way of a
 * call is in its figure, except in those named "own":
 *
 * A Prepare's own time is its time at the client less the time that the stand-in API server spent
 * on this very call's GET, from the bytes read to the answer written. What remains, besides the
 * driver, is the kernel's part (waking, loopback, the unix socket) and the gRPC client: nothing
 * that could be the driver's is subtracted. With --durable no there is no fsync in it either.
 *
 * BENCH_PERCENT scales the counts (default 100), BENCH_IDLE_SECONDS the time of idleness (60).
 */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/parse.h"
#include "base/text.h"
#include "dra.pb-c.h"
#include "pluginregistration.pb-c.h"
#include "rpc/client.h"
#include "rpc/pump.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <uv.h>

#define NODE_NAME     "n1"
#define REGISTRATION  "tdx.kubevirt.io-reg.sock"
#define SLICES        "/apis/resource.k8s.io/v1/resourceslices"
#define CLAIMS        "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/"
#define METHOD(name)  "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/" name
#define NODES_MAX     2
#define SLICES_MAX    64 /* of 64 devices */
#define CALL_MS       45000
#define STALL_MS      60000 /* without anything done, the run is given up */
#define BOOKMARK_MS   60000 /* about as often as the API server sends one to an idle watch */
#define SETTLE_MS     2000  /* after a start or a load, until the driver counts as idle */
#define N_STARTS      11
#define WARM_UP       100 /* pairs before those that count */
#define SERIAL_DIGITS 12
#define UID_FORMAT    "00000000-0000-4000-8000-%012u"
#define SECOND_NS     UINT64_C(1000000000)
#define IDLE_SECONDS  60

/* The stand-in API server of one node. */
struct api {
        uv_tcp_t listener;
        uv_timer_t bookmark;
        int port;
        unsigned capacity;
        int64_t version;
        struct json *slices[SLICES_MAX];
        size_t n_slices;
        struct connection *watch; /* NULL: none is open */
        uint64_t published_ns;    /* when the first slice came; 0: none yet */
        uint64_t busy_ns;         /* spent on requests so far */
};

struct connection {
        uv_tcp_t tcp;
        struct api *api;
        struct text in;
};

/* A driver between its stand-ins. */
struct node {
        char *directory;
        struct api api;
        pid_t pid;
        uv_fs_event_t registry;
        struct rpc_client *registration;
        struct rpc_client *plugin;
        uint64_t started_ns;
        uint64_t registered_ns; /* 0: not yet */
        unsigned next_serial;   /* of the claim that comes next */
};

static struct {
        uv_loop_t loop;
        struct rpc_pump *pump;
        uv_signal_t signals[3];
        uv_timer_t stall;
        struct node *nodes[NODES_MAX]; /* that run */
        const char *driver;
        const char *directory;
        unsigned n_started;
        uint64_t percent;
} bench;

/* ---- giving up ---- */

static void kill_drivers(void)
{
        for (size_t i = 0; i < NODES_MAX; ++i)
                if (bench.nodes[i])
                        kill(bench.nodes[i]->pid, SIGKILL);
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
        va_list args;

        kill_drivers();
        fputs("bench: ", stderr);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputs("\n", stderr);
        _exit(1);
}

static void check(int r, const char *what)
{
        if (r < 0)
                die("%s: %s", what, uv_strerror(r));
}

static void on_stall(uv_timer_t *timer)
{
        die("nothing has happened for %d s", STALL_MS / 1000);
}

static void on_signal(uv_signal_t *handle, int number)
{
        if (number == SIGCHLD)
                die("the driver has ended by itself");
        die("ended by signal %d", number);
}

/* Turn the loop until *value is at least wanted. */
static void turn_until(const uint64_t *value, uint64_t wanted)
{
        uv_update_time(&bench.loop);
        uv_timer_start(&bench.stall, on_stall, STALL_MS, 0);
        while (*value < wanted)
                uv_run(&bench.loop, UV_RUN_ONCE);
        uv_timer_stop(&bench.stall);
}

static void on_time_over(uv_timer_t *timer)
{
        *(bool *)timer->data = true;
}

/* Turn the loop, so that the stand-ins answer meanwhile. */
static void turn_for(uint64_t ms)
{
        bool is_over = false;
        uv_timer_t timer = { .data = &is_over };

        uv_update_time(&bench.loop);
        uv_timer_init(&bench.loop, &timer);
        uv_timer_start(&timer, on_time_over, ms, 0);
        while (!is_over)
                uv_run(&bench.loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&timer, NULL);
        uv_run(&bench.loop, UV_RUN_NOWAIT);
}

/* ---- the API server: answering ---- */

static void on_written(uv_write_t *write, int status)
{
        free(write->data);
        free(write);
}

static void put(struct connection *connection, const char *bytes, size_t n)
{
        uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)n);
        uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
        int n_written = uv_try_write(stream, &buffer, 1);
        uv_write_t *rest;

        if (n_written == (int)n)
                return;
        n_written = n_written > 0 ? n_written : 0;
        rest = xcalloc(1, sizeof(*rest));
        buffer = uv_buf_init(xmalloc(n - (size_t)n_written), (unsigned)n - (unsigned)n_written);
        memcpy(buffer.base, bytes + n_written, buffer.len);
        rest->data = buffer.base;
        check(uv_write(rest, stream, &buffer, 1, on_written), "cannot answer");
}

static void answer(struct connection *connection, const char *status, const char *body)
{
        __attribute__((cleanup(cleanup_text))) struct text out = TEXT_NULL;

        text_addf(&out,
                  "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                  status, strlen(body));
        text_add(&out, body);
        put(connection, out.bytes, out.n);
}

static void answer_object(struct connection *connection, const char *status,
                          const struct json *object)
{
        __attribute__((cleanup(cleanup_free))) char *body = json_print(object);

        answer(connection, status, body);
}

/* Of the size and the fields that a claim of one request has at a real server; its UID is its name,
 * whose digits name a device, too. */
static void answer_claim(struct connection *connection, const char *name)
{
        __attribute__((cleanup(cleanup_text))) struct text body = TEXT_NULL;
        size_t n = strlen(name);
        uint64_t serial;

        if (n < SERIAL_DIGITS || parse_u64(name + n - SERIAL_DIGITS, SERIAL_DIGITS, &serial) < 0)
                die("the driver asked for the claim %s", name);
        text_addf(&body,
                  "{\"kind\":\"ResourceClaim\",\"apiVersion\":\"resource.k8s.io/v1\",\"metadata\":{"
                  "\"name\":\"%s\",\"generateName\":\"vm-tdx-\",\"namespace\":\"default\","
                  "\"uid\":\"%s\",\"resourceVersion\":\"4711\",\"creationTimestamp\":"
                  "\"2026-11-23T20:00:00Z\",\"annotations\":{\"resource.kubernetes.io/"
                  "pod-claim-name\":\"tdx\"},\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":"
                  "\"Pod\",\"name\":\"vm\",\"uid\":\"%s\",\"controller\":true,"
                  "\"blockOwnerDeletion\":true}],\"finalizers\":[\"resource.kubernetes.io/"
                  "delete-protection\"]},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"td\","
                  "\"exactly\":{\"deviceClassName\":\"tdx.kubevirt.io\",\"allocationMode\":"
                  "\"ExactCount\",\"count\":1}}]}},",
                  name, name, name);
        text_addf(&body,
                  "\"status\":{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"td\","
                  "\"driver\":\"tdx.kubevirt.io\",\"pool\":\"" NODE_NAME
                  "\",\"device\":\"tdx%" PRIu64
                  "\"}]},\"nodeSelector\":{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":"
                  "\"metadata.name\",\"operator\":\"In\",\"values\":[\"" NODE_NAME "\"]}]}]}},"
                  "\"reservedFor\":[{\"resource\":\"pods\",\"name\":\"vm\",\"uid\":\"%s\"}]}}",
                  serial % connection->api->capacity, name);
        answer(connection, "200 OK", body.bytes);
}

/* ---- the API server: slices and their watch ---- */

static void send_event(const struct api *api, const char *type, const struct json *object)
{
        __attribute__((cleanup(cleanup_free))) char *printed = json_print(object);
        __attribute__((cleanup(cleanup_free))) char *line =
                xasprintf("{\"type\":\"%s\",\"object\":%s}\n", type, printed);
        __attribute__((cleanup(cleanup_free))) char *chunk =
                xasprintf("%zx\r\n%s\r\n", strlen(line), line);

        if (api->watch)
                put(api->watch, chunk, strlen(chunk));
}

static struct json *new_slice_kind(const char *kind, int64_t version, struct json **ret_metadata)
{
        __attribute__((cleanup(cleanup_free))) char *text = xasprintf("%" PRId64, version);
        struct json *object = json_new_object();

        json_add_string(object, "kind", kind);
        json_add_string(object, "apiVersion", "resource.k8s.io/v1");
        *ret_metadata = json_add_object(object, "metadata");
        json_add_string(*ret_metadata, "resourceVersion", text);
        return object;
}

static void on_bookmark(uv_timer_t *timer)
{
        const struct api *api = timer->data;
        struct json *metadata;
        _cleanup_(json) struct json *object =
                new_slice_kind("ResourceSlice", api->version, &metadata);

        send_event(api, "BOOKMARK", object);
}

static const char *slice_name_of(const struct json *slice)
{
        const char *name = json_string(json_get(json_get(slice, "metadata"), "name"));

        return name ? name : "";
}

static void store_slice(struct connection *connection, const char *status, const char *body,
                        size_t n)
{
        struct api *api = connection->api;
        _cleanup_(json) struct json *sent = NULL;
        struct json *slice, *metadata;
        size_t i = 0;

        if (json_parse(body, n, &sent, NULL) < 0 || !json_is_object(json_get(sent, "spec")))
                die("the driver wrote a slice that is none");
        slice = new_slice_kind("ResourceSlice", ++api->version, &metadata);
        json_add_string(metadata, "name", slice_name_of(sent));
        json_add_string(metadata, "uid", slice_name_of(sent));
        json_add(slice, "spec", json_copy(json_get(sent, "spec")));
        while (i < api->n_slices && strcmp(slice_name_of(api->slices[i]), slice_name_of(sent)) != 0)
                ++i;
        if (i == SLICES_MAX)
                die("the driver wrote more than %d slices", SLICES_MAX);
        send_event(api, i < api->n_slices ? "MODIFIED" : "ADDED", slice);
        json_free(i < api->n_slices ? api->slices[i] : NULL);
        api->n_slices += i == api->n_slices;
        api->slices[i] = slice;
        if (!api->published_ns)
                api->published_ns = uv_hrtime();
        answer_object(connection, status, slice);
}

static void answer_list(struct connection *connection)
{
        const struct api *api = connection->api;
        struct json *metadata, *items;
        _cleanup_(json) struct json *list =
                new_slice_kind("ResourceSliceList", api->version, &metadata);

        items = json_add_array(list, "items");
        for (size_t i = 0; i < api->n_slices; ++i)
                json_append(items, json_copy(api->slices[i]));
        answer_object(connection, "200 OK", list);
}

static void open_watch(struct connection *connection)
{
        static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n";

        connection->api->watch = connection;
        put(connection, head, strlen(head));
}

/* ---- the API server: reading ---- */

static bool starts_with(const char *string, const char *prefix)
{
        return strncmp(string, prefix, strlen(prefix)) == 0;
}

static void serve(struct connection *connection, const char *method, const char *path,
                  const char *body, size_t n_body)
{
        bool is_get = strcmp(method, "GET") == 0;

        if (is_get && starts_with(path, CLAIMS))
                answer_claim(connection, path + strlen(CLAIMS));
        else if (is_get && starts_with(path, "/api/v1/nodes/"))
                answer(connection, "200 OK",
                       "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                       "\"" NODE_NAME "\",\"uid\":\"11111111-2222-3333-4444-555555555555\"}}");
        else if (is_get && starts_with(path, SLICES) && strstr(path, "watch=1"))
                open_watch(connection);
        else if (is_get && starts_with(path, SLICES))
                answer_list(connection);
        else if (starts_with(path, SLICES) && strcmp(method, "DELETE") != 0)
                store_slice(connection, strcmp(method, "POST") ? "200 OK" : "201 Created", body,
                            n_body);
        else
                answer(connection, "404 Not Found", "404 page not found\n");
}

/* Whether there was a whole request, which is then served and taken from the input. */
static bool take_request(struct connection *connection)
{
        char *bytes = connection->in.bytes, *end = strstr(bytes, "\r\n\r\n"), *length, *path, *line;
        size_t n_head, n_used;
        uint64_t n_body = 0;

        if (!end)
                return false;
        n_head = (size_t)(end - bytes) + 4;
        length = strcasestr(bytes, "\r\ncontent-length:");
        if (length && length < end) {
                length += strlen("\r\ncontent-length:");
                length += strspn(length, " ");
                if (parse_u64(length, strcspn(length, "\r"), &n_body) < 0)
                        die("the driver sent a bad Content-Length");
        }
        n_used = n_head + n_body;
        if (connection->in.n < n_used)
                return false;
        path = strchr(bytes, ' ');
        line = path ? strchr(path + 1, ' ') : NULL;
        if (!line || line > end)
                die("the driver sent no HTTP request");
        *path++ = '\0';
        *line = '\0';
        serve(connection, bytes, path, bytes + n_head, n_body);
        memmove(bytes, bytes + n_used, connection->in.n - n_used + 1);
        connection->in.n -= n_used;
        return connection->in.n > 0;
}

static void on_connection_closed(uv_handle_t *handle)
{
        struct connection *connection = handle->data;

        text_deinit(&connection->in);
        free(connection);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
        static char input[1 << 16]; /* copied before anybody reads again */

        *ret = uv_buf_init(input, sizeof(input));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
        struct connection *connection = stream->data;
        uint64_t begin = uv_hrtime();

        if (n < 0) {
                if (connection->api->watch == connection)
                        connection->api->watch = NULL;
                uv_close((uv_handle_t *)stream, on_connection_closed);
                return;
        }
        text_add_bytes(&connection->in, buffer->base, (size_t)n);
        while (take_request(connection))
                ;
        connection->api->busy_ns += uv_hrtime() - begin;
}

static void on_connection(uv_stream_t *listener, int status)
{
        struct connection *connection = xcalloc(1, sizeof(*connection));

        connection->api = listener->data;
        connection->tcp.data = connection;
        check(uv_tcp_init(&bench.loop, &connection->tcp), "TCP");
        check(uv_accept(listener, (uv_stream_t *)&connection->tcp), "accept");
        check(uv_tcp_nodelay(&connection->tcp, 1), "TCP_NODELAY");
        check(uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read), "read");
}

static void api_start(struct api *api, unsigned capacity)
{
        struct sockaddr_in address;
        int n = sizeof(address);

        api->capacity = capacity;
        api->version = 1000;
        api->listener.data = api;
        api->bookmark.data = api;
        check(uv_ip4_addr("127.0.0.1", 0, &address), "address");
        check(uv_tcp_init(&bench.loop, &api->listener), "TCP");
        check(uv_tcp_bind(&api->listener, (struct sockaddr *)&address, 0), "bind");
        check(uv_listen((uv_stream_t *)&api->listener, 64, on_connection), "listen");
        check(uv_tcp_getsockname(&api->listener, (struct sockaddr *)&address, &n), "port");
        api->port = ntohs(address.sin_port);
        uv_timer_init(&bench.loop, &api->bookmark);
        uv_timer_start(&api->bookmark, on_bookmark, BOOKMARK_MS, BOOKMARK_MS);
}

/* ---- the driver, and kubelet's registrar ---- */

static void on_notified(void *owner, const ProtobufCMessage *reply, const struct error *error)
{
        struct node *node = owner;

        if (!reply)
                die("NotifyRegistrationStatus: %s", error->text);
        node->registered_ns = uv_hrtime();
}

static void on_info(void *owner, const ProtobufCMessage *reply, const struct error *error)
{
        const Registration__PluginInfo *info = (const void *)reply;
        Registration__RegistrationStatus status = REGISTRATION__REGISTRATION_STATUS__INIT;
        struct node *node = owner;

        if (!reply)
                die("GetInfo: %s", error->text);
        node->plugin = rpc_client_new(bench.pump, info->endpoint);
        status.plugin_registered = true;
        rpc_client_call(node->registration,
                        "/pluginregistration.Registration/NotifyRegistrationStatus", &status.base,
                        &registration__registration_status_response__descriptor, CALL_MS,
                        on_notified, node);
}

static void on_registry_event(uv_fs_event_t *event, const char *name, int events, int status)
{
        Registration__InfoRequest request = REGISTRATION__INFO_REQUEST__INIT;
        struct node *node = event->data;
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("%s/k/plugins_registry/" REGISTRATION, node->directory);

        if (node->registration || !name || strcmp(name, REGISTRATION) != 0)
                return;
        node->registration = rpc_client_new(bench.pump, path);
        rpc_client_call(node->registration, "/pluginregistration.Registration/GetInfo",
                        &request.base, &registration__plugin_info__descriptor, CALL_MS, on_info,
                        node);
}

/* For e2e/bench/run to end the drivers of a bench that was killed. */
static void note_pid(pid_t pid)
{
        __attribute__((cleanup(cleanup_free))) char *path = xasprintf("%s/pids", bench.directory);
        FILE *file = fopen(path, "a");

        if (!file || fprintf(file, "%d\n", (int)pid) < 0 || fclose(file) != 0)
                die("cannot write %s", path);
}

/* posix_spawn, as nothing may fork once gRPC runs. */
static void spawn_driver(struct node *node, char **arguments)
{
        __attribute__((cleanup(cleanup_free))) char *log = xasprintf("%s/log", node->directory);
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        sigset_t signals;
        int r;

        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND,
                                         0644);
        posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
        posix_spawnattr_init(&attributes);
        /* The shell has its background children ignore SIGINT, and we ignore SIGPIPE. */
        sigfillset(&signals);
        posix_spawnattr_setsigdefault(&attributes, &signals);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
        node->started_ns = uv_hrtime();
        r = posix_spawn(&node->pid, bench.driver, &files, &attributes, arguments, environ);
        if (r)
                die("cannot start %s: %s", bench.driver, strerror(r));
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&files);
        note_pid(node->pid);
}

/* A driver on a new directory, up to its registration and its first slice. */
static struct node *node_start(unsigned capacity, bool is_durable)
{
        struct node *node = xcalloc(1, sizeof(*node));
        char *directory = xasprintf("%s/%u", bench.directory, bench.n_started++);
        char *registry = xasprintf("%s/k/plugins_registry", directory);
        char *arguments[] = { (char *)bench.driver,
                              (char *)"run",
                              (char *)"--node-name",
                              (char *)NODE_NAME,
                              (char *)"--kubelet-dir",
                              xasprintf("%s/k", directory),
                              (char *)"--cdi-dir",
                              xasprintf("%s/cdi", directory),
                              (char *)"--qgs-socket",
                              xasprintf("%s/host/qgs/qgs.socket", directory),
                              (char *)"--capacity",
                              xasprintf("%u", capacity),
                              (char *)"--api-server",
                              NULL,
                              (char *)"--durable",
                              (char *)(is_durable ? "yes" : "no"),
                              NULL };
        struct error error = ERROR_NULL;
        size_t i = 0;
        int fd;

        node->directory = directory;
        if (file_open_directory(registry, 0755, &fd, &error) < 0)
                die("%s", error.text);
        close(fd);
        uv_fs_event_init(&bench.loop, &node->registry);
        node->registry.data = node;
        check(uv_fs_event_start(&node->registry, on_registry_event, registry, 0), "inotify");
        api_start(&node->api, capacity);
        arguments[13] = xasprintf("http://127.0.0.1:%d", node->api.port);
        while (i < NODES_MAX && bench.nodes[i])
                ++i;
        bench.nodes[i] = node;
        spawn_driver(node, arguments);
        turn_until(&node->registered_ns, 1);
        turn_until(&node->api.published_ns, 1);
        free(registry);
        free(arguments[5]);
        free(arguments[7]);
        free(arguments[9]);
        free(arguments[11]);
        free(arguments[13]);
        return node;
}

/* What stands on the loop stays in memory and open: a bench is short-lived, its nodes are few. */
static void node_stop(struct node *node)
{
        int status;

        for (size_t i = 0; i < NODES_MAX; ++i)
                if (bench.nodes[i] == node)
                        bench.nodes[i] = NULL;
        uv_signal_stop(&bench.signals[0]); /* SIGCHLD: this end is wanted */
        rpc_client_free(node->registration);
        rpc_client_free(node->plugin);
        uv_fs_event_stop(&node->registry);
        uv_timer_stop(&node->api.bookmark);
        kill(node->pid, SIGTERM);
        if (waitpid(node->pid, &status, 0) != node->pid || status != 0)
                die("the driver did not end in an orderly way (wait status %d)", status);
        uv_run(&bench.loop, UV_RUN_NOWAIT);
        check(uv_signal_start(&bench.signals[0], on_signal, SIGCHLD), "SIGCHLD");
}

/* ---- samples ---- */

struct samples {
        uint64_t *ns;
        size_t n;
        size_t n_allocated;
};

static void sample(struct samples *samples, uint64_t ns)
{
        if (samples->n == samples->n_allocated) {
                samples->n_allocated = samples->n ? samples->n * 2 : 1024;
                samples->ns = xreallocarray(samples->ns, samples->n_allocated, sizeof(uint64_t));
        }
        samples->ns[samples->n++] = ns;
}

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

/* The nearest-rank percentile in microseconds. */
static double percentile_us(struct samples *samples, unsigned percent)
{
        size_t rank = (samples->n * percent + 99) / 100;

        if (!samples->n)
                return 0;
        qsort(samples->ns, samples->n, sizeof(uint64_t), compare);
        return (double)samples->ns[rank ? rank - 1 : 0] / 1000;
}

static void print(const char *key, double value, int decimals)
{
        printf("%s %.*f\n", key, decimals, value);
        fflush(stdout);
}

static unsigned scaled(unsigned n)
{
        uint64_t result = n * bench.percent / 100;

        return result > 8 ? (unsigned)result : 8;
}

/* ---- kubelet's calls ---- */

struct timings {
        struct samples prepare;
        struct samples prepare_own; /* see the head of this file */
        struct samples get;         /* the stand-in's share, which own lacks */
        struct samples unprepare;
};

/* So many calls of one kind, for the claims from first on, some of them in flight at a time. */
struct burst {
        struct node *node;
        bool is_prepare;
        unsigned first, n, n_begun;
        uint64_t n_done;
        struct timings *timings; /* NULL: nobody wants to know. With it, one is in flight at most */
        uint64_t begin_ns, busy_ns;
};

static void call_next(struct burst *burst);

static const char *complaint_of(const struct burst *burst, const ProtobufCMessage *reply)
{
        const Dra__NodePrepareResourcesResponse *prepared = (const void *)reply;
        const Dra__NodeUnprepareResourcesResponse *unprepared = (const void *)reply;

        if (burst->is_prepare)
                return prepared->n_claims == 1 ? prepared->claims[0]->value->error : "no answer";
        return unprepared->n_claims == 1 ? unprepared->claims[0]->value->error : "no answer";
}

static void on_answer(void *owner, const ProtobufCMessage *reply, const struct error *error)
{
        struct burst *burst = owner;
        struct timings *timings = burst->timings;
        uint64_t ns = uv_hrtime() - burst->begin_ns;
        uint64_t busy_ns = burst->node->api.busy_ns - burst->busy_ns;
        const char *complaint = reply ? complaint_of(burst, reply) : error->text;

        if (*complaint)
                die("%s: %s", burst->is_prepare ? "Prepare" : "Unprepare", complaint);
        if (timings && burst->is_prepare) {
                sample(&timings->prepare, ns);
                sample(&timings->prepare_own, ns - busy_ns);
                sample(&timings->get, busy_ns);
        } else if (timings) {
                sample(&timings->unprepare, ns);
        }
        ++burst->n_done;
        if (burst->n_begun < burst->n)
                call_next(burst);
}

static void call_next(struct burst *burst)
{
        Dra__NodeUnprepareResourcesRequest unprepare = DRA__NODE_UNPREPARE_RESOURCES_REQUEST__INIT;
        Dra__NodePrepareResourcesRequest prepare = DRA__NODE_PREPARE_RESOURCES_REQUEST__INIT;
        Dra__Claim claim = DRA__CLAIM__INIT, *claims[] = { &claim };
        struct rpc_client *plugin = burst->node->plugin;
        char uid[sizeof(UID_FORMAT) + SERIAL_DIGITS];

        snprintf(uid, sizeof(uid), UID_FORMAT, burst->first + burst->n_begun++);
        claim.namespace_ = (char *)"default";
        claim.name = claim.uid = uid;
        prepare.n_claims = unprepare.n_claims = 1;
        prepare.claims = unprepare.claims = claims;
        burst->busy_ns = burst->node->api.busy_ns;
        burst->begin_ns = uv_hrtime();
        if (burst->is_prepare)
                rpc_client_call(plugin, METHOD("NodePrepareResources"), &prepare.base,
                                &dra__node_prepare_resources_response__descriptor, CALL_MS,
                                on_answer, burst);
        else
                rpc_client_call(plugin, METHOD("NodeUnprepareResources"), &unprepare.base,
                                &dra__node_unprepare_resources_response__descriptor, CALL_MS,
                                on_answer, burst);
}

/* Returns the time it took. */
static uint64_t run_burst(struct node *node, bool is_prepare, unsigned first, unsigned n,
                          unsigned n_in_flight, struct timings *timings)
{
        struct burst burst = {
                .node = node, .is_prepare = is_prepare, .first = first, .n = n, .timings = timings
        };
        uint64_t begin_ns = uv_hrtime();

        for (unsigned i = 0; i < n_in_flight && i < n; ++i)
                call_next(&burst);
        turn_until(&burst.n_done, n);
        return uv_hrtime() - begin_ns;
}

/* n new claims, prepared and unprepared one after the other. */
static void run_pairs(struct node *node, unsigned n, struct timings *timings)
{
        for (unsigned i = 0; i < n; ++i) {
                unsigned serial = node->next_serial++;

                run_burst(node, true, serial, 1, 1, timings);
                run_burst(node, false, serial, 1, 1, timings);
        }
}

/* n new claims, wave by wave: each prepares size of them, then unprepares them, eight in flight.
 * Returns the time of the Prepares alone. */
static uint64_t run_waves(struct node *node, unsigned n, unsigned size)
{
        uint64_t prepares_ns = 0;

        for (unsigned i = 0; i < n; i += size) {
                unsigned first = node->next_serial, n_now = n - i < size ? n - i : size;

                node->next_serial += n_now;
                prepares_ns += run_burst(node, true, first, n_now, 8, NULL);
                run_burst(node, false, first, n_now, 8, NULL);
        }
        return prepares_ns;
}

/* ---- what the kernel counts ---- */

/* The number behind "key:" in a file of /proc; 0 where it is gone, as a thread may be. */
static uint64_t proc_number(const char *path, const char *key)
{
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        uint64_t value = 0;
        const char *found;
        size_t n;

        if (file_read(AT_FDCWD, path, 1 << 16, &bytes, &n, NULL) < 0)
                return 0;
        found = strstr(bytes, key);
        if (!found)
                return 0;
        found += strlen(key);
        found += strspn(found, " \t");
        (void)parse_u64(found, strspn(found, "0123456789"), &value);
        return value;
}

static double rss_kib(const struct node *node)
{
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("/proc/%d/status", (int)node->pid);

        return (double)proc_number(path, "\nVmRSS:");
}

/* Returns the number of threads, and what they have been switched so far. */
static unsigned count_threads(const struct node *node, uint64_t *ret_switches)
{
        __attribute__((cleanup(cleanup_free))) char *tasks =
                xasprintf("/proc/%d/task", (int)node->pid);
        DIR *directory = opendir(tasks);
        const struct dirent *entry;
        unsigned n = 0;

        *ret_switches = 0;
        while (directory && (entry = readdir(directory))) {
                __attribute__((cleanup(cleanup_free))) char *path =
                        xasprintf("%s/%s/status", tasks, entry->d_name);

                if (entry->d_name[0] == '.')
                        continue;
                ++n;
                *ret_switches += proc_number(path, "\nvoluntary_ctxt_switches:") +
                                 proc_number(path, "\nnonvoluntary_ctxt_switches:");
        }
        if (directory)
                closedir(directory);
        return n;
}

/* utime + stime of /proc/PID/stat, though by the clock that they are derived from: a tick of theirs
 * is 10 ms, which is most of what an idle minute takes. */
static uint64_t cpu_ns(const struct node *node)
{
        struct timespec used;
        clockid_t clock;

        if (clock_getcpuclockid(node->pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
                die("the driver's CPU time cannot be read");
        return (uint64_t)used.tv_sec * SECOND_NS + (uint64_t)used.tv_nsec;
}

/* ---- scenarios ---- */

static void scenario_start(void)
{
        struct samples registered = { 0 }, published = { 0 };

        for (unsigned i = 0; i < N_STARTS; ++i) {
                struct node *node = node_start(16, true);

                sample(&registered, node->registered_ns - node->started_ns);
                sample(&published, node->api.published_ns - node->started_ns);
                node_stop(node);
        }
        print("start_to_registered_ms", percentile_us(&registered, 50) / 1000, 1);
        print("start_to_published_ms", percentile_us(&published, 50) / 1000, 1);
}

static void scenario_latency(void)
{
        struct node *node = node_start(16, true);
        struct timings timings = { 0 };

        run_pairs(node, WARM_UP, NULL);
        run_pairs(node, scaled(3000), &timings);
        node_stop(node);
        print("prepare_p50_us", percentile_us(&timings.prepare, 50), 0);
        print("prepare_p99_us", percentile_us(&timings.prepare, 99), 0);
        print("unprepare_p50_us", percentile_us(&timings.unprepare, 50), 0);
        print("unprepare_p99_us", percentile_us(&timings.unprepare, 99), 0);
}

static void scenario_throughput(void)
{
        struct node *node = node_start(4096, true);
        unsigned n = scaled(6000);

        run_pairs(node, WARM_UP, NULL);
        print("prepare_per_s_8", (double)n / (double)run_waves(node, n, 2000) * (double)SECOND_NS,
              0);
        node_stop(node);
}

/* Two drivers at once, called by turns: whatever else the machine does meanwhile meets both. */
static void compare_nodes(struct node *a, struct node *b, unsigned n, struct timings *of_a,
                          struct timings *of_b)
{
        run_pairs(a, WARM_UP, NULL);
        run_pairs(b, WARM_UP, NULL);
        for (unsigned i = 0; i < n; i += 50) {
                run_pairs(a, 50, of_a);
                run_pairs(b, 50, of_b);
        }
}

static void scenario_capacity(void)
{
        struct node *small = node_start(16, false), *large = node_start(4096, false);
        struct timings of_small = { 0 }, of_large = { 0 };

        compare_nodes(small, large, scaled(3000), &of_small, &of_large);
        node_stop(small);
        node_stop(large);
        print("prepare_no_io_p50_us", percentile_us(&of_small.prepare_own, 50), 0);
        print("prepare_no_io_4096_tds_p50_us", percentile_us(&of_large.prepare_own, 50), 0);
        print("get_service_p50_us", percentile_us(&of_small.get, 50), 0);
}

static void scenario_held(void)
{
        struct node *few = node_start(4096, false), *many = node_start(4096, false);
        struct timings of_few = { 0 }, of_many = { 0 };

        run_burst(few, true, 0, 1, 1, NULL);
        run_burst(many, true, 0, 4000, 8, NULL);
        few->next_serial = many->next_serial = 4000;
        compare_nodes(few, many, scaled(3000), &of_few, &of_many);
        node_stop(few);
        node_stop(many);
        print("prepare_no_io_1_held_p50_us", percentile_us(&of_few.prepare_own, 50), 0);
        print("prepare_no_io_4000_held_p50_us", percentile_us(&of_many.prepare_own, 50), 0);
}

static uint64_t idle_seconds(void)
{
        const char *value = getenv("BENCH_IDLE_SECONDS");
        uint64_t seconds;

        return value && parse_u64(value, strlen(value), &seconds) == 0 && seconds ? seconds
                                                                                  : IDLE_SECONDS;
}

/* Idle after the load rather than before: what the load leaves behind that keeps busy shows here.
 */
static void measure_idleness(const struct node *node)
{
        uint64_t seconds = idle_seconds(), before_ns, before, after;

        turn_for(SETTLE_MS);
        print("threads", count_threads(node, &before), 0);
        if (!node->api.watch)
                die("the driver watches no slices");
        before_ns = cpu_ns(node);
        turn_for(seconds * 1000);
        print("idle_cpu_percent",
              (double)(cpu_ns(node) - before_ns) * 100 / (double)(seconds * SECOND_NS), 4);
        count_threads(node, &after);
        print("idle_switches_per_s",
              after > before ? (double)(after - before) / (double)seconds : 0, 2);
}

static void scenario_growth(void)
{
        struct node *node = node_start(16, false);
        unsigned n_first = scaled(10000), n_all = scaled(100000);

        turn_for(SETTLE_MS);
        print("rss_idle_kib", rss_kib(node), 0);
        run_waves(node, n_first, 8);
        print("rss_10k_kib", rss_kib(node), 0);
        run_waves(node, n_all - n_first, 8);
        print("rss_100k_kib", rss_kib(node), 0);
        measure_idleness(node);
        node_stop(node);
}

static const struct {
        const char *name;
        void (*run)(void);
} scenarios[] = {
        { "start", scenario_start },
        { "latency", scenario_latency },
        { "throughput", scenario_throughput },
        { "capacity", scenario_capacity },
        { "held", scenario_held },
        { "growth", scenario_growth },
};

static void set_up(void)
{
        static const int numbers[] = { SIGCHLD, SIGINT, SIGTERM };
        const char *percent = getenv("BENCH_PERCENT");

        if (!percent || parse_u64(percent, strlen(percent), &bench.percent) < 0)
                bench.percent = 100;
        signal(SIGPIPE, SIG_IGN);
        check(uv_loop_init(&bench.loop), "loop");
        uv_timer_init(&bench.loop, &bench.stall);
        for (size_t i = 0; i < array_size(numbers); ++i) {
                uv_signal_init(&bench.loop, &bench.signals[i]);
                check(uv_signal_start(&bench.signals[i], on_signal, numbers[i]), "signal");
        }
        bench.pump = rpc_pump_start(&bench.loop);
}

int main(int argc, char **argv)
{
        if (argc != 4) {
                fputs("Usage: bench SCENARIO DRIVER DIRECTORY\n", stderr);
                return 2;
        }
        bench.driver = argv[2];
        bench.directory = argv[3];
        for (size_t i = 0; i < array_size(scenarios); ++i)
                if (strcmp(scenarios[i].name, argv[1]) == 0) {
                        set_up();
                        scenarios[i].run();
                        /* Past gRPC's and libuv's orderly ends, which nobody measures. */
                        fflush(stdout);
                        _exit(0);
                }
        fprintf(stderr, "bench: there is no scenario \"%s\"\n", argv[1]);
        return 2;
}
