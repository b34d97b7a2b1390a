/* SPDX-License-Identifier: Apache-2.0 */
#include "host/links.h"

#include "base/memory.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MAX 40 /* the kernel's own limit, fs/namei.c MAXSYMLINKS */

struct walk {
        links_find *find;
        void *owner;
        char done[PATH_MAX]; /* without symbolic links; "" is the root itself */
        char rest[PATH_MAX]; /* still to walk */
        unsigned n_links;
};

/* Put a link's target in front of the rest of the walk. */
static int follow(struct walk *walk, const char *target, size_t n_target)
{
        size_t n_rest = strlen(walk->rest) + 1;

        if (++walk->n_links > LINKS_MAX)
                return -ELOOP;
        if (n_target + n_rest > sizeof(walk->rest))
                return -ENAMETOOLONG;
        memmove(walk->rest + n_target, walk->rest, n_rest);
        memcpy(walk->rest, target, n_target);
        if (target[0] == '/')
                walk->done[0] = '\0';
        return 0;
}

/* ".." of the root is the root, as in a chroot. */
static void step_up(struct walk *walk)
{
        char *slash = strrchr(walk->done, '/');

        if (slash)
                *slash = '\0';
}

static int step_down(struct walk *walk, const char *component)
{
        _cleanup_(free) char *below = xasprintf("%s/%s", walk->done, component);
        _cleanup_(free) char *file = NULL;
        char target[PATH_MAX];
        ssize_t n_target = -1;
        int r = walk->find(walk->owner, below, &file);

        if (r < 0)
                return r;
        if (file) {
                n_target = readlink(file, target, sizeof(target));
                if (n_target > 0)
                        return follow(walk, target, (size_t)n_target);
                /* EINVAL: not a link. ENOENT: not there yet, and so not a link either; the driver
                 * makes a directory there. */
                if (n_target < 0 && errno != EINVAL && errno != ENOENT)
                        return -errno;
        }
        if (strlen(below) >= sizeof(walk->done))
                return -ENAMETOOLONG;
        memcpy(walk->done, below, strlen(below) + 1);
        return 0;
}

int links_resolve(const char *path, links_find *find, void *owner, char **ret)
{
        struct walk walk = { .find = find, .owner = owner };
        int r = 0;

        if (strlen(path) >= sizeof(walk.rest))
                return -ENAMETOOLONG;
        memcpy(walk.rest, path, strlen(path) + 1);
        while (!r) {
                size_t n_slashes = strspn(walk.rest, "/"), n = strcspn(walk.rest + n_slashes, "/");
                _cleanup_(free) char *component = xstrndup(walk.rest + n_slashes, n);

                if (!n) {
                        *ret = xstrdup(walk.done);
                        return 0;
                }
                memmove(walk.rest, walk.rest + n_slashes + n,
                        strlen(walk.rest + n_slashes + n) + 1);
                if (strcmp(component, "..") == 0)
                        step_up(&walk);
                else if (strcmp(component, ".") != 0)
                        r = step_down(&walk, component);
        }
        return r;
}
