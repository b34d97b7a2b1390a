/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the device plugin from outside. Run it through e2e/bench/run.
 *
 *         plugin DRIVER CALLER DIRECTORY          prints "key value" lines
 *
 * This process is kubelet's registration and podresources on one loop, with no pod;
 * e2e/bench/caller makes the timed calls on a node of 4096 TDs.
 */
#include "e2e/bench/figures.h"
#include "e2e/bench/process.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "deviceplugin.pb-c.h"
#include "podresources.pb-c.h"
#include "rpc/listener.h"
#include "rpc/pump.h"
#include "rpc/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <uv.h>

#define N_LISTS     300
#define N_ALLOCATES 3000
#define PATIENCE_MS 30000

static struct {
        uv_loop_t loop;
        struct rpc_server *server;
        const char *directory;
        const char *caller;
        pid_t driver;
        bool is_registered;
        bool is_over;
        uint64_t n_questions;
} kubelet;

static void die(const char *what)
{
        if (kubelet.driver > 0)
                kill(kubelet.driver, SIGKILL);
        fprintf(stderr, "plugin: %s\n", what);
        _exit(1);
}

static void on_register(void *owner, struct rpc_call *call, const ProtobufCMessage *request)
{
        Deviceplugin__Empty reply = DEVICEPLUGIN__EMPTY__INIT;

        rpc_call_reply(call, &reply.base);
        kubelet.is_registered = true;
}

static void on_list(void *owner, struct rpc_call *call, const ProtobufCMessage *request)
{
        Podresources__ListPodResourcesResponse response =
                PODRESOURCES__LIST_POD_RESOURCES_RESPONSE__INIT;

        ++kubelet.n_questions;
        rpc_call_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
        { "/v1beta1.Registration/Register", &deviceplugin__register_request__descriptor,
          on_register },
        { "/v1.PodResourcesLister/List", &podresources__list_pod_resources_request__descriptor,
          on_list },
};

static void on_connection(void *owner, int fd)
{
        rpc_server_adopt(kubelet.server, fd);
}

static void listen_at(const char *name)
{
        _cleanup_(free) char *directory = xasprintf("%s/k/%s", kubelet.directory, name);
        _cleanup_(free) char *path = xasprintf("%s/kubelet.sock", directory);
        struct error error = ERROR_NULL;
        int fd;

        if (file_open_directory(directory, 0755, &fd, &error) < 0 ||
            rpc_listener_listen(rpc_listener_new(&kubelet.loop, path, on_connection, NULL),
                                &error) < 0)
                die(error.text);
        close(fd);
}

static void on_time_over(uv_timer_t *timer)
{
        *(bool *)timer->data = true;
}

/* Turn the loop until *is_done, or for this long. */
static void turn(const bool *is_done, uint64_t ms)
{
        bool is_over = false;
        uv_timer_t timer = { .data = &is_over };

        uv_update_time(&kubelet.loop);
        uv_timer_init(&kubelet.loop, &timer);
        uv_timer_start(&timer, on_time_over, ms, 0);
        while (!is_over && !(is_done && *is_done))
                uv_run(&kubelet.loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&timer, NULL);
        uv_run(&kubelet.loop, UV_RUN_NOWAIT);
        if (is_done && !*is_done)
                die("nothing has happened for half a minute: see the log");
}

static void start_driver(const char *program)
{
        _cleanup_(free) char *log = xasprintf("%s/log", kubelet.directory);
        char *arguments[] = {
                (char *)program,
                (char *)"run",
                (char *)"--node-name=n1",
                (char *)"--serve=plugin",
                (char *)"--capacity=4096",
                xasprintf("--kubelet-dir=%s/k", kubelet.directory),
                xasprintf("--device-plugin-dir=%s/k/device-plugins", kubelet.directory),
                xasprintf("--cdi-dir=%s/cdi", kubelet.directory),
                xasprintf("--qgs-socket=%s/host/qgs/qgs.socket", kubelet.directory),
                NULL,
        };

        kubelet.driver = process_spawn(program, arguments, log, -1, -1);
        if (kubelet.driver < 0)
                die("cannot start the driver");
        for (size_t i = 5; arguments[i]; ++i)
                free(arguments[i]);
        turn(&kubelet.is_registered, PATIENCE_MS);
}

/* On libuv's worker, while the loop answers podresources. */
static void call(uv_work_t *work)
{
        _cleanup_(free) char *command =
                xasprintf("exec '%s' '%s/k/device-plugins/dra-driver-tdx.sock' %d %d",
                          kubelet.caller, kubelet.directory, N_LISTS, N_ALLOCATES);
        char *arguments[] = { (char *)"sh", (char *)"-c", command, NULL };
        struct samples list = { 0 }, options = { 0 }, allocate = { 0 }, first = { 0 }, last = { 0 };
        _cleanup_(free) char *log = xasprintf("%s/log", kubelet.directory);
        char kind[32];
        int out[2], status;
        uint64_t ns;
        FILE *figures;
        pid_t pid;

        if (pipe2(out, O_CLOEXEC) < 0)
                die("no pipe");
        pid = process_spawn("/bin/sh", arguments, log, -1, out[1]);
        close(out[1]);
        figures = fdopen(out[0], "r");
        while (fscanf(figures, "%31s %" SCNu64, kind, &ns) == 2) {
                if (strcmp(kind, "list") == 0) {
                        sample(&list, ns);
                } else if (strcmp(kind, "options") == 0) {
                        sample(&options, ns);
                } else {
                        sample(&allocate, ns);
                        sample(allocate.n <= N_ALLOCATES / 2 ? &first : &last, ns);
                }
        }
        fclose(figures);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
                die("the caller has failed: see the log");
        printf("list_4096_p50_us %.0f\n", percentile_us(&list, 50));
        printf("allocate_p50_us %.0f\n", percentile_us(&allocate, 50));
        printf("allocate_p99_us %.0f\n", percentile_us(&allocate, 99));
        printf("allocate_few_held_p50_us %.0f\n", percentile_us(&first, 50));
        printf("allocate_many_held_p50_us %.0f\n", percentile_us(&last, 50));
        printf("plugin_empty_call_p50_us %.0f\n", percentile_us(&options, 50));
}

static void on_called(uv_work_t *work, int status)
{
        kubelet.is_over = true;
}

int main(int argc, char **argv)
{
        struct rpc_pump *pump;
        uv_work_t work;
        uint64_t before;

        if (argc != 4) {
                fputs("Usage: plugin DRIVER CALLER DIRECTORY\n", stderr);
                return 2;
        }
        kubelet.caller = argv[2];
        kubelet.directory = argv[3];
        signal(SIGPIPE, SIG_IGN);
        uv_loop_init(&kubelet.loop);
        pump = rpc_pump_start(&kubelet.loop);
        kubelet.server = rpc_server_new(&kubelet.loop, pump);
        rpc_server_add_service(kubelet.server, methods, array_size(methods), NULL);
        rpc_server_start(kubelet.server);
        listen_at("pod-resources");
        listen_at("device-plugins");
        start_driver(argv[1]);
        turn(NULL, 7000); /* the driver waits until kubelet must know its pods */
        before = kubelet.n_questions;
        turn(NULL, 3000);
        printf("questions_while_nothing_is_held %" PRIu64 "\n", kubelet.n_questions - before);
        uv_queue_work(&kubelet.loop, &work, call, on_called);
        turn(&kubelet.is_over, 2 * PATIENCE_MS);
        kill(kubelet.driver, SIGTERM);
        waitpid(kubelet.driver, NULL, 0);
        fflush(stdout);
        _exit(0); /* skip the orderly end of gRPC and libuv, which is not measured */
}
