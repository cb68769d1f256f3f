#include "proxy/collected.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/xalloc.h"

enum { BUCKET = 16, FILE_MODE = 0600, READ_ENTRIES = 256 };

/* Of the table, and (in this machine's byte order) of the file. */
struct entry {
    uint64_t key, n;
};

/*
 * Four entries with key 0, which versions before this form pass over, tell more of the one behind
 * them: a record's id in two halves, from where it claimed (or what this is instead), and a check
 * of all, so that what is left of a write that was cut short is not taken for it.
 */
enum { NOTE_ID = 0, NOTE_ID_REST, NOTE_FROM, NOTE_CHECK, NOTE_ENTRY, NOTE_ENTRIES };
#define NOTE_MAGIC UINT64_C(0x746f6c6c67617465)
#define NOTE_VOID  UINT64_MAX       /* the record tells nothing of the key; n: taken back so */
#define NOTE_BACK  (UINT64_MAX - 1) /* of the key so much, in the id's place, was taken back */

struct slot {
    _Atomic uint64_t key; /* 0: free */
    _Atomic uint64_t n;
    _Atomic uint64_t back; /* more than n: so much was counted, and taken back */
};

/* What a record of an earlier process claimed. */
struct note {
    struct uuid record;
    uint64_t key, from, to;
    bool is_void;
};

struct collected {
    char *path;
    int fd;
    atomic_uint victim; /* whose turn it is in a bucket that is full */
    struct note *notes; /* by record; until they stand */
    size_t n_notes, notes_cap;
    struct slot slots[COLLECTED_MAX];
};

/* Of an answer that is named by a path, the last segment counts. */
static void name_digest(struct strv upstream, struct strv answer,
                        unsigned char out[SHA256_BYTES])
{
    size_t at;

    while ((at = strv_find(answer, '/')) < answer.n)
        answer = strv_skip(answer, at + 1);
    digest_hmac_sha256(upstream, answer, out);
}

uint64_t collected_key(struct strv upstream, struct strv answer)
{
    unsigned char digest[SHA256_BYTES];
    uint64_t key;

    name_digest(upstream, answer, digest);
    memcpy(&key, digest, sizeof(key));
    return key != 0 ? key : 1;
}

void collected_work(struct strv upstream, struct strv answer, struct uuid *work)
{
    unsigned char digest[SHA256_BYTES];

    name_digest(upstream, answer, digest);
    memcpy(work->b, digest, UUID_BYTES);
    work->b[6] = (unsigned char)((work->b[6] & 0x0f) | 0x80);
    work->b[8] = (unsigned char)((work->b[8] & 0x3f) | 0x80);
}

/* The key's slot, made where there is none. */
static struct slot *slot_of(struct collected *c, uint64_t key)
{
    struct slot *bucket = &c->slots[key % (COLLECTED_MAX / BUCKET) * BUCKET];
    struct slot *victim;

    for (unsigned i = 0; i < BUCKET; i++) {
        uint64_t found = 0;

        if (atomic_compare_exchange_strong(&bucket[i].key, &found, key) || found == key)
            return &bucket[i];
    }
    victim = &bucket[atomic_fetch_add(&c->victim, 1) % BUCKET];
    atomic_store(&victim->key, key);
    atomic_store(&victim->n, 0);
    atomic_store(&victim->back, 0);
    return victim;
}

uint64_t collected_known(struct collected *c, uint64_t key)
{
    return atomic_load(&slot_of(c, key)->n);
}

void collected_set(struct collected *c, uint64_t key, uint64_t n)
{
    atomic_store(&slot_of(c, key)->n, n);
}

void collected_learn(struct collected *c, uint64_t key, uint64_t n)
{
    struct slot *slot = slot_of(c, key);

    if (n > atomic_load(&slot->n) && n > atomic_load(&slot->back))
        atomic_store(&slot->n, n);
}

void collected_add(struct collected *c, uint64_t key, uint64_t n)
{
    struct slot *slot = slot_of(c, key);
    uint64_t before = atomic_load(&slot->n), sum;

    do {
        if (__builtin_add_overflow(before, n, &sum))
            sum = UINT64_MAX;
    } while (!atomic_compare_exchange_weak(&slot->n, &before, sum));
}

bool collected_rise(struct collected *c, uint64_t key, uint64_t n, uint64_t *from)
{
    struct slot *slot = slot_of(c, key);

    *from = atomic_load(&slot->n);
    while (*from < n) {
        if (atomic_compare_exchange_weak(&slot->n, from, n))
            return true;
    }
    return false;
}

bool collected_claim(struct collected *c, uint64_t key, uint64_t n)
{
    uint64_t before;

    return collected_rise(c, key, n, &before);
}

bool collected_take(struct collected *c, uint64_t key, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&slot_of(c, key)->n, &from, to);
}

/* ---- the file --------------------------------------------------------------------------- */

/* Whole or not at all in practice; a torn tail is cut when the file is read. */
static void append(struct collected *c, const struct entry *entries, size_t n)
{
    if (write(c->fd, entries, n * sizeof(*entries)) != (ssize_t)(n * sizeof(*entries)))
        log_line(LOG_ERROR, "collected", "could not note what was counted", "reason=\"%s\"",
                 strerror(errno));
}

void collected_keep(struct collected *c, uint64_t key)
{
    struct entry entry = {.key = key, .n = atomic_load(&slot_of(c, key)->n)};

    append(c, &entry, 1);
}

static uint64_t check_of(const struct entry e[NOTE_ENTRIES])
{
    return NOTE_MAGIC ^ e[NOTE_ID].n ^ e[NOTE_ID_REST].n ^ e[NOTE_FROM].n ^ e[NOTE_ENTRY].key ^
           e[NOTE_ENTRY].n;
}

static void append_note(struct collected *c, const struct uuid *record, uint64_t from,
                        struct entry about)
{
    struct entry entries[NOTE_ENTRIES] = {{.n = 0}};

    memcpy(&entries[NOTE_ID].n, record->b, sizeof(uint64_t));
    memcpy(&entries[NOTE_ID_REST].n, record->b + sizeof(uint64_t), sizeof(uint64_t));
    entries[NOTE_FROM].n = from;
    entries[NOTE_ENTRY] = about;
    entries[NOTE_CHECK].n = check_of(entries);
    append(c, entries, NOTE_ENTRIES);
}

void collected_note(struct collected *c, uint64_t key, uint64_t from, uint64_t to,
                    const struct uuid *record)
{
    append_note(c, record, from, (struct entry){key, to});
}

void collected_void(struct collected *c, uint64_t key, const struct uuid *record)
{
    append_note(c, record, NOTE_VOID, (struct entry){key, 0});
}

static void add_note(struct collected *c, const struct note *note)
{
    if (c->n_notes == c->notes_cap) {
        c->notes_cap = c->notes_cap > 0 ? 2 * c->notes_cap : READ_ENTRIES;
        c->notes = xrealloc(c->notes, c->notes_cap * sizeof(*c->notes));
    }
    c->notes[c->n_notes++] = *note;
}

/* As the record, or a recovery, said later.  Such are few, and soon after. */
static void void_note(struct collected *c, const struct note *last)
{
    struct slot *slot = slot_of(c, last->key);

    if (atomic_load(&slot->back) < last->to)
        atomic_store(&slot->back, last->to);
    for (size_t i = c->n_notes; i > 0; i--) {
        struct note *n = &c->notes[i - 1];

        if (n->key == last->key && memcmp(n->record.b, last->record.b, UUID_BYTES) == 0) {
            *n = c->notes[--c->n_notes];
            return;
        }
    }
}

/* last: whole, of the file: what is told of the key. */
static void take_note(struct collected *c, const struct entry last[NOTE_ENTRIES])
{
    struct note note = {.key = last[NOTE_ENTRY].key,
                        .from = last[NOTE_FROM].n,
                        .to = last[NOTE_ENTRY].n};

    memcpy(note.record.b, &last[NOTE_ID].n, sizeof(uint64_t));
    memcpy(note.record.b + sizeof(uint64_t), &last[NOTE_ID_REST].n, sizeof(uint64_t));
    if (note.from == NOTE_VOID) {
        void_note(c, &note);
    } else if (note.from == NOTE_BACK) {
        atomic_store(&slot_of(c, note.key)->back, last[NOTE_ID].n);
        (void)collected_claim(c, note.key, note.to);
    } else {
        add_note(c, &note);
    }
}

/* last: the entries that were read last, the oldest first. */
static void take_entry(struct collected *c, struct entry last[NOTE_ENTRIES],
                       const struct entry *e)
{
    bool is_note = true;

    memmove(last, last + 1, (NOTE_ENTRIES - 1) * sizeof(*last));
    last[NOTE_ENTRY] = *e;
    if (e->key == 0)
        return;
    for (unsigned i = 0; i < NOTE_ENTRY; i++)
        is_note = is_note && last[i].key == 0;
    if (is_note && last[NOTE_CHECK].n == check_of(last))
        take_note(c, last);
    else
        (void)collected_claim(c, e->key, e->n);
}

static int by_record(const void *a, const void *b)
{
    return memcmp(((const struct note *)a)->record.b, ((const struct note *)b)->record.b,
                  UUID_BYTES);
}

/* Reads the file from its start, as far as it has whole entries; false where the system says no. */
static bool load(struct collected *c)
{
    struct entry last[NOTE_ENTRIES] = {{.key = 1}, {.key = 1}, {.key = 1}, {.key = 1}, {.key = 1}};
    struct entry entries[READ_ENTRIES];
    size_t held = 0;
    ssize_t got;

    while ((got = read(c->fd, (char *)entries + held, sizeof(entries) - held)) > 0) {
        size_t n = (held + (size_t)got) / sizeof(entries[0]);

        held = (held + (size_t)got) % sizeof(entries[0]);
        for (size_t i = 0; i < n; i++)
            take_entry(c, last, &entries[i]);
        memmove(entries, (char *)entries + n * sizeof(entries[0]), held);
    }
    for (size_t i = 0; i < c->n_notes; i++)
        (void)collected_claim(c, c->notes[i].key, c->notes[i].to);
    if (c->n_notes > 0)
        qsort(c->notes, c->n_notes, sizeof(*c->notes), by_record);
    return got == 0;
}

/* What is added stands behind whole entries. */
static bool cut_tail(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return false;
    return st.st_size % (off_t)sizeof(struct entry) == 0 ||
           ftruncate(fd, st.st_size - st.st_size % (off_t)sizeof(struct entry)) == 0;
}

static bool write_slot(int fd, const struct slot *slot)
{
    struct entry entries[NOTE_ENTRIES] = {
        [NOTE_ID] = {.n = atomic_load(&slot->back)},
        [NOTE_FROM] = {.n = NOTE_BACK},
        [NOTE_ENTRY] = {atomic_load(&slot->key), atomic_load(&slot->n)}};
    bool is_back = entries[NOTE_ID].n > entries[NOTE_ENTRY].n;
    const struct entry *from = is_back ? entries : &entries[NOTE_ENTRY];
    size_t n = (is_back ? NOTE_ENTRIES : 1) * sizeof(*from);

    entries[NOTE_CHECK].n = check_of(entries);
    return entries[NOTE_ENTRY].key == 0 || write(fd, from, n) == (ssize_t)n;
}

/* Writes what is remembered to a file that then takes the place of the old one. */
static bool rewrite(struct collected *c)
{
    char *other = xasprintf("%s.new", c->path);
    int fd = open(other, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, FILE_MODE);
    bool good = fd >= 0;

    for (size_t i = 0; good && i < COLLECTED_MAX; i++)
        good = write_slot(fd, &c->slots[i]);
    good = good && rename(other, c->path) == 0;
    if (good) {
        close(c->fd);
        c->fd = fd;
    } else if (fd >= 0) {
        close(fd);
    }
    free(other);
    return good;
}

enum rc collected_open(const char *state_dir, struct collected **out, struct fail *fail)
{
    struct collected *c = xcalloc(1, sizeof(*c)); /* mostly never touched */

    c->path = xasprintf("%s/collected", state_dir);
    c->fd = open(c->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, FILE_MODE);
    if (c->fd < 0 || !load(c) || !cut_tail(c->fd)) {
        *fail = (struct fail){
            .rc = RC_IO, .sys = errno, .doing = "open the list of what was counted"};
        collected_close(c);
        return RC_IO;
    }
    *out = c;
    return RC_OK;
}

/* ---- what was never told ------------------------------------------------------------------ */

/* The latest claim of a key first, so that what is before it can go too. */
static void give_back(struct collected *c, uint64_t key)
{
    struct slot *slot = slot_of(c, key);

    for (size_t i = 0; i < c->n_notes; i++) {
        struct note *note = &c->notes[i];
        uint64_t to = note->to;

        if (!note->is_void || note->key != key ||
            !atomic_compare_exchange_strong(&slot->n, &to, note->from))
            continue;
        if (atomic_load(&slot->back) < note->to)
            atomic_store(&slot->back, note->to);
        note->key = 0;
        i = (size_t)-1; /* another may end where this one began */
    }
}

void collected_take_back(struct collected *c, const struct uuid *record)
{
    const struct note wanted = {.record = *record};
    struct note *found = NULL;

    if (c->n_notes > 0)
        found = bsearch(&wanted, c->notes, c->n_notes, sizeof(*c->notes), by_record);
    if (!found)
        return;
    while (found > c->notes && by_record(found - 1, &wanted) == 0)
        found--;
    for (; found < c->notes + c->n_notes && by_record(found, &wanted) == 0; found++) {
        if (found->is_void)
            continue;
        found->is_void = true;
        append_note(c, record, NOTE_VOID, (struct entry){found->key, found->to});
        give_back(c, found->key);
    }
}

void collected_stand(struct collected *c)
{
    free(c->notes);
    c->notes = NULL;
    c->n_notes = c->notes_cap = 0;
    if (!rewrite(c))
        log_line(LOG_WARN, "collected", "could not shorten the list of what was counted",
                 "reason=\"%s\"", strerror(errno));
}

void collected_close(struct collected *c)
{
    if (c == NULL)
        return;
    if (c->fd >= 0)
        close(c->fd);
    free(c->notes);
    free(c->path);
    free(c);
}
