/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the driver from outside; e2e/bench/run is what to call.
 *
 *         bench SCENARIO DRIVER DIRECTORY MEMORY          prints "key value" lines
 *
 * One loop in this process stands in for kubelet (a registrar that inotify wakes, and a gRPC client
 * on the driver's unix sockets) and for the API server (HTTP/1.1 on loopback; the simulators of
 * e2e/sim/ are Python, and would be what is measured). Whatever the stand-ins cost on the way of a
 * call is in its figure, except in those named "no_io":
 *
 * Prepare without I/O is the median of its time at the client, less the median of a GET of a claim
 * (the driver's HTTP client in a thread of its own, kept alive, by turns with the calls);
 * the records lie below MEMORY (tmpfs) and nothing is synced. What remains, besides the driver, is
 * the kernel's part (waking, the unix socket) and the gRPC client.
 *
 * BENCH_PERCENT scales the counts (default 100), BENCH_IDLE_SECONDS the time of idleness (60).
 */
#include "e2e/bench/api.h"

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
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <uv.h>

#define REGISTRATION "tdx.kubevirt.io-reg.sock"
#define METHOD(name) "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/" name
#define NODES_MAX    2
#define CALL_MS      45000
#define STALL_MS     60000 /* without anything done, the run is given up */
#define SETTLE_MS    2000  /* after a start or a load, until the driver counts as idle */
#define N_STARTS     11
#define WARM_UP      100 /* pairs before those that count */
#define UID_FORMAT   "00000000-0000-4000-8000-%012u"
#define SECOND_NS    UINT64_C(1000000000)
#define IDLE_SECONDS 60

/* A driver between its stand-ins. */
struct node {
        char *directory; /* its log */
        char *state;     /* kubelet's directory and the CDI spec */
        struct api api;
        pid_t pid;
        uv_fs_event_t registry;
        struct rpc_listener *podresources;
        struct rpc_client *registration;
        struct rpc_client *plugin;
        uint64_t started_ns;
        uint64_t registered_ns; /* 0: not yet */
        unsigned next_serial;   /* of the claim that comes next */
};

static struct {
        uv_loop_t loop;
        struct rpc_pump *pump;
        struct rpc_server *kubelet; /* podresources */
        uv_signal_t signals[3];
        uv_timer_t stall;
        struct node *nodes[NODES_MAX]; /* that run */
        const char *driver;
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

static void die(const char *format, ...)
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
                xasprintf("%s/k/plugins_registry/" REGISTRATION, node->state);

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
        __attribute__((cleanup(cleanup_free))) char *registry =
                xasprintf("%s/k/plugins_registry", state);
        __attribute__((cleanup(cleanup_free))) char *podresources =
                xasprintf("%s/k/pod-resources", state);
        __attribute__((cleanup(cleanup_free))) char *socket =
                xasprintf("%s/kubelet.sock", podresources);
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

/* A driver that knows of nothing, up to its registration and its first slice. */
static struct node *node_start(unsigned capacity, bool is_durable)
{
        struct node *node = node_new(capacity, is_durable);
        char *arguments[] = {
                (char *)bench.driver,
                (char *)"run",
                (char *)"--node-name=" NODE_NAME,
                (char *)(is_durable ? "--durable=yes" : "--durable=no"),
                xasprintf("--kubelet-dir=%s/k", node->state),
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
        spawn_driver(node, arguments);
        turn_until(&node->registered_ns, 1);
        turn_until(&node->api.published_ns, 1);
        for (size_t j = 4; arguments[j]; ++j)
                free(arguments[j]);
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
        rpc_listener_free(node->podresources);
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
        struct samples unprepare;
        struct samples empty;
        struct samples get;
};

enum call_kind {
        PREPARE,
        UNPREPARE,
        EMPTY /* a Prepare of no claim: what any call costs */
};

/* So many calls of one kind, for the claims from first on, some of them in flight at a time. */
struct burst {
        struct node *node;
        enum call_kind kind;
        unsigned first, n, n_begun;
        uint64_t n_done;
        struct timings *timings; /* NULL: nobody wants to know. With it, one is in flight at most */
        uint64_t begin_ns;
};

static void call_next(struct burst *burst);

static const char *complaint_of(const struct burst *burst, const ProtobufCMessage *reply)
{
        const Dra__NodePrepareResourcesResponse *prepared = (const void *)reply;
        const Dra__NodeUnprepareResourcesResponse *unprepared = (const void *)reply;

        if (burst->kind == EMPTY)
                return "";
        if (burst->kind == PREPARE)
                return prepared->n_claims == 1 ? prepared->claims[0]->value->error : "no answer";
        return unprepared->n_claims == 1 ? unprepared->claims[0]->value->error : "no answer";
}

static void on_answer(void *owner, const ProtobufCMessage *reply, const struct error *error)
{
        struct burst *burst = owner;
        struct timings *timings = burst->timings;
        uint64_t ns = uv_hrtime() - burst->begin_ns;
        const char *complaint = reply ? complaint_of(burst, reply) : error->text;

        if (*complaint)
                die("%s: %s", burst->kind == UNPREPARE ? "Unprepare" : "Prepare", complaint);
        if (timings)
                sample(burst->kind == PREPARE ? &timings->prepare
                       : burst->kind == EMPTY ? &timings->empty
                                              : &timings->unprepare,
                       ns);
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
        prepare.n_claims = unprepare.n_claims = burst->kind == EMPTY ? 0 : 1;
        prepare.claims = unprepare.claims = claims;
        burst->begin_ns = uv_hrtime();
        if (burst->kind != UNPREPARE)
                rpc_client_call(plugin, METHOD("NodePrepareResources"), &prepare.base,
                                &dra__node_prepare_resources_response__descriptor, CALL_MS,
                                on_answer, burst);
        else
                rpc_client_call(plugin, METHOD("NodeUnprepareResources"), &unprepare.base,
                                &dra__node_unprepare_resources_response__descriptor, CALL_MS,
                                on_answer, burst);
}

/* Returns the time it took. */
static uint64_t run_burst(struct node *node, enum call_kind kind, unsigned first, unsigned n,
                          unsigned n_in_flight, struct timings *timings)
{
        struct burst burst = {
                .node = node, .kind = kind, .first = first, .n = n, .timings = timings
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

                run_burst(node, PREPARE, serial, 1, 1, timings);
                run_burst(node, UNPREPARE, serial, 1, 1, timings);
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
                prepares_ns += run_burst(node, PREPARE, first, n_now, 8, NULL);
                run_burst(node, UNPREPARE, first, n_now, 8, NULL);
        }
        return prepares_ns;
}

/* ---- GETs of a claim ---- */

/* The driver's own HTTP client, on a loop of its own in libuv's worker, while the bench's loop
 * answers. */
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
        __attribute__((cleanup(cleanup_free))) char *url =
                xasprintf("http://127.0.0.1:%d", gets->node->api.port);
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

/* What the disk alone takes for a record, made as the driver makes it: the floor of a Prepare. */
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

        run_pairs(node, WARM_UP, NULL);
        for (unsigned i = 0; i < 10; ++i) {
                run_pairs(node, scaled(300), &timings);
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

        run_pairs(node, WARM_UP, NULL);
        print("prepare_per_s_8", (double)n / (double)run_waves(node, n, 120) * (double)SECOND_NS,
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
                run_gets(a, 50, of_a);
                run_pairs(b, 50, of_b);
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
        run_burst(small, EMPTY, 0, scaled(3000), 1, &of_small);
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

        run_burst(few, PREPARE, 0, 1, 1, NULL);
        run_burst(many, PREPARE, 0, 4000, 8, NULL);
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
        bench.kubelet = rpc_server_new(&bench.loop, bench.pump);
        rpc_server_add_service(bench.kubelet, podresources_methods,
                               array_size(podresources_methods), NULL);
        rpc_server_start(bench.kubelet);
}

int main(int argc, char **argv)
{
        if (argc != 5) {
                fputs("Usage: bench SCENARIO DRIVER DIRECTORY MEMORY\n", stderr);
                return 2;
        }
        bench.driver = argv[2];
        bench.directory = argv[3];
        bench.memory = argv[4];
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
