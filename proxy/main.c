/*
 * main.c - finds the command and runs it; does nothing else.
 */
#include <stdio.h>
#include <string.h>

#include "proxy/cmd.h"

int main(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2) {
        char help[] = "help";
        char *arguments[] = {help, NULL};

        (void)cmd_help(1, arguments);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("tollgate " TOLLGATE_VERSION);
        return EXIT_GOOD;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return cmd_help(1, argv + 1);
    command = command_find(argv[1]);
    if (!command)
        return command_unknown(argv[1]);
    return command->run(argc - 1, argv + 1);
}
