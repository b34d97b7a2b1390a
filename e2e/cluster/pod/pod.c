/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that runs in the test's containers, static and alone in its image.
 *
 *   pod             waits to be ended; as process 1 of a pod it also reaps (the "pause" image)
 *   pod quote PATH  asks the QGS there for a quote, as QEMU does: one connection, one write
 *                   (QEMU target/i386/kvm/tdx-quote-generator.c; Intel DCAP, qgs_msg_lib)
 *   pod write PATH  tries to make a file there
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_SIZE 1024
#define HEADER_SIZE 16
#define VERSION_1_1 0x10001u /* major and minor, which QEMU both insists on */

static int fail(const char *what)
{
        printf("%s: %s\n", what, strerror(errno));
        return 1;
}

static void put(unsigned char *at, uint32_t value)
{
        for (int i = 0; i < 4; ++i)
                at[i] = (unsigned char)(value >> 8 * i);
}

static uint32_t get(const unsigned char *at)
{
        return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
               (uint32_t)at[3] << 24;
}

/* As QEMU, by the length in front (big-endian), and not by the end of the connection. */
static int is_whole(const unsigned char *answer, size_t n)
{
        return n >= 4 && n - 4 >= ((size_t)answer[0] << 24 | (size_t)answer[1] << 16 |
                                   (size_t)answer[2] << 8 | answer[3]);
}

static int quote(const char *path)
{
        enum { LENGTH = HEADER_SIZE + 8 + REPORT_SIZE };
        unsigned char request[4 + LENGTH] = { 0, 0, LENGTH >> 8, LENGTH & 0xff, 1, 0, 1, 0 };
        static unsigned char answer[65536];
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        size_t n = 0;
        ssize_t r;

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return fail("connect");
        put(request + 12, LENGTH);
        put(request + 20, REPORT_SIZE);
        if (write(fd, request, sizeof(request)) != (ssize_t)sizeof(request))
                return fail("write");
        while (!is_whole(answer, n) && (r = read(fd, answer + n, sizeof(answer) - n)) > 0)
                n += (size_t)r;
        close(fd);
        if (n < 4 + HEADER_SIZE + 8 || get(answer + 4) != VERSION_1_1 || get(answer + 8) != 1 ||
            get(answer + 16)) {
                printf("no quote: %zu bytes\n", n);
                return 1;
        }
        printf("a quote of %u bytes\n", get(answer + 4 + HEADER_SIZE + 4));
        return 0;
}

static int make_file(const char *path)
{
        if (open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0)
                return fail("open");
        printf("made\n");
        return 0;
}

static void end(int number)
{
        (void)number;
        _exit(0);
}

static void reap(int number)
{
        (void)number;
        while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
}

int main(int argc, char **argv)
{
        struct sigaction on_end = { .sa_handler = end }, on_child = { .sa_handler = reap };

        if (argc == 3 && strcmp(argv[1], "quote") == 0)
                return quote(argv[2]);
        if (argc == 3 && strcmp(argv[1], "write") == 0)
                return make_file(argv[2]);
        sigaction(SIGTERM, &on_end, NULL);
        sigaction(SIGINT, &on_end, NULL);
        sigaction(SIGCHLD, &on_child, NULL);
        for (;;)
                pause();
}
