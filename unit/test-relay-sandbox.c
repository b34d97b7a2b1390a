/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker as a process, and what it can still do when a VM has taken it over.
 *
 * This program replaces the function that reads a VM's request (see GNUmakefile): a report with a
 * certain beginning is obeyed, as by a worker with a fault in its parser. The rest is the worker's
 * own code.
 */
#include "base/memory.h"
#include "host/qgs_message.h"
#include "relay/worker.h"
#include "relay/worker_message.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKER_ID   65532
#define PATIENCE_MS 15000 /* a loaded machine's */

/* ---- the fault ---- */

enum attempt {
        NOTHING, /* returns to the worker */
        OPEN_FILE,
        OPEN_ANOTHER_TDS_SOCKET,
        CREATE_FILE,
        LIST_DIRECTORY,
        NEW_SOCKET,
        CONNECT_A_SOCKET_IT_HAS,
        BIND_A_SOCKET_IT_HAS,
        EXECUTE,
        NEW_PROCESS,
        NEW_THREAD,
        KILL_HOLDER,
        TRACE_HOLDER,
        BECOME_ROOT,
        EXECUTABLE_MEMORY,
        MAKE_MEMORY_EXECUTABLE,
        READ_ANOTHERS_MEMORY,
        MOUNT,
        NEW_NAMESPACE,
        TERMINAL_INPUT,
        CHANGE_FILTER,
        N_ATTEMPTS
};

static const char plant[] = "taken over: ";

/* By the number of the system call: a wrapper of glibc might make another one. */
static void try(enum attempt attempt)
{
        static const struct sockaddr_un runtime = { AF_UNIX, "/run/containerd/containerd.sock" };
        static const char *const arguments[] = { "/bin/sh", "-c", "true", NULL };
        static char memory[8192];
        char *page = (char *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);

        switch (attempt) {
        case OPEN_FILE:
                syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
                break;
        case OPEN_ANOTHER_TDS_SOCKET:
                syscall(SYS_openat, AT_FDCWD, "/run/dra-driver-tdx/qgs/claim-tdx7", O_PATH);
                break;
        case CREATE_FILE:
                syscall(SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600);
                break;
        case LIST_DIRECTORY:
                syscall(SYS_getdents64, 0, memory, sizeof(memory));
                break;
        case NEW_SOCKET:
                syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
                break;
        case CONNECT_A_SOCKET_IT_HAS:
                syscall(SYS_connect, 3, &runtime, sizeof(runtime));
                break;
        case BIND_A_SOCKET_IT_HAS:
                syscall(SYS_bind, 3, &runtime, sizeof(runtime));
                break;
        case EXECUTE:
                syscall(SYS_execve, arguments[0], arguments, NULL);
                break;
        case NEW_PROCESS:
                syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
                break;
        case NEW_THREAD:
                syscall(SYS_clone3, memory, 64);
                break;
        case KILL_HOLDER:
                syscall(SYS_kill, getppid(), 0);
                break;
        case TRACE_HOLDER:
                syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0);
                break;
        case BECOME_ROOT:
                syscall(SYS_setresuid, 0, 0, 0);
                break;
        case EXECUTABLE_MEMORY:
                syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);
                break;
        case MAKE_MEMORY_EXECUTABLE:
                syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC);
                break;
        case READ_ANOTHERS_MEMORY:
                syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0);
                break;
        case MOUNT:
                syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
                break;
        case NEW_NAMESPACE:
                syscall(SYS_unshare, CLONE_NEWUSER);
                break;
        case TERMINAL_INPUT:
                syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x");
                break;
        case CHANGE_FILTER:
                syscall(SYS_seccomp, 0, 0, NULL);
                break;
        case NOTHING:
        case N_ATTEMPTS:
                break;
        }
}

static void say(const char *what)
{
        if (write(STDERR_FILENO, what, strlen(what)) < 0)
                abort();
}

int __real_qgs_message_read_quote_request(const unsigned char *bytes, size_t n,
                                          enum qgs_message_error *ret_error);
int __wrap_qgs_message_read_quote_request(const unsigned char *bytes, size_t n,
                                          enum qgs_message_error *ret_error);

int __wrap_qgs_message_read_quote_request(const unsigned char *bytes, size_t n,
                                          enum qgs_message_error *ret_error)
{
        const unsigned char *report = bytes + QGS_REPORT_OFFSET;

        if (n == QGS_QUOTE_REQUEST_SIZE && memcmp(report, plant, sizeof(plant)) == 0) {
                say("taken over;");
                try(report[sizeof(plant)]);
                say("it went through;");
        }
        return __real_qgs_message_read_quote_request(bytes, n, ret_error);
}

/* ---- the worker as a process ---- */

static struct {
        pid_t pid;
        int fd;   /* the holder's end of the channel */
        int said; /* what the worker writes to standard error */
        char directory[64];
        struct sockaddr_un address;
        unsigned uid;
} process;

static void limit_descriptors(rlim_t n)
{
        struct rlimit limit = { n, n };

        if (n)
                ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* As the holder does but for execve(2): the functions that are replaced are this program's. */
static void start_worker(rlim_t n_descriptors)
{
        int pair[2], said[2];

        process.uid = geteuid() == 0 ? WORKER_ID : geteuid();
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
        ck_assert_int_eq(pipe(said), 0);
        process.pid = fork();
        ck_assert_int_ge(process.pid, 0);
        if (process.pid == 0) {
                limit_descriptors(n_descriptors);
                dup2(said[1], STDERR_FILENO);
                /* Whatever the holder had open is at higher numbers. */
                (void)fcntl(pair[1], F_DUPFD, 20);
                (void)fcntl(said[0], F_DUPFD, 30);
                dup2(pair[1], 3);
                worker_run(process.uid, process.uid);
        }
        close(pair[1]);
        close(said[1]);
        process.fd = pair[0];
        process.said = said[0];
}

static void tell(uint32_t kind, struct worker_message message, int fd)
{
        message.kind = kind;
        ck_assert_int_eq(worker_message_send(process.fd, &message, fd), 0);
}

static void wait_for(int fd, short events)
{
        struct pollfd waiting = { .fd = fd, .events = events };

        ck_assert_int_eq(poll(&waiting, 1, PATIENCE_MS), 1);
}

/* The next message that is not of the worker's own questions to QGS, which are never answered. */
static struct worker_message hear(void)
{
        struct worker_message message;
        int fd;

        do {
                wait_for(process.fd, POLLIN);
                ck_assert_int_eq(
                        worker_message_receive(process.fd, WORKER_SIDE_WORKER, &message, &fd), 0);
        } while (message.kind == WORKER_QGS);
        return message;
}

static void serve(uint32_t id, const char *name)
{
        struct worker_message message = { .listener = { .id = id, .td = { id, RELAY_CLAIM } } };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        process.address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        (void)snprintf(process.address.sun_path, sizeof(process.address.sun_path), "%s/%s",
                       process.directory, name);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&process.address, sizeof(process.address)), 0);
        ck_assert_int_eq(listen(fd, 128), 0);
        tell(WORKER_LISTEN, message, fd);
        close(fd);
}

static void start(rlim_t n_descriptors)
{
        struct worker_message message = { .limits = WORKER_LIMITS_DEFAULT };

        (void)snprintf(process.directory, sizeof(process.directory),
                       "/tmp/test-relay-worker.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(process.directory));
        start_worker(n_descriptors);
        tell(WORKER_LIMITS, message, -1);
        message.count = 4;
        tell(WORKER_THREADS, message, -1);
        ck_assert_uint_eq(hear().kind, WORKER_CONNECT); /* its own question, left unanswered */
        serve(1, "qgs.socket");
}

/* Its exit status, as wait(2) has it. */
static int end_of_worker(void)
{
        int status = -1;

        ck_assert_int_eq(waitpid(process.pid, &status, 0), process.pid);
        return status;
}

static const char *what_it_said(void)
{
        static char said[4096];
        ssize_t n = read(process.said, said, sizeof(said) - 1);

        said[n > 0 ? n : 0] = '\0';
        return said;
}

static void clean_up(void)
{
        close(process.fd);
        close(process.said);
        (void)unlink(process.address.sun_path);
        (void)rmdir(process.directory);
}

static int connect_vm(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ck_assert_int_eq(connect(fd, (struct sockaddr *)&process.address, sizeof(process.address)),
                         0);
        return fd;
}

static void ask(int fd, const char *report, size_t n)
{
        static const unsigned char head[QGS_REPORT_OFFSET] = { 0, 0, 4, 0x18, 1,    0, 1, 0,
                                                               0, 0, 0, 0,    0x18, 4, 0, 0,
                                                               0, 0, 0, 0,    0,    4, 0, 0 };
        unsigned char request[QGS_QUOTE_REQUEST_SIZE] = { 0 };

        memcpy(request, head, sizeof(head));
        memcpy(request + sizeof(head), report, n);
        ck_assert_int_eq(send(fd, request, sizeof(request), MSG_NOSIGNAL), sizeof(request));
}

/* Answers the worker's next request with a quote of this size. */
static void answer(size_t size)
{
        _cleanup_(free) unsigned char *reply = xcalloc(1, size);
        struct worker_message message = hear();
        unsigned char request[2000];
        int pair[2];
        size_t n_sent = 0;

        ck_assert_uint_eq(message.kind, WORKER_CONNECT);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        tell(WORKER_CONNECTED, message, pair[1]);
        close(pair[1]);
        wait_for(pair[0], POLLIN);
        ck_assert_int_eq(recv(pair[0], request, sizeof(request), 0), QGS_QUOTE_REQUEST_SIZE);
        for (unsigned i = 0; i < 4; ++i) {
                reply[3 - i] = (unsigned char)((size - 4) >> 8 * i);
                reply[12 + i] = (unsigned char)((size - 4) >> 8 * i);
        }
        reply[4] = reply[6] = reply[8] = 1;
        while (n_sent < size) {
                ssize_t n;

                wait_for(pair[0], POLLOUT);
                n = send(pair[0], reply + n_sent, size - n_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
                ck_assert_int_gt(n, 0);
                n_sent += (size_t)n;
        }
        close(pair[0]);
}

static size_t read_reply(int fd, size_t size)
{
        static char bytes[65536];
        size_t n_got = 0;

        while (n_got < size) {
                ssize_t n;

                wait_for(fd, POLLIN);
                n = recv(fd, bytes, sizeof(bytes), 0);
                if (n <= 0)
                        break;
                n_got += (size_t)n;
        }
        return n_got;
}

START_TEST(a_worker_does_all_its_work_in_its_sandbox)
{
        static const size_t sizes[] = { 28, 5034, 300000, QGS_MESSAGE_MAX, 5034 };
        int vm, status;

        start(0);
        vm = connect_vm();
        for (size_t i = 0; i < array_size(sizes); ++i) {
                ask(vm, "", 0);
                answer(sizes[i]);
                ck_assert_uint_eq(hear().kind, WORKER_RELEASED);
                ck_assert_uint_eq(read_reply(vm, sizes[i]), sizes[i]);
                ck_assert_uint_eq(hear().kind, WORKER_OUTCOME);
        }
        close(vm);
        /* Another attempt takes a random delay. */
        vm = connect_vm();
        ask(vm, "", 0);
        for (unsigned i = 0; i < 3; ++i) {
                struct worker_message message = hear();

                ck_assert_uint_eq(message.kind, WORKER_CONNECT);
                message.cause = -ENOENT;
                tell(WORKER_NOT_CONNECTED, message, -1);
        }
        answer(5034);
        ck_assert_uint_eq(read_reply(vm, 5034), 5034);
        close(vm);
        close(process.fd);
        status = end_of_worker();

        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x: %s", status,
                      what_it_said());
        clean_up();
}
END_TEST

/* The log's time stamps are used only then. */
START_TEST(a_worker_without_descriptors_says_so_in_its_sandbox_and_lives)
{
        struct worker_message message = { .ticket = 7 };
        char name[16];
        int status;

        start(16);
        for (unsigned i = 2; i < 20; ++i) {
                (void)snprintf(name, sizeof(name), "%u", i);
                serve(i, name);
                (void)unlink(process.address.sun_path);
        }
        wait_for(process.said, POLLIN);
        ck_assert_ptr_nonnull(strstr(what_it_said(), "too few descriptors for a TD's socket"));
        tell(WORKER_PING, message, -1);
        ck_assert_uint_eq(hear().kind, WORKER_PONG);
        close(process.fd);
        status = end_of_worker();

        ck_assert_int_eq(status, 0);
        (void)snprintf(process.address.sun_path, sizeof(process.address.sun_path), "%s/qgs.socket",
                       process.directory);
        clean_up();
}
END_TEST

/* The value of a line of /proc/PID/status, in a static buffer. */
static const char *status_of(const char *key)
{
        static char value[256];
        char path[64], line[256];
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/%d/status", process.pid);
        file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        value[0] = '\0';
        while (fgets(line, sizeof(line), file))
                if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
                        (void)snprintf(value, sizeof(value), "%s", line + strlen(key) + 1);
        (void)fclose(file);
        return value;
}

START_TEST(a_worker_has_no_user_no_capability_and_no_descriptor_but_its_own)
{
        unsigned long long ignored;
        unsigned ids[4];
        char path[64];
        struct stat file;
        int status;

        start(0);
        ck_assert_int_eq(
                sscanf(status_of("Uid"), "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]), 4);
        for (unsigned i = 0; i < 4; ++i)
                ck_assert_uint_eq(ids[i], process.uid);
        ck_assert_int_eq(
                sscanf(status_of("Gid"), "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]), 4);
        if (geteuid() == 0)
                for (unsigned i = 0; i < 4; ++i)
                        ck_assert_uint_eq(ids[i], process.uid);
        if (geteuid() == 0)
                ck_assert_uint_eq(strspn(status_of("Groups"), " \t\n"),
                                  strlen(status_of("Groups")));
        ck_assert_ptr_nonnull(strstr(status_of("CapEff"), "0000000000000000"));
        ck_assert_ptr_nonnull(strstr(status_of("CapPrm"), "0000000000000000"));
        ck_assert_ptr_nonnull(strstr(status_of("CapInh"), "0000000000000000"));
        ck_assert_ptr_nonnull(strstr(status_of("CapAmb"), "0000000000000000"));
        ck_assert_ptr_nonnull(strstr(status_of("NoNewPrivs"), "1"));
        ck_assert_ptr_nonnull(strstr(status_of("Seccomp"), "2"));
        ck_assert_int_eq(sscanf(status_of("SigIgn"), "%llx", &ignored), 1);
        ck_assert_uint_eq(ignored & (1U << (SIGTERM - 1)), 1U << (SIGTERM - 1));
        for (unsigned i = 20; i < 40; ++i) {
                (void)snprintf(path, sizeof(path), "/proc/%d/fd/%u", process.pid, i);
                ck_assert_int_eq(lstat(path, &file), -1);
        }
        close(process.fd);
        status = end_of_worker();

        ck_assert_int_eq(status, 0);
        clean_up();
}
END_TEST

START_TEST(a_worker_that_a_vm_has_taken_over_can_do_nothing_but_its_work)
{
        for (enum attempt attempt = NOTHING; attempt < N_ATTEMPTS; ++attempt) {
                char report[sizeof(plant) + 1] = { 0 };
                int vm, status;

                memcpy(report, plant, sizeof(plant));
                report[sizeof(plant)] = (char)attempt;
                start(0);
                vm = connect_vm();
                ask(vm, report, sizeof(report));
                if (attempt == NOTHING) {
                        answer(5034);
                        ck_assert_uint_eq(read_reply(vm, 5034), 5034);
                        close(process.fd);
                }
                close(vm);
                status = end_of_worker();

                if (attempt == NOTHING) {
                        ck_assert_int_eq(status, 0);
                        ck_assert_str_eq(what_it_said(), "taken over;it went through;");
                } else {
                        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
                                      "attempt %d: status 0x%x", attempt, status);
                        ck_assert_str_eq(what_it_said(), "taken over;");
                }
                clean_up();
        }
}
END_TEST

SUITE("relay-sandbox", a_worker_does_all_its_work_in_its_sandbox,
      a_worker_without_descriptors_says_so_in_its_sandbox_and_lives,
      a_worker_has_no_user_no_capability_and_no_descriptor_but_its_own,
      a_worker_that_a_vm_has_taken_over_can_do_nothing_but_its_work);
