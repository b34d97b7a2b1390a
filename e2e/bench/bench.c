/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the driver from outside. Run it through e2e/bench/run.
 *
 *         bench SCENARIO DRIVER CALLER DIRECTORY MEMORY   prints "key value" lines
 *
 * One loop in this process stands in for kubelet (a registrar that inotify wakes, and a gRPC client
 * on the driver's unix sockets; a process that does nothing else, e2e/bench/caller, makes the timed
 * calls) and for the API server (HTTP/1.1 on loopback; those of e2e/sim/ are Python, and the bench
 * would measure them). The figures include the cost of the stand-ins, except those named "no_io":
 * Prepare without I/O is the median of its time at the client, less the median of a GET of a claim
 * (the driver's HTTP client in a second thread, kept alive, by turns with the calls); the records
 * lie below MEMORY (tmpfs) and nothing is synced. Besides the driver they still include the
 * kernel's part (waking, the unix socket) and the gRPC client.
 *
 * BENCH_PERCENT scales the counts (default 100), BENCH_IDLE_SECONDS the time of idleness (60).
 */
#include "e2e/bench/api.h"
#include "e2e/bench/figures.h"
#include "e2e/bench/process.h"
#include "e2e/bench/request.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"
#include "dra.pb-c.h"
#include "kube/credentials.h"
#include "kube/http.h"
#include "pluginregistration.pb-c.h"
#include "podresources.pb-c.h"
#include "rpc/client.h"
#include "rpc/listener.h"
#include "rpc/pump.h"
#include "rpc/server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <uv.h>

#define REGISTRATION "tdx.kubevirt.io-reg.sock"
#define NODES_MAX    2
#define CALL_MS      45000
#define STALL_MS     60000 /* time without progress after which the run is given up */
#define SETTLE_MS    2000  /* after a start or a load, until the driver counts as idle */
#define N_STARTS     11
#define WARM_UP      100 /* pairs before the measured ones */
#define IN_FLIGHT    8   /* calls of a burst */
#define SECOND_NS    UINT64_C(1000000000)
#define IDLE_SECONDS 60

/* A driver between its stand-ins. */
struct node {
        char *directory; /* holds its log */
        char *state;     /* kubelet's directory and the CDI spec */
        struct api api;
        pid_t pid, caller;
        uv_fs_event_t registry;
        struct rpc_listener *podresources;
        struct rpc_client *registration;
        struct rpc_client *plugin;
        FILE *to_caller, *from_caller; /* the process that makes timed calls */
        uint64_t started_ns;
        uint64_t registered_ns; /* 0: not registered yet */
        unsigned next_serial;   /* the next claim's; owned by the worker while it calls */
};

static struct {
        uv_loop_t loop;
        struct rpc_pump *pump;
        struct rpc_server *kubelet; /* podresources */
        uv_signal_t signals[3];
        uv_timer_t stall;
        struct node *nodes[NODES_MAX]; /* the running ones */
        const char *driver, *caller;
        const char *directory;
        const char *memory;
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

void die(const char *format, ...)
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

void check(int r, const char *what)
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

/* Turn the loop for this long, so that the stand-ins answer. */
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

/* ---- kubelet's podresources: no pod holds a plugin device ---- */

static void on_list_pod_resources(void *owner, struct rpc_call *call,
                                  const ProtobufCMessage *request)
{
        Podresources__ListPodResourcesResponse response =
                PODRESOURCES__LIST_POD_RESOURCES_RESPONSE__INIT;

        rpc_call_reply(call, &response.base);
}

static const struct rpc_method podresources_methods[] = {
        { "/v1.PodResourcesLister/List", &podresources__list_pod_resources_request__descriptor,
          on_list_pod_resources },
};

static void on_kubelet_connection(void *owner, int fd)
{
        rpc_server_adopt(bench.kubelet, fd);
}

/* ---- processes ---- */

/* e2e/bench/run ends these drivers if the bench is killed. */
static void note_pid(pid_t pid)
{
        _cleanup_(free) char *path = xasprintf("%s/pids", bench.directory);
        FILE *file = fopen(path, "a");

        if (!file || fprintf(file, "%d\n", (int)pid) < 0 || fclose(file) != 0)
                die("cannot write %s", path);
}

/* in: -1 for none. out: -1 for the node's log. */
static pid_t start(struct node *node, const char *program, char **arguments, int in, int out)
{
        _cleanup_(free) char *log = xasprintf("%s/log", node->directory);
        pid_t pid = process_spawn(program, arguments, log, in, out);

        if (pid < 0)
                die("cannot start %s: %s", program, strerror(-pid));
        return pid;
}

/* The caller ends at the end of its input. */
static void spawn_caller(struct node *node, const char *endpoint)
{
        char *arguments[] = { (char *)bench.caller, (char *)endpoint, NULL };
        int in[2], out[2];

        if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
                die("no pipe");
        node->caller = start(node, bench.caller, arguments, in[0], out[1]);
        close(in[0]);
        close(out[1]);
        node->to_caller = fdopen(in[1], "w");
        node->from_caller = fdopen(out[0], "r");
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
        spawn_caller(node, info->endpoint);
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
        _cleanup_(free) char *path = xasprintf("%s/k/plugins_registry/" REGISTRATION, node->state);

        if (node->registration || !name || strcmp(name, REGISTRATION) != 0)
                return;
        node->registration = rpc_client_new(bench.pump, path);
        rpc_client_call(node->registration, "/pluginregistration.Registration/GetInfo",
                        &request.base, &registration__plugin_info__descriptor, CALL_MS, on_info,
                        node);
}

static void make_directory(const char *path)
{
        struct error error = ERROR_NULL;
        int fd;

        if (file_open_directory(path, 0755, &fd, &error) < 0)
                die("%s", error.text);
        close(fd);
}

/* kubelet and the API server, as the driver finds them. */
static struct node *node_new(unsigned capacity, bool is_durable)
{
        struct node *node = xcalloc(1, sizeof(*node));
        char *state =
                xasprintf("%s/%u", is_durable ? bench.directory : bench.memory, bench.n_started);
        _cleanup_(free) char *registry = xasprintf("%s/k/plugins_registry", state);
        _cleanup_(free) char *podresources = xasprintf("%s/k/pod-resources", state);
        _cleanup_(free) char *socket = xasprintf("%s/kubelet.sock", podresources);
        struct error error = ERROR_NULL;

        node->directory = xasprintf("%s/%u", bench.directory, bench.n_started++);
        node->state = state;
        make_directory(node->directory);
        make_directory(registry);
        uv_fs_event_init(&bench.loop, &node->registry);
        node->registry.data = node;
        check(uv_fs_event_start(&node->registry, on_registry_event, registry, 0), "inotify");
        make_directory(podresources);
        node->podresources = rpc_listener_new(&bench.loop, socket, on_kubelet_connection, NULL);
        if (rpc_listener_listen(node->podresources, &error) < 0)
                die("%s", error.text);
        api_start(&node->api, &bench.loop, capacity);
        return node;
}

/* Starts a driver with an empty state and waits for its registration and its first slice. */
static struct node *node_start(unsigned capacity, bool is_durable)
{
        struct node *node = node_new(capacity, is_durable);
        char *arguments[] = {
                (char *)bench.driver,
                (char *)"run",
                (char *)"--node-name=" NODE_NAME,
                (char *)(is_durable ? "--durable=yes" : "--durable=no"),
                xasprintf("--kubelet-dir=%s/k", node->state),
                xasprintf("--device-plugin-dir=%s/k/device-plugins", node->state),
                xasprintf("--cdi-dir=%s/cdi", node->state),
                xasprintf("--qgs-socket=%s/host/qgs/qgs.socket", node->directory),
                xasprintf("--capacity=%u", capacity),
                xasprintf("--api-server=http://127.0.0.1:%d", node->api.port),
                NULL,
        };
        size_t i = 0;

        while (i < NODES_MAX && bench.nodes[i])
                ++i;
        bench.nodes[i] = node;
        node->started_ns = uv_hrtime();
        node->pid = start(node, bench.driver, arguments, -1, -1);
        note_pid(node->pid);
        turn_until(&node->registered_ns, 1);
        turn_until(&node->api.published_ns, 1);
        for (size_t j = 4; arguments[j]; ++j)
                free(arguments[j]);
        return node;
}

/* Handles on the loop stay open and allocated: the bench is short-lived, and its nodes are few. */
static void node_stop(struct node *node)
{
        int status;

        for (size_t i = 0; i < NODES_MAX; ++i)
                if (bench.nodes[i] == node)
                        bench.nodes[i] = NULL;
        uv_signal_stop(&bench.signals[0]); /* SIGCHLD: this end is intended */
        rpc_client_free(node->registration);
        rpc_client_free(node->plugin);
        fclose(node->to_caller);
        fclose(node->from_caller);
        (void)waitpid(node->caller, NULL, 0);
        rpc_listener_free(node->podresources);
        uv_fs_event_stop(&node->registry);
        uv_timer_stop(&node->api.bookmark);
        kill(node->pid, SIGTERM);
        if (waitpid(node->pid, &status, 0) != node->pid || status != 0)
                die("the driver did not end in an orderly way (wait status %d)", status);
        uv_run(&bench.loop, UV_RUN_NOWAIT);
        check(uv_signal_start(&bench.signals[0], on_signal, SIGCHLD), "SIGCHLD");
}

/* ---- figures ---- */
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
        struct samples unprepare;
        struct samples empty;
        struct samples get;
};

/* n calls of one kind for the claims from first on, several in flight at a time. */
struct burst {
        struct node *node;
        enum request_kind kind;
        unsigned first, n, n_begun;
        uint64_t n_done;
};

static void call_next(struct burst *burst);

static void on_answer(void *owner, const ProtobufCMessage *reply, const struct error *error)
{
        struct burst *burst = owner;

        const char *complaint = request_complaint(burst->kind, reply);

        if (complaint)
                die("call refused: %s %s", complaint, error->text);
        ++burst->n_done;
        if (burst->n_begun < burst->n)
                call_next(burst);
}

static void call_next(struct burst *burst)
{
        struct request request;

        request_init(&request, burst->kind, burst->first + burst->n_begun++);
        rpc_client_call(burst->node->plugin, request.method, request.message, request.reply_kind,
                        CALL_MS, on_answer, burst);
}

/* Returns the time it took. */
static uint64_t run_burst(struct node *node, enum request_kind kind, unsigned first, unsigned n)
{
        struct burst burst = { .node = node, .kind = kind, .first = first, .n = n };
        uint64_t begin_ns = uv_hrtime();

        for (unsigned i = 0; i < IN_FLIGHT && i < n; ++i)
                call_next(&burst);
        turn_until(&burst.n_done, n);
        return uv_hrtime() - begin_ns;
}

/* n new claims in waves: each wave prepares size claims, then unprepares them. Returns the time of
 * the Prepares alone. */
static uint64_t run_waves(struct node *node, unsigned n, unsigned size)
{
        uint64_t prepares_ns = 0;

        for (unsigned i = 0; i < n; i += size) {
                unsigned first = node->next_serial, n_now = n - i < size ? n - i : size;

                node->next_serial += n_now;
                prepares_ns += run_burst(node, REQUEST_PREPARE, first, n_now);
                run_burst(node, REQUEST_UNPREPARE, first, n_now);
        }
        return prepares_ns;
}

/* Calls one after the other, made by e2e/bench/caller; a worker reads its figures while the loop
 * turns. */
struct sequence {
        uv_work_t work;
        struct node *node;
        unsigned n_pairs, n_empty;
        struct timings *timings;
        uint64_t n_done;
};

/* Each line has a kind of call and its nanoseconds; "done" ends the sequence. */
static void take_figures(struct node *node, struct timings *timings)
{
        char line[256], kind[32];
        uint64_t ns;

        for (;;) {
                if (!fgets(line, sizeof(line), node->from_caller))
                        die("the caller has ended: see its log");
                if (strcmp(line, "done\n") == 0)
                        return;
                if (sscanf(line, "%31s %" SCNu64, kind, &ns) != 2)
                        die("the caller said %s", line);
                sample(strcmp(kind, "prepare") == 0     ? &timings->prepare
                       : strcmp(kind, "unprepare") == 0 ? &timings->unprepare
                                                        : &timings->empty,
                       ns);
        }
}

static void make_calls(uv_work_t *work)
{
        struct sequence *sequence = work->data;
        struct node *node = sequence->node;

        fprintf(node->to_caller, "%u %u %u\n", node->next_serial, sequence->n_pairs,
                sequence->n_empty);
        fflush(node->to_caller);
        node->next_serial += sequence->n_pairs;
        take_figures(node, sequence->timings);
}

static void on_calls_made(uv_work_t *work, int status)
{
        struct sequence *sequence = work->data;

        sequence->n_done = 1;
}

/* n_pairs new claims, prepared and unprepared, then n_empty calls of no claim. */
static void run_sequence(struct node *node, unsigned n_pairs, unsigned n_empty,
                         struct timings *timings)
{
        struct sequence sequence = {
                .node = node, .n_pairs = n_pairs, .n_empty = n_empty, .timings = timings
        };

        sequence.work.data = &sequence;
        check(uv_queue_work(&bench.loop, &sequence.work, make_calls, on_calls_made), "worker");
        turn_until(&sequence.n_done, 1);
}

static void warm_up(struct node *node)
{
        struct timings unwanted = { 0 };

        run_sequence(node, WARM_UP, 0, &unwanted);
}

/* ---- GETs of a claim ---- */

/* The driver's HTTP client on a second loop in libuv's worker, while the bench's loop answers. */
struct gets {
        uv_work_t work;
        struct node *node;
        unsigned n;
        struct samples *samples;
        struct http *http;
        uint64_t begin_ns;
        uint64_t n_done;
};

static void on_got(void *owner, const struct http_reply *reply);

static void get_next(struct gets *gets)
{
        char path[sizeof(CLAIMS UID_FORMAT) + SERIAL_DIGITS];
        struct http_request request = { .method = "GET",
                                        .path = path,
                                        .max_reply = 1 << 20,
                                        .on_reply = on_got,
                                        .owner = gets };

        snprintf(path, sizeof(path), CLAIMS UID_FORMAT, gets->n);
        gets->begin_ns = uv_hrtime();
        http_start(gets->http, &request);
}

static void on_got(void *owner, const struct http_reply *reply)
{
        struct gets *gets = owner;

        if (reply->status != 200)
                die("the stand-in answered a GET with %d: %s", reply->status, reply->error.text);
        sample(gets->samples, uv_hrtime() - gets->begin_ns);
        if (--gets->n)
                get_next(gets);
        else
                http_free(gets->http);
}

static void make_gets(uv_work_t *work)
{
        struct gets *gets = work->data;
        _cleanup_(free) char *url = xasprintf("http://127.0.0.1:%d", gets->node->api.port);
        const struct kube_credentials credentials = { .url = url };
        struct error error = ERROR_NULL;
        uv_loop_t loop;

        check(uv_loop_init(&loop), "loop");
        if (http_new(&loop, &credentials, &gets->http, &error) < 0)
                die("%s", error.text);
        get_next(gets);
        uv_run(&loop, UV_RUN_DEFAULT);
        check(uv_loop_close(&loop), "loop");
}

static void on_gets_done(uv_work_t *work, int status)
{
        struct gets *gets = work->data;

        gets->n_done = 1;
}

static void run_gets(struct node *node, unsigned n, struct timings *timings)
{
        struct gets gets = { .node = node, .n = n, .samples = &timings->get };

        gets.work.data = &gets;
        check(uv_queue_work(&bench.loop, &gets.work, make_gets, on_gets_done), "worker");
        turn_until(&gets.n_done, 1);
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

/* The disk's time for a record, written as the driver writes it: the floor of a Prepare. */
static void time_disk(struct samples *samples, unsigned n)
{
        static const char record[512];
        struct error error = ERROR_NULL;
        int fd;

        if (file_open_directory(bench.directory, 0700, &fd, &error) < 0)
                die("%s", error.text);
        for (unsigned i = 0; i < n; ++i) {
                uint64_t begin_ns = uv_hrtime();
                int r = file_replace(fd, "record", record, sizeof(record), 0600, FILE_SYNCED,
                                     &error);

                if (r < 0 || fsync(fd) < 0)
                        die("the disk refuses a record: %s", error.text);
                sample(samples, uv_hrtime() - begin_ns);
                unlinkat(fd, "record", 0);
        }
        close(fd);
}

static void scenario_latency(void)
{
        struct node *node = node_start(16, true);
        struct timings timings = { 0 };
        struct samples disk = { 0 };

        warm_up(node);
        for (unsigned i = 0; i < 10; ++i) {
                run_sequence(node, scaled(300), 0, &timings);
                time_disk(&disk, scaled(100));
        }
        node_stop(node);
        print("prepare_p50_us", percentile_us(&timings.prepare, 50), 0);
        print("prepare_p99_us", percentile_us(&timings.prepare, 99), 0);
        print("unprepare_p50_us", percentile_us(&timings.unprepare, 50), 0);
        print("unprepare_p99_us", percentile_us(&timings.unprepare, 99), 0);
        print("disk_p50_us", percentile_us(&disk, 50), 0);
        print("disk_p99_us", percentile_us(&disk, 99), 0);
}

static void scenario_throughput(void)
{
        struct node *node = node_start(128, true); /* about as many key IDs as a large host has */
        unsigned n = scaled(6000);

        warm_up(node);
        print("prepare_per_s_8", (double)n / (double)run_waves(node, n, 120) * (double)SECOND_NS,
              0);
        node_stop(node);
}

/* Two drivers at once, called alternately, so that other load on the machine affects both alike. */
static void compare_nodes(struct node *a, struct node *b, unsigned n, struct timings *of_a,
                          struct timings *of_b)
{
        warm_up(a);
        warm_up(b);
        for (unsigned i = 0; i < n; i += 50) {
                run_sequence(a, 50, 50, of_a);
                run_gets(a, 50, of_a);
                run_sequence(b, 50, 50, of_b);
                run_gets(b, 50, of_b);
        }
}

static double no_io_us(struct timings *timings)
{
        return percentile_us(&timings->prepare, 50) - percentile_us(&timings->get, 50);
}

static void scenario_capacity(void)
{
        struct node *small = node_start(16, false), *large = node_start(4096, false);
        struct timings of_small = { 0 }, of_large = { 0 };

        compare_nodes(small, large, scaled(3000), &of_small, &of_large);
        node_stop(small);
        node_stop(large);
        print("prepare_no_io_p50_us", no_io_us(&of_small), 0);
        print("prepare_no_io_4096_tds_p50_us", no_io_us(&of_large), 0);
        print("empty_call_p50_us", percentile_us(&of_small.empty, 50), 0);
        print("get_p50_us", percentile_us(&of_small.get, 50), 0);
}

static void scenario_held(void)
{
        struct node *few = node_start(4096, false), *many = node_start(4096, false);
        struct timings of_few = { 0 }, of_many = { 0 };

        run_burst(few, REQUEST_PREPARE, 0, 1);
        run_burst(many, REQUEST_PREPARE, 0, 4000);
        few->next_serial = many->next_serial = 4000;
        compare_nodes(few, many, scaled(3000), &of_few, &of_many);
        node_stop(few);
        node_stop(many);
        print("prepare_no_io_1_held_p50_us", no_io_us(&of_few), 0);
        print("prepare_no_io_4000_held_p50_us", no_io_us(&of_many), 0);
}

static uint64_t idle_seconds(void)
{
        const char *value = getenv("BENCH_IDLE_SECONDS");
        uint64_t seconds;

        return value && parse_u64(value, strlen(value), &seconds) == 0 && seconds ? seconds
                                                                                  : IDLE_SECONDS;
}

/* Idle after the load rather than before it, so that leftovers of the load show. */
static void measure_idleness(const struct node *node)
{
        uint64_t seconds = idle_seconds(), before_ns, before, after;

        turn_for(SETTLE_MS);
        print("threads", process_count_threads(node->pid, &before), 0);
        if (!node->api.watch)
                die("the driver watches no slices");
        before_ns = process_cpu_ns(node->pid);
        turn_for(seconds * 1000);
        print("idle_cpu_percent",
              (double)(process_cpu_ns(node->pid) - before_ns) * 100 / (double)(seconds * SECOND_NS),
              4);
        process_count_threads(node->pid, &after);
        print("idle_switches_per_s",
              after > before ? (double)(after - before) / (double)seconds : 0, 2);
}

static void scenario_growth(void)
{
        struct node *node = node_start(16, false);
        unsigned n_first = scaled(10000), n_all = scaled(100000);

        turn_for(SETTLE_MS);
        print("rss_idle_kib", process_rss_kib(node->pid), 0);
        run_waves(node, n_first, 8);
        print("rss_10k_kib", process_rss_kib(node->pid), 0);
        run_waves(node, n_all - n_first, 8);
        print("rss_100k_kib", process_rss_kib(node->pid), 0);
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
        bench.kubelet = rpc_server_new(&bench.loop, bench.pump);
        rpc_server_add_service(bench.kubelet, podresources_methods,
                               array_size(podresources_methods), NULL);
        rpc_server_start(bench.kubelet);
}

int main(int argc, char **argv)
{
        if (argc != 6) {
                fputs("Usage: bench SCENARIO DRIVER CALLER DIRECTORY MEMORY\n", stderr);
                return 2;
        }
        bench.driver = argv[2];
        bench.caller = argv[3];
        bench.directory = argv[4];
        bench.memory = argv[5];
        for (size_t i = 0; i < array_size(scenarios); ++i)
                if (strcmp(scenarios[i].name, argv[1]) == 0) {
                        set_up();
                        scenarios[i].run();
                        /* Skip the orderly end of gRPC and libuv, which is not measured. */
                        fflush(stdout);
                        _exit(0);
                }
        fprintf(stderr, "bench: there is no scenario \"%s\"\n", argv[1]);
        return 2;
}
