/* SPDX-License-Identifier: Apache-2.0 */
#include "base/directory.h"

#include <sys/stat.h>

bool directory_is_there(const char *path)
{
        struct stat file;

        return stat(path, &file) == 0 && S_ISDIR(file.st_mode) && file.st_nlink;
}

bool directory_is_removed(const char *path)
{
        struct stat file;

        return stat(path, &file) == 0 && S_ISDIR(file.st_mode) && !file.st_nlink;
}
