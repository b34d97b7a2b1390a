/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/bench/api.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/parse.h"
#include "base/text.h"
#include "e2e/bench/request.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define BOOKMARK_MS 60000 /* about as often as the API server sends one to an idle watch */

struct connection {
        uv_tcp_t tcp;
        struct api *api;
        struct text in;
};

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
        _cleanup_(text) struct text out = TEXT_NULL;

        text_addf(&out,
                  "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                  status, strlen(body));
        text_add(&out, body);
        put(connection, out.bytes, out.n);
}

static void answer_object(struct connection *connection, const char *status,
                          const struct json *object)
{
        _cleanup_(free) char *body = json_print(object);

        answer(connection, status, body);
}

/* The claim has the size and the fields of a claim with one request at a real server. Its UID is
 * its name, whose digits also name a device. */
static void answer_claim(struct connection *connection, const char *name)
{
        _cleanup_(text) struct text body = TEXT_NULL;
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
        _cleanup_(free) char *printed = json_print(object);
        _cleanup_(free) char *line = xasprintf("{\"type\":\"%s\",\"object\":%s}\n", type, printed);
        _cleanup_(free) char *chunk = xasprintf("%zx\r\n%s\r\n", strlen(line), line);

        if (api->watch)
                put(api->watch, chunk, strlen(chunk));
}

static struct json *new_slice_kind(const char *kind, int64_t version, struct json **ret_metadata)
{
        _cleanup_(free) char *text = xasprintf("%" PRId64, version);
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
        json_add(metadata, "ownerReferences",
                 json_copy(json_get(json_get(sent, "metadata"), "ownerReferences")));
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

/* Serves one whole request and takes it from the input. False: there is none yet. */
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
        static char input[1 << 16]; /* copied before the next read */

        *ret = uv_buf_init(input, sizeof(input));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
        struct connection *connection = stream->data;

        if (n < 0) {
                if (connection->api->watch == connection)
                        connection->api->watch = NULL;
                uv_close((uv_handle_t *)stream, on_connection_closed);
                return;
        }
        text_add_bytes(&connection->in, buffer->base, (size_t)n);
        while (take_request(connection))
                ;
}

static void on_connection(uv_stream_t *listener, int status)
{
        struct connection *connection = xcalloc(1, sizeof(*connection));

        connection->api = listener->data;
        connection->tcp.data = connection;
        check(uv_tcp_init(listener->loop, &connection->tcp), "TCP");
        check(uv_accept(listener, (uv_stream_t *)&connection->tcp), "accept");
        check(uv_tcp_nodelay(&connection->tcp, 1), "TCP_NODELAY");
        check(uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read), "read");
}

void api_start(struct api *api, uv_loop_t *loop, unsigned capacity)
{
        struct sockaddr_in address;
        int n = sizeof(address);

        api->capacity = capacity;
        api->version = 1000;
        api->listener.data = api;
        api->bookmark.data = api;
        check(uv_ip4_addr("127.0.0.1", 0, &address), "address");
        check(uv_tcp_init(loop, &api->listener), "TCP");
        check(uv_tcp_bind(&api->listener, (struct sockaddr *)&address, 0), "bind");
        check(uv_listen((uv_stream_t *)&api->listener, 64, on_connection), "listen");
        check(uv_tcp_getsockname(&api->listener, (struct sockaddr *)&address, &n), "port");
        api->port = ntohs(address.sin_port);
        uv_timer_init(loop, &api->bookmark);
        uv_timer_start(&api->bookmark, on_bookmark, BOOKMARK_MS, BOOKMARK_MS);
}
