/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/sandbox.h"

#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 65536U

/* ---- system calls ---- */

/* Those that the loop, the allocator and the log make. recvmsg(2) brings descriptors. */
static const int allowed[] = {
        SCMP_SYS(accept4),
        SCMP_SYS(brk),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(close),
        SCMP_SYS(epoll_ctl),
        SCMP_SYS(epoll_pwait),
        SCMP_SYS(epoll_wait),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
        SCMP_SYS(futex),
        SCMP_SYS(getpid),
        SCMP_SYS(getrandom),
        SCMP_SYS(gettid),
        SCMP_SYS(madvise),
        SCMP_SYS(mremap),
        SCMP_SYS(munmap),
        SCMP_SYS(poll),
        SCMP_SYS(ppoll),
        SCMP_SYS(read),
        SCMP_SYS(recvfrom),
        SCMP_SYS(recvmsg),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(sendmsg),
        SCMP_SYS(sendto),
        SCMP_SYS(shutdown),
        SCMP_SYS(write),
        SCMP_SYS(writev),
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
        /* The sanitizers' own; such a build is never shipped. */
        SCMP_SYS(clock_nanosleep),
        SCMP_SYS(nanosleep),
        SCMP_SYS(prctl),
        SCMP_SYS(rt_sigaction),
        SCMP_SYS(sched_yield),
        SCMP_SYS(sigaltstack),
#endif
};

static int allow(scmp_filter_ctx filter)
{
        const struct scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
        const struct scmp_arg_cmp to_itself = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
        int r = 0;

        for (size_t i = 0; !r && i < array_size(allowed); ++i)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
        if (!r)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_executable);
        if (!r)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_executable);
        /* libuv makes what it polls non-blocking. */
        if (!r)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                     SCMP_A1(SCMP_CMP_EQ, FIONBIO));
        /* abort(3), so that a failed assertion is told apart from a forbidden call. */
        if (!r)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, to_itself);
        /* libuv from 1.45 tries it, and does without. */
        if (!r)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0);
        return r;
}

static int restrict_calls(struct error *err)
{
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        int r;

        if (!filter)
                return error_set(err, -ENOMEM, "cannot make a seccomp filter");
        r = allow(filter);
        if (!r)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r < 0 ? error_errno(err, r, "cannot restrict system calls") : 0;
}

/* ---- rights ---- */

static int change_user(unsigned uid, unsigned gid, struct error *err)
{
        bool is_root = geteuid() == 0;

        if (!is_root && geteuid() != uid)
                return error_set(err, -EPERM, "only root can start a worker as user %u", uid);
        if (is_root && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
                        setresuid(uid, uid, uid) < 0))
                return error_errno(err, -errno, "cannot become user %u, group %u", uid, gid);
        return 0;
}

static int drop_capabilities(struct error *err)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[2] = { { 0 } };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
            syscall(SYS_capset, &header, none) < 0)
                return error_errno(err, -errno, "cannot drop capabilities");
        return 0;
}

/* A dump would hold quotes. */
static int set_limits(unsigned *ret_n_descriptors, struct error *err)
{
        struct rlimit descriptors, nothing = { 0, 0 };

        if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0)
                return error_errno(err, -errno, "cannot read RLIMIT_NOFILE");
        if (descriptors.rlim_max > DESCRIPTORS_MAX)
                descriptors.rlim_max = DESCRIPTORS_MAX;
        descriptors.rlim_cur = descriptors.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &descriptors) < 0 || setrlimit(RLIMIT_CORE, &nothing) < 0)
                return error_errno(err, -errno, "cannot set limits");
        *ret_n_descriptors = (unsigned)descriptors.rlim_cur;
        return 0;
}

void sandbox_close_others(int kept_fd)
{
        (void)syscall(SYS_close_range, (unsigned)kept_fd + 1, ~0U, 0);
}

int sandbox_enter(unsigned uid, unsigned gid, unsigned *ret_n_descriptors, struct error *err)
{
        int r;

        tzset(); /* reads a file, which the first time stamp in the log would otherwise */
        r = set_limits(ret_n_descriptors, err);
        if (r < 0)
                return r;
        r = change_user(uid, gid, err);
        if (r < 0)
                return r;
        r = drop_capabilities(err);
        if (r < 0)
                return r;
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        return restrict_calls(err);
}
