#include "metering/ledger/schema.h"

#include <stddef.h>

#include "metering/ledger/db.h"

/*
 * Texts stand once, in word; 0 there means absent.  A line holds what questions
 * choose by, in the order of time; the record holds everything.  What is derived
 * (line, rollup, task sums) can be made anew from record.
 */
static const char *const version_1 =
    "CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
    "CREATE TABLE tagset(id INTEGER PRIMARY KEY, body BLOB NOT NULL UNIQUE);"
    /* What a rollup tells apart. */
    "CREATE TABLE combo(id INTEGER PRIMARY KEY,"
    " team INTEGER NOT NULL, feature INTEGER NOT NULL, environment INTEGER NOT NULL,"
    " task_type INTEGER NOT NULL, key INTEGER NOT NULL, model INTEGER NOT NULL,"
    " upstream INTEGER NOT NULL, endpoint INTEGER NOT NULL, protocol INTEGER NOT NULL,"
    " service_tier INTEGER NOT NULL, price_id INTEGER NOT NULL, outcome INTEGER NOT NULL,"
    " usage_source INTEGER NOT NULL, price_status INTEGER NOT NULL, sources INTEGER NOT NULL,"
    " UNIQUE(team, feature, environment, task_type, key, model, upstream, endpoint, protocol,"
    " service_tier, price_id, outcome, usage_source, price_status, sources));"
    "CREATE TABLE record(seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL);"
    /* cost: whole nano-USD and the atto-USD below, NULL where unpriced. */
    "CREATE TABLE line(end_us INTEGER NOT NULL, seq INTEGER NOT NULL, start_us INTEGER NOT "
    "NULL,"
    " combo INTEGER NOT NULL, customer INTEGER NOT NULL, user INTEGER NOT NULL,"
    " task INTEGER NOT NULL, tagset INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " cost_nano INTEGER, cost_rest INTEGER,"
    " PRIMARY KEY(end_us, seq)) WITHOUT ROWID;"
    "CREATE INDEX line_task ON line(task, start_us) WHERE task <> 0;"
    "CREATE TABLE rollup(level INTEGER NOT NULL, bucket INTEGER NOT NULL, combo INTEGER NOT "
    "NULL,"
    " requests INTEGER NOT NULL, cost_nano INTEGER NOT NULL, cost_rest INTEGER NOT NULL,"
    " body BLOB NOT NULL, PRIMARY KEY(level, bucket, combo)) WITHOUT ROWID;"
    "CREATE TABLE task(id INTEGER PRIMARY KEY, team INTEGER NOT NULL, name TEXT NOT NULL,"
    " task_type INTEGER NOT NULL DEFAULT 0, outcome INTEGER NOT NULL DEFAULT 0,"
    " closed_us INTEGER, closed_by INTEGER NOT NULL DEFAULT 0,"
    " first_us INTEGER, last_us INTEGER, max_attempt INTEGER NOT NULL DEFAULT 0,"
    " body BLOB NOT NULL DEFAULT x'', UNIQUE(name, team));"
    "CREATE INDEX task_closed ON task(closed_us) WHERE closed_us IS NOT NULL;"
    "CREATE TABLE denied(bucket INTEGER NOT NULL, code INTEGER NOT NULL, key INTEGER NOT NULL,"
    " team INTEGER NOT NULL, feature INTEGER NOT NULL, environment INTEGER NOT NULL,"
    " limit_name INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY(bucket, code, key, team, feature, environment, limit_name)) WITHOUT ROWID;"
    "CREATE TABLE segment(name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "PRAGMA application_id=1414481740;" /* "TOLL" */
    "PRAGMA user_version=1;";

/* Which lines correct a record; derived from record too. */
static const char *const version_2 =
    "CREATE TABLE correction(record BLOB NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY(record, seq)) WITHOUT ROWID;"
    "PRAGMA user_version=2;";

/*
 * What windows of limits need of deleted lines beside the rollups: which of them began in
 * an earlier quarter of an hour than they ended in, their combination and sums.
 */
static const char *const version_3 =
    "CREATE TABLE carried(end_us INTEGER NOT NULL, seq INTEGER NOT NULL, start_us INTEGER NOT "
    "NULL,"
    " combo INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY(end_us, seq)) WITHOUT ROWID;"
    "PRAGMA user_version=3;";

/*
 * Columns of blocks of requests (fact.h), made of record and line: where there are none yet,
 * or not all, the ingest thread makes them while nothing else is to do.  first_us and
 * last_us: the least and the most end of a block; first_task and last_task: of those of its
 * requests that have a task, 0 and 0 where none has.
 *
 * Indexes that tell of a task what reports need without its row.
 */
static const char *const version_4 =
    "CREATE TABLE fact(id INTEGER PRIMARY KEY, body BLOB NOT NULL);"
    "CREATE TABLE fact_block(block INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL,"
    " n INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,"
    " first_task INTEGER NOT NULL, last_task INTEGER NOT NULL);"
    "DROP INDEX task_closed;"
    "CREATE INDEX task_closed ON task(closed_us, outcome) WHERE closed_us IS NOT NULL;"
    "CREATE INDEX task_first ON task(first_us) WHERE first_us IS NOT NULL;"
    "PRAGMA user_version=4;";

/*
 * Days that are over, added up (cube.h): n rows in the blocks of rows from `first` on, of the
 * blocks of facts up to `through`; n -1: not worth it.
 */
static const char *const version_5 =
    "CREATE TABLE cube(id INTEGER PRIMARY KEY, body BLOB NOT NULL);"
    "CREATE TABLE cube_day(day INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " through INTEGER NOT NULL, first INTEGER NOT NULL, n INTEGER NOT NULL,"
    " PRIMARY KEY(day, kind)) WITHOUT ROWID;"
    "PRAGMA user_version=5;";

/*
 * Thresholds of budgets that were reached: each once, whoever saw it first.  A limit that was
 * raised has thresholds of its own, so its amount is part of which one it is.
 */
static const char *const version_6 =
    "CREATE TABLE crossing(limit_name INTEGER NOT NULL, start_us INTEGER NOT NULL,"
    " end_us INTEGER NOT NULL, scope INTEGER NOT NULL, percent INTEGER NOT NULL,"
    " amount INTEGER NOT NULL, spent INTEGER NOT NULL, at_us INTEGER NOT NULL,"
    " teller INTEGER NOT NULL,"
    " PRIMARY KEY(limit_name, start_us, end_us, scope, percent, amount)) WITHOUT ROWID;"
    "PRAGMA user_version=6;";

/*
 * What tasks came to (tally.h), of blocks of facts up to `through`; first_us, last_us: the least
 * and the most end of a line.  tally_again: tasks that were given an outcome since.
 */
static const char *const version_7 =
    "CREATE TABLE tally(id INTEGER PRIMARY KEY, body BLOB NOT NULL);"
    "CREATE TABLE tally_block(block INTEGER PRIMARY KEY, through INTEGER NOT NULL,"
    " first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, is_none INTEGER NOT NULL);"
    "CREATE TABLE tally_again(task INTEGER PRIMARY KEY);"
    "PRAGMA user_version=7;";

/*
 * What many records share stands once (record_common.h): records that name it hold only the
 * rest, those of before stay as they are.  hash: of body, to find it by.  Like combinations,
 * what is common stays when records go.
 */
static const char *const version_8 =
    "CREATE TABLE common(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, body BLOB NOT NULL);"
    "CREATE INDEX common_hash ON common(hash);"
    "ALTER TABLE record ADD COLUMN common INTEGER;"
    "PRAGMA user_version=8;";

/*
 * Days are added up in more kinds (cube.h), made while nothing else is to do: an earlier program
 * would take these for damage.
 */
static const char *const version_9 = "PRAGMA user_version=9;";

/*
 * Days in order have lists of another form, and days by customer alone are added up too (cube.h).
 * What an earlier version made is deleted, and made anew, while nothing else is to do.
 */
static const char *const version_10 = "PRAGMA user_version=10;";

/*
 * Blocks of requests say by column what each was charged for (fact.h).  Those of before get these
 * columns while nothing else is to do.
 */
static const char *const version_11 = "PRAGMA user_version=11;";

/* Days are added up by outcome, customer and whether of a task too, while nothing else is to do. */
static const char *const version_12 = "PRAGMA user_version=12;";

/* And by customer and user, by token band and customer, and by class with meters. */
static const char *const version_13 = "PRAGMA user_version=13;";

/* And by outcome, team, set of free tags and whether of a task. */
static const char *const version_14 = "PRAGMA user_version=14;";

/* Element v makes version v + 1 of version v. */
static const char *const migrations[SCHEMA_VERSION] = {version_1, version_2, version_3,
                                                         version_4, version_5, version_6,
                                                         version_7, version_8, version_9,
                                                         version_10, version_11, version_12,
                                                         version_13, version_14};

int64_t rollup_width_us(enum rollup_level level)
{
    static const int64_t width_s[LEVEL_COUNT] = {
        [LEVEL_QUARTER] = 900, [LEVEL_HOUR] = 3600, [LEVEL_DAY] = 86400};

    return width_s[level] * 1000000;
}

int64_t rollup_bucket(enum rollup_level level, int64_t us)
{
    int64_t width = rollup_width_us(level);

    return us / width - (us % width < 0);
}

static enum rc version_of(sqlite3 *db, int64_t *version, struct fail *fail)
{
    enum rc rc = db_query_int(db, "PRAGMA user_version", version, fail, "read the ledger");

    if (rc == RC_OK && *version > SCHEMA_VERSION) {
        *fail = (struct fail){
            .rc = RC_STATE, .doing = "use a ledger that a newer version of this program made"};
        return RC_STATE;
    }
    return rc;
}

/* A database that is someone else's is not made ours. */
static enum rc check_empty(sqlite3 *db, struct fail *fail)
{
    int64_t n;
    enum rc rc =
        db_query_int(db, "SELECT count(*) FROM sqlite_schema", &n, fail, "read the ledger");

    if (rc == RC_OK && n > 0) {
        *fail = (struct fail){.rc = RC_STATE,
                              .doing = "use this file: it is another program's database"};
        return RC_STATE;
    }
    return rc;
}

enum rc schema_migrate(sqlite3 *db, struct fail *fail)
{
    int64_t version;
    enum rc rc = db_exec(db, "BEGIN IMMEDIATE", fail, "lock the ledger");

    if (rc != RC_OK)
        return rc;
    rc = version_of(db, &version, fail);
    if (rc == RC_OK && version == 0)
        rc = check_empty(db, fail);
    for (int64_t v = version; rc == RC_OK && v < SCHEMA_VERSION; v++)
        rc = db_exec(db, migrations[v], fail, "make the ledger's tables");
    if (rc == RC_OK)
        rc = db_exec(db, "COMMIT", fail, "make the ledger's tables");
    if (rc != RC_OK)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

enum rc schema_check(sqlite3 *db, struct fail *fail)
{
    int64_t version;
    enum rc rc = version_of(db, &version, fail);

    if (rc == RC_OK && version != SCHEMA_VERSION) {
        *fail = (struct fail){
            .rc = RC_STATE,
            .doing = version == 0 ? "read this file: it is no ledger yet"
                                  : "read a ledger of an earlier version: a gateway brings it up "
                                    "to date when it starts"};
        return RC_STATE;
    }
    return rc;
}

/*
 * A ledger is a set of books where there is the table `taken`: by the number of another ledger, up
 * to which record it was taken in (that record's id beside it, since a ledger may be restored and
 * give numbers again), and as of when it was complete in that.  taken_denied: how many refusals of
 * a row of it are in these books; its texts are numbers of these.
 */
static const char *const books =
    "CREATE TABLE IF NOT EXISTS taken(installation INTEGER PRIMARY KEY, seq INTEGER NOT NULL,"
    " id BLOB NOT NULL, as_of_us INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS taken_denied(installation INTEGER NOT NULL,"
    " bucket INTEGER NOT NULL, code INTEGER NOT NULL, key INTEGER NOT NULL,"
    " team INTEGER NOT NULL, feature INTEGER NOT NULL, environment INTEGER NOT NULL,"
    " limit_name INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY(installation, bucket, code, key, team, feature, environment, limit_name))"
    " WITHOUT ROWID;";

enum rc schema_make_books(sqlite3 *db, struct fail *fail)
{
    enum rc rc = db_exec(db, "BEGIN IMMEDIATE", fail, "lock the ledger");

    if (rc != RC_OK)
        return rc;
    rc = db_exec(db, books, fail, "make the books' tables");
    if (rc == RC_OK)
        rc = db_exec(db, "COMMIT", fail, "make the books' tables");
    if (rc != RC_OK)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

enum rc schema_is_books(sqlite3 *db, bool *is_books, struct fail *fail)
{
    int64_t n = 0;
    enum rc rc = db_query_int(db, "SELECT count(*) FROM sqlite_schema WHERE name='taken'", &n, fail,
                              "read the ledger");

    *is_books = n > 0;
    return rc;
}
