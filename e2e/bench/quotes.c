/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the quote relay from outside, by turns with a direct connection. Run it through
 * e2e/bench/run.
 *
 *         quotes RELAY DIRECTORY          prints "key value" lines
 *
 * This process is QGS, whose threads take no time for a quote, and the VMs: so what is measured is
 * the way there and back. Eight VMs ask now and then, as guests do; one asks without a pause to
 * load a core.
 */
#include "e2e/bench/figures.h"
#include "e2e/bench/process.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"
#include "host/qgs_message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_TDS       128
#define N_VMS       8
#define N_THREADS   4 /* QGS's */
#define QUOTE_SIZE  5034
#define PERIOD_NS   20000000 /* of a VM's requests */
#define PATIENCE_MS 30000
#define SECOND_NS   UINT64_C(1000000000)

static struct {
        const char *directory;
        pid_t relay, worker;
        int qgs_fd;
        unsigned n_rounds, n_load, idle_s;
} bench;

static void die(const char *what)
{
        if (bench.relay > 0)
                kill(bench.relay, SIGKILL);
        fprintf(stderr, "quotes: %s\n", what);
        _exit(1);
}

static uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
        struct timespec until = { .tv_sec = (time_t)(ns / SECOND_NS),
                                  .tv_nsec = (long)(ns % SECOND_NS) };

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
                ;
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
        const char *value = getenv(name);
        uint64_t n;

        return value && parse_u64(value, strlen(value), &n) == 0 ? (unsigned)n : otherwise;
}

/* ---- sockets ---- */

static struct sockaddr_un address_of(const char *below)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", bench.directory,
                         below);

        if (n >= (int)sizeof(address.sun_path))
                die("the directory's path is too long");
        return address;
}

static int connect_to(const struct sockaddr_un *address)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
                close(fd);
                return -1;
        }
        return fd;
}

static size_t read_all(int fd, unsigned char *bytes, size_t n)
{
        size_t n_read = 0;

        while (n_read < n) {
                ssize_t r = recv(fd, bytes + n_read, n - n_read, 0);

                if (r <= 0)
                        break;
                n_read += (size_t)r;
        }
        return n_read;
}

static void make_request(unsigned char *request)
{
        static const unsigned char head[] = { 0, 0,    4, 0x18, 1, 0, 1, 0, 0, 0, 0,
                                              0, 0x18, 4, 0,    0, 0, 0, 0, 0, 0, 4 };

        memset(request, 0, QGS_QUOTE_REQUEST_SIZE);
        memcpy(request, head, sizeof(head));
}

/* ---- QGS ---- */

/* Each of its threads takes a request, replies and closes. */
static void *be_qgs(void *unused)
{
        static const unsigned char info[68] = { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 };
        unsigned char request[QGS_QUOTE_REQUEST_SIZE];
        unsigned char quote[QUOTE_SIZE] = { 0, 0, 0x13, 0xa6, 1, 0, 1, 0, 1, 0, 0, 0, 0xa6, 0x13 };

        for (;;) {
                int fd = accept4(bench.qgs_fd, NULL, NULL, SOCK_CLOEXEC);
                ssize_t n;

                if (fd < 0)
                        return NULL;
                n = recv(fd, request, sizeof(request), 0); /* it is one write */
                if (n == QGS_PLATFORM_INFO_REQUEST_SIZE)
                        (void)send(fd, info, sizeof(info), MSG_NOSIGNAL);
                else if (n == QGS_QUOTE_REQUEST_SIZE)
                        (void)send(fd, quote, sizeof(quote), MSG_NOSIGNAL);
                close(fd);
        }
}

static void start_qgs(void)
{
        struct sockaddr_un address = address_of("h/run/tdx-qgs/qgs.socket");
        _cleanup_(free) char *directory = file_directory_of(address.sun_path);
        _cleanup_(close) int fd = -1;

        if (file_open_directory(directory, 0755, &fd, NULL) < 0)
                die("cannot make QGS's directory");
        bench.qgs_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(bench.qgs_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            chmod(address.sun_path, 0666) < 0 || listen(bench.qgs_fd, 4096) < 0)
                die("cannot bind QGS's socket");
        for (unsigned i = 0; i < N_THREADS; ++i) {
                pthread_t thread;

                if (pthread_create(&thread, NULL, be_qgs, NULL) != 0)
                        die("no thread for QGS");
        }
}

/* ---- the relay ---- */

static bool configure(void)
{
        static const char request[] = "{\"configure\":{\"devices\":128,\"qgsSocket\":"
                                      "\"/run/tdx-qgs/qgs.socket\",\"vmName\":\"qgs.socket\"}}\n";
        struct sockaddr_un address = address_of("d/relay.sock");
        int fd = connect_to(&address);
        char line[65536] = "";
        size_t n = 0;

        if (fd < 0)
                return false;
        (void)send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
        while (n < sizeof(line) - 1 && !strstr(line, "\"configured\"")) {
                struct pollfd waiting = { .fd = fd, .events = POLLIN };
                ssize_t r;

                if (poll(&waiting, 1, PATIENCE_MS) != 1)
                        die("the relay does not say that it is configured");
                r = recv(fd, line + n, sizeof(line) - 1 - n, 0);
                if (r <= 0)
                        die("the relay closed its control connection");
                n += (size_t)r;
                line[n] = '\0';
        }
        close(fd);
        return true;
}

/* It has one child. */
static pid_t worker_of(pid_t relay)
{
        _cleanup_(free) char *path = xasprintf("/proc/%d/task/%d/children", (int)relay, (int)relay);
        _cleanup_(free) char *bytes = NULL;
        uint64_t pid = 0;
        size_t n;

        if (file_read(AT_FDCWD, path, 4096, &bytes, &n, NULL) == 0)
                (void)parse_u64(bytes, strspn(bytes, "0123456789"), &pid);
        return (pid_t)pid;
}

/* For e2e/bench/run, which ends the relay if this process is killed. */
static void note_pid(void)
{
        _cleanup_(free) char *path = xasprintf("%s/pids", bench.directory);
        FILE *file = fopen(path, "we");

        if (!file || fprintf(file, "%d\n", (int)bench.relay) < 0 || fclose(file) != 0)
                die("cannot write the relay's pid");
}

static void start_relay(const char *program)
{
        _cleanup_(free) char *directory = xasprintf("--relay-dir=%s/d", bench.directory);
        _cleanup_(free) char *root = xasprintf("--host-root=%s/h", bench.directory);
        _cleanup_(free) char *log = xasprintf("%s/log", bench.directory);
        char name[] = "tdx-quote-relay", command[] = "run";
        char *arguments[] = { name, command, directory, root, NULL };
        uint64_t until_ns = now_ns() + PATIENCE_MS * UINT64_C(1000000);

        bench.relay = process_spawn(program, arguments, log, -1, -1);
        if (bench.relay <= 0)
                die("cannot start the relay");
        note_pid();
        while (!configure()) {
                if (now_ns() > until_ns)
                        die("the relay does not start");
                sleep_until(now_ns() + 10000000);
        }
        bench.worker = worker_of(bench.relay);
        if (bench.worker <= 0)
                die("the relay has no worker");
}

/* ---- VMs ---- */

static struct sockaddr_un way(bool is_direct, unsigned td)
{
        _cleanup_(free) char *relayed = xasprintf("d/qgs/claim-tdx%u/qgs.socket", td);

        return address_of(is_direct ? "h/run/tdx-qgs/qgs.socket" : relayed);
}

static uint64_t get_quote(const struct sockaddr_un *address)
{
        unsigned char request[QGS_QUOTE_REQUEST_SIZE], quote[QUOTE_SIZE];
        uint64_t begin_ns;
        int fd;

        make_request(request);
        begin_ns = now_ns();
        fd = connect_to(address);
        if (fd < 0)
                die("a VM cannot connect");
        if (send(fd, request, sizeof(request), MSG_NOSIGNAL) != sizeof(request) ||
            read_all(fd, quote, sizeof(quote)) != sizeof(quote) || quote[8] != QGS_QUOTE)
                die("a VM got no quote");
        begin_ns = now_ns() - begin_ns;
        close(fd);
        return begin_ns;
}

struct vm {
        pthread_t thread;
        unsigned td;
        struct samples samples[2]; /* relayed, direct */
};

/* By turns, so that the machine's moods concern both. */
static void *be_vm(void *owner)
{
        struct vm *vm = owner;
        const struct sockaddr_un ways[2] = { way(false, vm->td), way(true, vm->td) };
        uint64_t next_ns = now_ns() + vm->td * PERIOD_NS / N_VMS;

        for (unsigned i = 0; i < bench.n_rounds; ++i) {
                sleep_until(next_ns);
                sample(&vm->samples[i % 2], get_quote(&ways[i % 2]));
                next_ns += PERIOD_NS;
        }
        return NULL;
}

static void measure_latency(void)
{
        struct samples all[2] = { { NULL } };
        struct vm vms[N_VMS] = { { 0 } };
        double added;

        for (unsigned i = 0; i < N_VMS; ++i) {
                vms[i].td = i;
                if (pthread_create(&vms[i].thread, NULL, be_vm, &vms[i]) != 0)
                        die("no thread for a VM");
        }
        for (unsigned i = 0; i < N_VMS; ++i) {
                pthread_join(vms[i].thread, NULL);
                for (unsigned way = 0; way < 2; ++way)
                        for (size_t k = 0; k < vms[i].samples[way].n; ++k)
                                sample(&all[way], vms[i].samples[way].ns[k]);
        }
        added = percentile_us(&all[0], 50) - percentile_us(&all[1], 50);
        printf("quote_direct_p50_us %.0f\n", percentile_us(&all[1], 50));
        printf("quote_direct_p99_us %.0f\n", percentile_us(&all[1], 99));
        printf("quote_added_p50_us %.0f\n", added > 0 ? added : 0);
        added = percentile_us(&all[0], 99) - percentile_us(&all[1], 99);
        printf("quote_added_p99_us %.0f\n", added > 0 ? added : 0);
}

static uint64_t relay_cpu_ns(void)
{
        return process_cpu_ns(bench.relay) + process_cpu_ns(bench.worker);
}

/* Both processes' CPU time, as if they had one core. */
static void measure_load(void)
{
        struct sockaddr_un relayed = way(false, 0);
        uint64_t begin_ns = relay_cpu_ns();

        for (unsigned i = 0; i < bench.n_load; ++i)
                (void)get_quote(&relayed);
        printf("quotes_per_core_s %.0f\n",
               (double)bench.n_load * SECOND_NS / (double)(relay_cpu_ns() - begin_ns));
}

static double private_kib(void)
{
        return process_private_kib(bench.relay) + process_private_kib(bench.worker);
}

static uint64_t relay_switches(void)
{
        uint64_t holder, worker;

        (void)process_count_threads(bench.relay, &holder);
        (void)process_count_threads(bench.worker, &worker);
        return holder + worker;
}

static void measure_idle(void)
{
        uint64_t begin = relay_switches();

        sleep_until(now_ns() + bench.idle_s * SECOND_NS);
        printf("relay_idle_switches_per_s %.2f\n",
               (double)(relay_switches() - begin) / bench.idle_s);
}

int main(int argc, char **argv)
{
        unsigned percent = from_environment("BENCH_PERCENT", 100);
        struct sockaddr_un first;
        int status;

        if (argc != 3)
                die("usage: quotes RELAY DIRECTORY");
        (void)signal(SIGPIPE, SIG_IGN);
        bench.directory = argv[2];
        bench.n_rounds = 20 * percent;
        bench.n_load = 200 * percent;
        bench.idle_s = from_environment("BENCH_IDLE_SECONDS", 60);
        start_qgs();
        start_relay(argv[1]);
        first = way(false, 0);
        (void)get_quote(&first);
        printf("relay_private_kib %.0f\n", private_kib());
        measure_latency();
        measure_load();
        printf("relay_private_after_kib %.0f\n", private_kib());
        measure_idle();
        kill(bench.relay, SIGTERM);
        if (waitpid(bench.relay, &status, 0) != bench.relay || status)
                die("the relay did not end in order");
        return 0;
}
