#include "proxy/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config_fields.h"
#include "proxy/nearest.h"

/* clang-format off */
static const struct command commands[] = {
    {"serve",  "-c FILE",                   "run the proxy", cmd_serve},
    {"check",  "-c FILE",                   "validate configuration, prices and certificates", cmd_check},
    {"key",    "create|list|revoke -c FILE", "virtual keys; a secret is printed once, its hash is kept", cmd_key},
    {"report", "NAME -c FILE [options]",    "spend, cost per request, cost per task, budgets and more", cmd_report},
    {"export", "-c FILE [options]",         "ledger lines as jsonl, csv or FOCUS", cmd_export},
    {"import", "KIND FILE -c FILE",         "business counts, outside costs, plans; other gateways' ledgers", cmd_import},
    {"close",  "--month M -c FILE",         "freeze and hash a month that is billed", cmd_close},
    {"gate",   "--baseline FILE -c FILE",   "exit 1 where a task costs more than before; table and JUnit", cmd_gate},
    {"audit",  "-c FILE",                   "prove that journal, ledger, rollups, counters and reports agree", cmd_audit},
    {"budget", "status|reset|rebuild|raise", "counters against the ledger", cmd_budget},
    {"price",  "show|cost|lint|reprice",    "the price book", cmd_price},
    {"count",  "[-m MODEL] [FILE]",         "tokens of a text, exactly as tiktoken counts", cmd_count},
    {"help",   "[COMMAND|configuration]",   "this text, a command's options, every field of the configuration", cmd_help},
};

/* clang-format on */

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const struct command *command_at(size_t n)
{
    return n < COUNT_OF(commands) ? &commands[n] : NULL;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

int command_unknown(const char *name)
{
    const char *best = commands[0].name;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        size_t distance = nearest_distance(strv_z(name), strv_z(commands[i].name));

        if (distance < best_distance) {
            best_distance = distance;
            best = commands[i].name;
        }
    }
    fprintf(stderr, "tollgate: no command \"%.*s\": did you mean \"%s\"? (tollgate help)\n",
            NEAREST_MAX_BYTES, name, best);
    return EXIT_USAGE;
}

void cmd_print_problems(const struct problems *problems, const char *word)
{
    for (size_t i = 0; i < problems->n; i++) {
        char *text = problem_text(&problems->at[i]);

        fprintf(stderr, "%s%s\n", word ? word : "", text);
        free(text);
    }
    if (problems->total > problems->n)
        fprintf(stderr, "and %zu more\n", problems->total - problems->n);
}

int cmd_no_file(const char *command)
{
    fprintf(stderr, "tollgate %s: which configuration? give -c FILE (tollgate %s --help)\n",
            command, command);
    return EXIT_USAGE;
}

static void print_overview(void)
{
    puts("tollgate - counts, prices and limits every call from your apps to LLM APIs\n");
    puts("usage: tollgate COMMAND [options]\n");
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        printf("  %-7s %-27s %s\n", commands[i].name, commands[i].usage, commands[i].help);
    puts("\n  -V, --version   the program's version");
    puts("  -h, --help      of a command: its options");
    puts("\nexit status: 0 good, 1 the answer is no, 2 bad usage or configuration");
}

static void print_preset(const struct config_field *f)
{
    switch (f->kind) {
    case FIELD_SECRET:
    case FIELD_TEXT:
    case FIELD_PATH:
        if (f->preset_text)
            printf(" [\"%s\"]", f->preset_text);
        break;
    case FIELD_INT:
    case FIELD_SIZE:
        printf(" [%lld]", (long long)f->preset);
        break;
    case FIELD_BOOL:
        printf(" [%s]", f->preset ? "true" : "false");
        break;
    case FIELD_WORD:
        for (size_t i = 0; f->words[i]; i++)
            printf("%s%s", i ? " | " : " (", f->words[i]);
        printf(")");
        if (f->preset >= 0)
            printf(" [\"%s\"]", f->words[f->preset]);
        break;
    case FIELD_SECTION:
    case FIELD_OWN:
        break;
    }
}

static void print_field(const struct config_section *section, const struct config_field *f,
                        void *arg)
{
    (void)arg;
    printf("%s%s%s%s: %s", section->path, section->path[0] ? "." : "", f->name,
           f->required ? " (required)" : "", f->help);
    print_preset(f);
    putchar('\n');
}

int cmd_help(int argc, char **argv)
{
    const struct command *command;
    char *arguments[3];
    char help[] = "--help";

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_overview();
        return EXIT_GOOD;
    }
    if (strcmp(argv[1], "configuration") == 0 || strcmp(argv[1], "config") == 0) {
        config_each_field(print_field, NULL);
        return EXIT_GOOD;
    }
    command = command_find(argv[1]);
    if (!command)
        return command_unknown(argv[1]);
    if (command->run == cmd_help) {
        print_overview();
        return EXIT_GOOD;
    }
    arguments[0] = argv[1];
    arguments[1] = help;
    arguments[2] = NULL;
    return command->run(2, arguments);
}
