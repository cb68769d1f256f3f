#include "metering/ledger/folder_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/state_file.h"
#include "base/xalloc.h"

static enum rc failed(struct fail *fail, const char *doing)
{
    *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = doing};
    return RC_IO;
}

enum rc folder_lock(const char *journal_dir, int *fd, struct fail *fail)
{
    char *path = xasprintf("%s/lock", journal_dir);
    enum rc rc = RC_OK;
    int code;

    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    free(path);
    if (*fd < 0)
        return failed(fail, "open the journal folder's lock file");
    state_file_own(*fd, journal_dir);
    do {
        code = flock(*fd, LOCK_EX | LOCK_NB);
    } while (code != 0 && errno == EINTR);
    if (code == 0)
        return RC_OK;
    if (errno != EWOULDBLOCK)
        rc = failed(fail, "take the journal folder's lock");
    close(*fd);
    *fd = -1;
    return rc;
}
