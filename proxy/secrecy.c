#include "proxy/secrecy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"

void secrecy_close(void)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    const char *open = getenv(SECRECY_SWITCH);

    if (open && strcmp(open, "1") == 0) {
        log_line(LOG_WARN, "server", "core dumps are possible, and would show secrets",
                 "because=" SECRECY_SWITCH);
        return;
    }
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        log_line(LOG_WARN, "server", "could not forbid core dumps", "errno=%d", errno);
}
