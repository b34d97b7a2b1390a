/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/bench/process.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

pid_t process_spawn(const char *program, char **arguments, const char *log, int in, int out)
{
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        sigset_t signals;
        pid_t pid;
        int r;

        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND,
                                         0644);
        posix_spawn_file_actions_adddup2(&files, out < 0 ? STDERR_FILENO : out, STDOUT_FILENO);
        if (in >= 0)
                posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
        posix_spawnattr_init(&attributes);
        /* Restore all default actions: the shell makes background children ignore SIGINT, and we
         * ignore SIGPIPE. */
        sigfillset(&signals);
        posix_spawnattr_setsigdefault(&attributes, &signals);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
        r = posix_spawn(&pid, program, &files, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&files);
        return r ? -r : pid;
}

/* The number behind "key:" in a file of /proc; 0 if the file is gone, as a thread's may be. */
static uint64_t proc_number(const char *path, const char *key)
{
        _cleanup_(free) char *bytes = NULL;
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

double process_rss_kib(pid_t pid)
{
        _cleanup_(free) char *path = xasprintf("/proc/%d/status", (int)pid);

        return (double)proc_number(path, "\nVmRSS:");
}

double process_private_kib(pid_t pid)
{
        _cleanup_(free) char *path = xasprintf("/proc/%d/smaps_rollup", (int)pid);

        return (double)(proc_number(path, "\nPrivate_Clean:") +
                        proc_number(path, "\nPrivate_Dirty:"));
}

unsigned process_count_threads(pid_t pid, uint64_t *ret_switches)
{
        _cleanup_(free) char *tasks = xasprintf("/proc/%d/task", (int)pid);
        DIR *directory = opendir(tasks);
        const struct dirent *entry;
        unsigned n = 0;

        *ret_switches = 0;
        while (directory && (entry = readdir(directory))) {
                _cleanup_(free) char *path = xasprintf("%s/%s/status", tasks, entry->d_name);

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

uint64_t process_cpu_ns(pid_t pid)
{
        struct timespec used;
        clockid_t clock;

        if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
                return 0;
        return (uint64_t)used.tv_sec * SECOND_NS + (uint64_t)used.tv_nsec;
}
