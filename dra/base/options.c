/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int option_invalid(const struct option *option, const char *value, const char *wanted,
                   struct error *err)
{
        return error_set(err, -EINVAL, "--%s: \"%.128s\" is not %s", option->name, value, wanted);
}

int option_parse_string(const struct option *option, const char *value, void *field,
                        struct error *err)
{
        char **string = field;

        if (!*value)
                return option_invalid(option, value, option->argument, err);
        free(*string);
        *string = xstrdup(value);
        return 0;
}

int option_parse_log_level(const struct option *option, const char *value, void *field,
                           struct error *err)
{
        static const char *const names[] = { "error", "warn", "info", "debug" };

        for (size_t i = 0; i < array_size(names); ++i)
                if (strcmp(value, names[i]) == 0) {
                        *(enum log_level *)field = (enum log_level)i;
                        return 0;
                }
        return option_invalid(option, value, "one of error, warn, info, debug", err);
}

int option_parse_log_format(const struct option *option, const char *value, void *field,
                            struct error *err)
{
        bool is_json = strcmp(value, "json") == 0;

        if (!is_json && strcmp(value, "text") != 0)
                return option_invalid(option, value, "one of text, json", err);
        *(enum log_format *)field = is_json ? LOG_JSON : LOG_TEXT;
        return 0;
}

static int set(const struct option *option, const char *value, void *settings, struct error *err)
{
        return option->parse(option, value, (char *)settings + option->offset, err);
}

static char *variable_name(const struct option *option)
{
        char *name = xasprintf("DRA_%s", option->name);

        for (char *p = name; *p; ++p)
                *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        return name;
}

/* The environment variable wins over the default. */
static int set_one_from_environment(const struct option *option, void *settings, struct error *err)
{
        _cleanup_(free) char *name = variable_name(option);
        const char *value = getenv(name);
        int r;

        if (!value && !option->fallback)
                return 0;
        r = set(option, value ? value : option->fallback, settings, err);
        if (r < 0 && value)
                error_prefix(err, "environment variable %s", name);
        return r;
}

int options_set_from_environment(const struct options *options, void *settings, struct error *err)
{
        int r = 0;

        for (size_t i = 0; !r && i < options->n_rows; ++i)
                if (options->rows[i].name)
                        r = set_one_from_environment(&options->rows[i], settings, err);
        return r;
}

static const struct option *find(const struct options *options, const char *name, size_t n)
{
        for (size_t i = 0; i < options->n_rows; ++i)
                if (options->rows[i].name && strlen(options->rows[i].name) == n &&
                    strncmp(options->rows[i].name, name, n) == 0)
                        return &options->rows[i];
        return NULL;
}

int options_set_from_arguments(const struct options *options, int argc, char **argv, void *settings,
                               struct error *err)
{
        for (int i = 0; i < argc; ++i) {
                const char *name = argv[i] + 2, *value;
                const struct option *option;
                size_t n;
                int r;

                if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
                        return OPTIONS_HELP;
                if (strncmp(argv[i], "--", 2) != 0)
                        return error_set(err, -EINVAL, "\"%.128s\" is not a flag; see --help",
                                         argv[i]);
                n = strcspn(name, "=");
                option = find(options, name, n);
                if (!option)
                        return error_set(err, -EINVAL, "there is no flag \"%.128s\"; see --help",
                                         argv[i]);
                value = name[n] ? name + n + 1 : i + 1 < argc ? argv[++i] : NULL;
                if (!value)
                        return error_set(err, -EINVAL, "--%s needs a value: %s", option->name,
                                         option->argument);
                r = set(option, value, settings, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void describe(struct text *text, const struct option *option)
{
        _cleanup_(free) char *variable = variable_name(option);
        _cleanup_(free) char *flag = xasprintf("--%s %s", option->name, option->argument);
        _cleanup_(free) char *meaning = xasprintf(
                "%s%s%s%s [%s]", option->meaning, option->fallback ? " (default " : "",
                option->fallback ? option->fallback : "", option->fallback ? ")" : "", variable);

        text_addf(text, "  %-*s", OPTIONS_INDENT - 2, flag);
        if (strlen(flag) >= OPTIONS_INDENT - 2) /* no room for a blank: the meaning goes below */
                text_addf(text, "\n%*s", OPTIONS_INDENT, "");
        text_add_wrapped(text, meaning, OPTIONS_INDENT, OPTIONS_WIDTH);
        text_add(text, "\n");
}

void options_describe(const struct options *options, struct text *text)
{
        for (size_t i = 0; i < options->n_rows; ++i) {
                if (options->rows[i].name)
                        describe(text, &options->rows[i]);
                else
                        text_addf(text, "\n%s:\n", options->rows[i].meaning);
        }
}
