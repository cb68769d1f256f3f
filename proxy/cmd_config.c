#include "proxy/cmd_config.h"

#include "proxy/cmd.h"

struct config *cmd_load(const char *file)
{
    struct problems problems;
    struct config *config;

    problems_init(&problems);
    config = config_load(file, &problems);
    cmd_print_problems(&problems, NULL);
    problems_release(&problems);
    return config;
}
