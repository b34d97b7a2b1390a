/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's flags as a table: parsed from "--name VALUE" or "--name=VALUE", from environment
 * variables (--qgs-socket is DRA_QGS_SOCKET), and described for --help. A flag wins over its
 * variable.
 */
#pragma once

#include <stddef.h>

struct error;
struct text;

#define OPTIONS_INDENT 26  /* column at which the meanings start in --help */
#define OPTIONS_WIDTH  100 /* columns a line may have */

struct option {
        const char *name; /* NULL: a heading, meaning its text */
        const char *argument;
        const char *fallback; /* shown and parsed; NULL: none */
        const char *meaning;
        /* 0, or -EINVAL with a text that names the flag and what it takes. */
        int (*parse)(const struct option *option, const char *value, void *field,
                     struct error *err);
        size_t offset; /* of the field in the settings */
};

/* A table and the settings that its offsets belong to. */
struct options {
        const struct option *rows; /* in the order of --help */
        size_t n_rows;
};

enum options_outcome {
        OPTIONS_HELP = 1 /* --help or -h was given */
};

/* Set what the environment or a fallback gives, then what the arguments give. 0, OPTIONS_HELP, or
 * -EINVAL with the reason. */
int options_set_from_environment(const struct options *options, void *settings, struct error *err);
int options_set_from_arguments(const struct options *options, int argc, char **argv, void *settings,
                               struct error *err);

/* -EINVAL: "--name: "value" is not <wanted>". */
int option_invalid(const struct option *option, const char *value, const char *wanted,
                   struct error *err);
/* Not empty; the field is a char *, which is replaced. */
int option_parse_string(const struct option *option, const char *value, void *field,
                        struct error *err);
/* error, warn, info or debug; enum log_level. text or json; enum log_format. */
int option_parse_log_level(const struct option *option, const char *value, void *field,
                           struct error *err);
int option_parse_log_format(const struct option *option, const char *value, void *field,
                            struct error *err);

/* The flags below their headings, each with its meaning, default and variable. */
void options_describe(const struct options *options, struct text *text);
