#include <pthread.h>

#include "base/siphash.h"
#include "metering/limits/limit_int.h"

static struct siphash_key key_of_process;

static void key_make(void)
{
    key_of_process = siphash_key_random();
}

uint64_t limit_hash(struct strv key)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, key_make);
    return siphash_table(&key_of_process, key);
}
