#include "proxy/config_trail.h"

#include "base/log.h"
#include "proxy/config.h"
#include "reports/trail.h"

void config_note(const struct config *config, const char *action)
{
    const struct trail_change changes[] = {
        {.action = action,
         .object = "configuration",
         .detail = config->file,
         .after = config->file_sha256},
        {.action = action, .object = "prices", .after = book_hash(config->book)},
        {.action = action,
         .object = "keys",
         .after = config->keys_sha256[0] ? config->keys_sha256 : NULL},
    };

    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct fail fail;
        char why[256];

        if (trail_observe(config->state_dir, &changes[i], &fail) == RC_OK)
            continue;
        fail_text(&fail, why, sizeof(why));
        log_line(LOG_WARN, "trail", "a change is not noted", "object=%s reason=\"%s\"",
                 changes[i].object, why);
    }
}
