/* SPDX-License-Identifier: Apache-2.0 */
/* A process that the bench starts, and what the kernel counts of it. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Uses posix_spawn(), because nothing may fork once gRPC runs. Its standard error goes to log, its
 * output to out (-1: to log, too), its input comes from in (-1: ours). -errno if it cannot be
 * started. */
pid_t process_spawn(const char *program, char **arguments, const char *log, int in, int out);

/* 0 if that cannot be read; the same holds below. */
double process_rss_kib(pid_t pid);
double process_private_kib(pid_t pid); /* memory that no other process shares */
/* Its CPU time: utime + stime of /proc/PID/stat, but read from the clock behind them: their tick is
 * 10 ms, which is most of an idle minute's CPU time. */
uint64_t process_cpu_ns(pid_t pid);
/* The number of its threads, and how often they have been switched so far. */
unsigned process_count_threads(pid_t pid, uint64_t *ret_switches);
