/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/check.h"
#include "admin/inspect.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/text.h"
#include "config.h"
#include "daemon.h"
#include "descriptors.h"
#include "signals.h"

#include <stdio.h>
#include <string.h>

struct command {
        const char *name;
        const char *meaning;
        bool needs_config;
        /* The process's exit status. */
        int (*run)(const struct config *config);
};

static int run(const struct config *config)
{
        struct error error = ERROR_NULL;

        if (config_check(config, &error) < 0 || descriptors_raise_limit(&error) < 0) {
                log_error("cannot start", log_str("reason", error.text));
                return 2;
        }
        signals_ignore();
        log_info("starting", log_str("version", DRA_VERSION), log_str("driver", DRIVER_NAME),
                 log_str("node", config->node_name));
        if (daemon_run(config, &error) < 0) {
                log_error("cannot run", log_str("reason", error.text));
                return 1;
        }
        return 0;
}

static int print_version(const struct config *config)
{
        puts("dra-driver-tdx " DRA_VERSION);
        return 0;
}

static const struct command commands[] = {
        { "run",
          "serve this node until SIGTERM, SIGINT or SIGQUIT; on SIGHUP, look at the host, kubelet "
          "and "
          "the cluster again; ignore SIGUSR1, SIGUSR2 and SIGALRM",
          true, run },
        { "check",
          "report, item by item, whether `run` would start here and place VMs: exit status 1 if "
          "not",
          true, check_run },
        { "inspect", "show how many TDs this node has and who holds them", true, inspect_run },
        { "version", "print the version; also --version", false, print_version },
};

static void print_help(void)
{
        _cleanup_(text) struct text text = TEXT_NULL;

        text_add(&text, "dra-driver-tdx hands out this host's TDs (Intel TDX trust domains) to "
                        "KubeVirt VMs: through\nResourceClaims (DRA), and to plain pods that ask "
                        "for devices.kubevirt.io/tdx (device plugin).\n\n"
                        "Usage: dra-driver-tdx COMMAND [FLAG...]\n\nCommands:\n");
        for (size_t i = 0; i < array_size(commands); ++i) {
                text_addf(&text, "  %-*s", OPTIONS_INDENT - 2, commands[i].name);
                text_add_wrapped(&text, commands[i].meaning, OPTIONS_INDENT, OPTIONS_WIDTH);
                text_add(&text, "\n");
        }
        text_add(&text, "\nEach flag has an environment variable, shown in brackets; the flag wins "
                        "over the variable.\n");
        config_describe_flags(&text);
        fputs(text.bytes, stdout);
}

static const struct command *find_command(const char *name)
{
        for (size_t i = 0; i < array_size(commands); ++i)
                if (strcmp(commands[i].name, name) == 0)
                        return &commands[i];
        return NULL;
}

/* In main() it is too late: constructors of shared libraries open files, and would get the numbers
 * of closed standard descriptors. The dynamic loader runs this array of the program first (ELF
 * gABI, DT_PREINIT_ARRAY). */
__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = descriptors_open_standard;

int main(int argc, char **argv)
{
        _cleanup_(config) struct config config = CONFIG_NULL;
        const struct command *command;
        struct error error = ERROR_NULL;
        int r;

        memory_init();
        if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
            strcmp(argv[1], "help") == 0) {
                print_help();
                return argc < 2 ? 2 : 0;
        }
        command = find_command(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
        if (!command) {
                fprintf(stderr,
                        "dra-driver-tdx: there is no command \"%s\"; see dra-driver-tdx --help\n",
                        argv[1]);
                return 2;
        }
        r = command->needs_config ? config_parse(argc - 2, argv + 2, &config, &error) : 0;
        if (r == CONFIG_HELP) {
                print_help();
                return 0;
        }
        if (r < 0) {
                fprintf(stderr, "dra-driver-tdx: %s\n", error.text);
                return 2;
        }
        log_setup(config.log_level, config.log_format);
        return command->run(&config);
}
