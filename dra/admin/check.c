/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/check.h"

#include "admin/survey.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cdi/conflict.h"
#include "config.h"
#include "host/qgs_path.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool report(bool is_ok, const char *item, const char *text)
{
        printf("%-5s %-12s %s\n", is_ok ? "ok" : "FAIL", item, text);
        return is_ok;
}

static bool check_config(const struct config *config)
{
        struct error error = ERROR_NULL;
        bool is_ok = config_check(config, &error) == 0;

        return report(is_ok, "flags",
                      is_ok ? "node name, socket paths and QGS directory are usable" : error.text);
}

/* ---- files ---- */

/* Whether new files can be created in the directory, or in its nearest existing ancestor. */
static bool check_directory(const char *item, const char *path)
{
        _cleanup_(free) char *nearest = xstrdup(path);
        char text[PATH_MAX + 64];
        struct stat file;
        int r = 0;

        while (stat(nearest, &file) < 0 && errno == ENOENT && strrchr(nearest, '/') > nearest)
                *strrchr(nearest, '/') = '\0';
        if (stat(nearest, &file) < 0 || access(nearest, W_OK | X_OK) < 0)
                r = -errno;
        else if (!S_ISDIR(file.st_mode))
                r = -ENOTDIR;
        snprintf(text, sizeof(text), "%s: %s", nearest, r ? strerror(-r) : "writable");
        return report(!r, item, text);
}

/* If the lock file exists, run must be able to write it. */
static bool check_lock(const struct config *config)
{
        _cleanup_(free) char *path = xasprintf("%s/lock", config->state_dir);
        char text[PATH_MAX + 64];
        struct stat file;

        if (stat(path, &file) < 0 && (errno == ENOENT || errno == ENOTDIR))
                return true; /* check_directory() has reported on its directory */
        if (S_ISREG(file.st_mode) && access(path, W_OK) == 0)
                return true;
        snprintf(text, sizeof(text), "%s cannot be written: %s", path,
                 S_ISREG(file.st_mode) ? strerror(errno) : "it is not a file");
        return report(false, "lock", text);
}

static bool check_registry(const struct config *config)
{
        _cleanup_(free) char *path = xasprintf("%s/plugins_registry", config->kubelet_dir);

        return check_directory("registry", path);
}

static bool check_cdi_conflict(const struct config *config)
{
        _cleanup_(free) char *other = cdi_conflict_find(config->cdi_dir);
        _cleanup_(free) char *text = NULL;

        if (!other)
                return true;
        text = xasprintf("%s also names our devices: no VM starts until it is removed", other);
        return report(false, "CDI", text);
}

static bool check_files(const struct config *config)
{
        bool is_ok = check_directory("state", config->state_dir);

        is_ok &= check_lock(config);
        is_ok &= check_directory("CDI", config->cdi_dir);
        is_ok &= check_cdi_conflict(config);
        if (config->serves_dra)
                is_ok &= check_registry(config);
        if (config->serves_plugin)
                is_ok &= check_directory("plugins", config->device_plugin_dir);
        return is_ok;
}

/* ---- what the survey found ---- */

static bool check_capacity(const struct config *config, const struct survey *survey)
{
        const struct capacity_sight *capacity = &survey->capacity;
        const struct survey_held *held = &survey->held;
        char text[PATH_MAX + ERROR_TEXT_SIZE];

        if (*capacity->reason)
                return report(false, "capacity", capacity->reason);
        if (held->error.code)
                return report(false, "capacity", held->error.text);
        snprintf(
                text, sizeof(text),
                "%u TD%s left to offer: %llu of the host (%s), %u reserved, %u held by %u claim%s, "
                "%u by plain pods, %u run by others besides the reserve",
                survey->n_left, text_plural(survey->n_left), (unsigned long long)capacity->n_host,
                capacity->source, config->reserve, held->by_claims, held->n_claims,
                text_plural(held->n_claims), held->by_plugin, held->withheld);
        return report(survey->n_left, "capacity", text);
}

/* A refused setting keeps VMs out only if attestation is enforced. */
static bool check_settings(const struct survey *survey)
{
        const struct survey_settings *settings = &survey->settings;
        char text[2 * PATH_MAX];

        snprintf(text, sizeof(text), "%s, socket %s (in the VM %s): %s",
                 settings->is_enforced ? "enforced" : "not enforced",
                 settings->host_socket ? settings->host_socket : "none",
                 settings->vm_socket ? settings->vm_socket : "none", settings->source);
        return report(!settings->is_refused || !settings->is_enforced, "attestation", text);
}

/* Without enforcement VMs run, and attest as soon as QGS answers. */
static bool check_qgs(const struct survey *survey)
{
        const char *socket = survey->settings.host_socket;
        bool is_answering = survey->qgs.state == QGS_ANSWERING;
        char text[PATH_MAX + 512];

        if (!socket)
                return report(!survey->settings.is_enforced, "QGS", "not tried");
        if (is_answering)
                snprintf(text, sizeof(text), "%s answers", socket);
        else
                snprintf(text, sizeof(text), "%s: %s%s", qgs_state_name(survey->qgs.state),
                         survey->qgs.reason,
                         survey->settings.is_enforced
                                 ? "; attestation is enforced: the driver would place no VM here"
                                 : "; VMs would be placed here, but could not attest");
        return report(is_answering || !survey->settings.is_enforced, "QGS", text);
}

/* Without an API server no claim can be prepared, but plain pods are served. */
static bool check_api(const struct config *config, const struct survey *survey)
{
        char text[ERROR_TEXT_SIZE + 64];

        snprintf(text, sizeof(text), "%s%s", survey->api.text,
                 survey->api.is_ok || config->serves_dra
                         ? ""
                         : "; --serve=plugin works without an API server");
        return report(survey->api.is_ok || !config->serves_dra, "API server", text);
}

/* The directory that VMs mount: run creates it, and places no VM if it cannot. */
static bool check_mount(const struct config *config, const struct survey *survey)
{
        const char *socket = survey->settings.host_socket;
        _cleanup_(free) char *directory = NULL, *seen = NULL;
        char text[PATH_MAX];
        struct stat file;

        if (!socket)
                return true; /* check_config() has reported it */
        directory = file_directory_of(socket);
        seen = qgs_path_seen(config->host_root, directory);
        if (!qgs_path_is_visible(config->host_root, seen)) {
                snprintf(text, sizeof(text),
                         "the driver cannot see %.1000s: mount it at %.1000s%.1000s in the "
                         "driver's pod",
                         directory, config->host_root, directory);
                return report(!survey->settings.is_enforced, "mount", text);
        }
        if (stat(seen, &file) < 0 || !S_ISDIR(file.st_mode))
                return check_directory("mount", seen);
        snprintf(text, sizeof(text), "%.2000s is there", seen);
        return report(true, "mount", text);
}

int check_run(const struct config *config)
{
        const struct survey_options options = { .asks_for_node = true };
        _cleanup_(survey) struct survey survey;
        bool is_ok = check_config(config);

        survey_make(config, &options, &survey);
        is_ok &= check_capacity(config, &survey);
        is_ok &= check_files(config);
        is_ok &= check_settings(&survey);
        is_ok &= check_mount(config, &survey);
        is_ok &= check_qgs(&survey);
        is_ok &= check_api(config, &survey);
        return is_ok ? 0 : 1;
}
