/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds a fuzz target every file of the directories given, so that the corpora are tests on any
 * machine. Prints TAP. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int replay(const char *directory, const struct dirent *entry, unsigned number)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", directory, entry->d_name);
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n;

        if (file_read(AT_FDCWD, path, 64 << 20, &bytes, &n, &error) < 0) {
                printf("not ok %u %s\n", number, error.text);
                return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)bytes, n);
        printf("ok %u %s\n", number, path);
        return 0;
}

int main(int argc, char **argv)
{
        unsigned number = 0;
        int n_failed = 0;

        for (int i = 1; i < argc; ++i) {
                DIR *directory = opendir(argv[i]);
                const struct dirent *entry;

                while (directory && (entry = readdir(directory)))
                        if (entry->d_name[0] != '.')
                                n_failed += replay(argv[i], entry, ++number);
                if (directory)
                        closedir(directory);
        }
        printf("1..%u\n", number);
        return n_failed || !number;
}
