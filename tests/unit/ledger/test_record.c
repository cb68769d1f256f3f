/*
 * test_record.c - the record's stored form and its JSON.
 */
#include "tests/unit/ledger/kit.h"

#include <cjson/cJSON.h>

#include "metering/ledger/wire.h"

enum { RECORDS = 3000, RECORD_BYTES = 64 << 10 };

static void assert_text(struct strv a, struct strv b)
{
    assert_true(strv_eq(a, b));
}

static void assert_same(const struct record *a, const struct record *b)
{
    assert_memory_equal(a->id.b, b->id.b, UUID_BYTES);
    assert_int_equal(a->start_us, b->start_us);
    assert_int_equal(a->end_us, b->end_us);
    assert_int_equal(a->attempt, b->attempt);
    for (int i = 0; i < DIM_COUNT; i++)
        assert_text(a->subject.dim[i], b->subject.dim[i]);
    for (int i = 0; i < STANDING_TAGS; i++)
        assert_int_equal(a->subject.source[i], b->subject.source[i]);
    assert_int_equal(a->subject.n_free, b->subject.n_free);
    for (unsigned i = 0; i < a->subject.n_free; i++) {
        assert_text(a->subject.free[i].name, b->subject.free[i].name);
        assert_text(a->subject.free[i].value, b->subject.free[i].value);
    }
    assert_text(a->protocol, b->protocol);
    assert_text(a->endpoint, b->endpoint);
    assert_text(a->method, b->method);
    assert_text(a->model_requested, b->model_requested);
    assert_text(a->model, b->model);
    assert_text(a->service_tier, b->service_tier);
    assert_text(a->provider_request_id, b->provider_request_id);
    assert_int_equal(a->stream, b->stream);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->outcome, b->outcome);
    assert_int_equal(a->usage.has, b->usage.has);
    for (int i = 0; i < USAGE_COUNT; i++)
        assert_int_equal(a->usage.n[i], b->usage.n[i]);
    assert_int_equal(a->usage_source, b->usage_source);
    assert_int_equal(a->has_provider_cost, b->has_provider_cost);
    assert_int_equal(money_cmp(a->provider_cost, b->provider_cost), 0);
    assert_int_equal(a->price_status, b->price_status);
    assert_int_equal(money_cmp(a->cost, b->cost), 0);
    assert_int_equal(money_cmp(a->list_cost, b->list_cost), 0);
    assert_int_equal(a->n_lines, b->n_lines);
    for (size_t i = 0; i < a->n_lines; i++) {
        assert_int_equal(a->lines[i].meter, b->lines[i].meter);
        assert_int_equal(a->lines[i].quantity, b->lines[i].quantity);
        assert_int_equal(money_cmp(a->lines[i].rate, b->lines[i].rate), 0);
        assert_int_equal(money_cmp(a->lines[i].amount, b->lines[i].amount), 0);
    }
    assert_text(a->price_id, b->price_id);
    assert_text(a->price_confidence, b->price_confidence);
    assert_text(a->book, b->book);
    assert_int_equal(a->price_match, b->price_match);
    assert_int_equal(a->price_flags, b->price_flags);
    assert_int_equal(a->latency_us, b->latency_us);
    assert_int_equal(a->first_byte_us, b->first_byte_us);
    assert_int_equal(a->bytes_in, b->bytes_in);
    assert_int_equal(a->bytes_out, b->bytes_out);
    assert_text(a->node, b->node);
}

static void round_trip(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (int i = 0; i < RECORDS; i++) {
        struct record a, b;
        struct buf bytes;

        kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
        buf_init(&bytes, RECORD_BYTES);
        assert_int_equal(record_encode(&a, &bytes), RC_OK);
        assert_int_equal(record_decode(buf_view(&bytes), &b), RC_OK);
        assert_same(&a, &b);
        memset(&b, 0xff, sizeof(b));
        assert_int_equal(record_decode_id(buf_view(&bytes), &b), RC_OK);
        assert_memory_equal(&a.id, &b.id, sizeof(a.id));
        assert_int_equal(a.start_us, b.start_us);
        buf_release(&bytes);
    }
}

/* The id alone is read of what need not be whole, but never from beyond it. */
static void an_id_is_read_or_refused(void **state)
{
    struct record a = {.start_us = KIT_START_US, .end_us = KIT_START_US}, b;
    struct buf bytes;
    char *exact;

    (void)state;
    memset(a.id.b, 7, sizeof(a.id.b));
    buf_init(&bytes, RECORD_BYTES);
    assert_int_equal(record_encode(&a, &bytes), RC_OK);
    for (size_t n = 0; n < buf_len(&bytes); n++) {
        size_t id_ends = 2 + UUID_BYTES;
        enum rc rc;

        exact = xmemdupz(buf_view(&bytes).p, n); /* a read too far is found by ASan */
        rc = record_decode_id(strv_make(exact, n), &b);
        free(exact);
        if (n < id_ends)
            assert_int_equal(rc, RC_BAD);
        if (n == buf_len(&bytes) - 1)
            assert_int_equal(rc, RC_OK);
    }
    buf_release(&bytes);
}

/* Amounts around the widths at which the arithmetic changes. */
static void amounts_of_any_width(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift <= 122; shift++) {
        for (int step = -1; step <= 1; step++) {
            for (int sign = -1; sign <= 1; sign += 2) {
                struct money m = {(((money_int)1 << shift) + step) * sign}, back;
                char bytes[WIRE_MONEY_BYTES + 16] = {0}; /* of which more can be read */
                size_t n = wire_make_money(bytes, m);
                struct wire_in in = wire_in(strv_make(bytes, n));

                back = wire_get_money(&in);
                assert_true(wire_at_end(&in) && !in.bad);
                assert_int_equal(money_cmp(m, back), 0);
                in = wire_in(strv_make(bytes, sizeof(bytes)));
                back = wire_get_money(&in);
                assert_true(!in.bad && in.p == (const unsigned char *)bytes + n);
                assert_int_equal(money_cmp(m, back), 0);
                in = wire_in(strv_make(bytes, n - 1));
                wire_get_money(&in);
                assert_true(in.bad);
                bytes[n - 1] = (char)(bytes[n - 1] | 0x80); /* the same, not shortest */
                bytes[n] = 0;
                in = wire_in(strv_make(bytes, n + 1));
                wire_get_money(&in);
                assert_true(in.bad);
                in = wire_in(strv_make(bytes, sizeof(bytes)));
                wire_get_money(&in);
                assert_true(in.bad);
            }
        }
    }
}

static void every_truncation_is_refused(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (int i = 0; i < 50; i++) {
        struct record a, b;
        struct buf bytes;

        kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
        buf_init(&bytes, RECORD_BYTES);
        assert_int_equal(record_encode(&a, &bytes), RC_OK);
        for (size_t n = 0; n < buf_len(&bytes); n++)
            assert_int_equal(record_decode(strv_head(buf_view(&bytes), n), &b), RC_BAD);
        assert_int_equal(buf_append(&bytes, "", 1), RC_OK);
        assert_int_equal(record_decode(buf_view(&bytes), &b), RC_BAD);
        buf_release(&bytes);
    }
}

/* Each text of a record, and only it, comes back as itself: the decoder's table of places. */
static void every_text_comes_back(void **state)
{
    struct record a = {.is_correction = true, .first_byte_us = -1}, b;
    struct strv *const texts[] = {
        &a.protocol,
        &a.endpoint,
        &a.method,
        &a.model,
        &a.service_tier,
        &a.model_requested,
        &a.price_id,
        &a.book,
        &a.provider_request_id,
        &a.node,
        &a.region,
        &a.price_confidence,
        &a.reason,
        &a.priced_model,
        &a.corrected_by,
        &a.detail[0],
        &a.detail[1],
        &a.detail[2],
        &a.detail[3],
        &a.subject.dim[DIM_TEAM],
        &a.subject.dim[DIM_FEATURE],
        &a.subject.dim[DIM_ENVIRONMENT],
        &a.subject.dim[DIM_CUSTOMER],
        &a.subject.dim[DIM_USER],
        &a.subject.dim[DIM_TASK],
        &a.subject.dim[DIM_TASK_TYPE],
        &a.subject.dim[DIM_KEY],
        &a.subject.dim[DIM_MODEL],
        &a.subject.dim[DIM_UPSTREAM],
        &a.parts,
    };
    struct buf bytes;

    (void)state;
    memset(a.id.b, 7, sizeof(a.id.b));
    memset(a.corrects.b, 8, sizeof(a.corrects.b));
    buf_init(&bytes, RECORD_BYTES);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        buf_clear(&bytes);
        *texts[i] = STRV("this one");
        assert_int_equal(record_encode(&a, &bytes), RC_OK);
        assert_int_equal(record_decode(buf_view(&bytes), &b), RC_OK);
        for (size_t j = 0; j < sizeof(texts) / sizeof(*texts); j++)
            assert_text(*texts[j],
                        *(struct strv *)(void *)((char *)&b + ((char *)texts[j] - (char *)&a)));
        *texts[i] = STRV_NONE;
    }
    buf_release(&bytes);
}

static void unknown_tags_are_skipped(void **state)
{
    static const char unknown[] = {100, 3, 'n', 'e', 'w', 0, 0};
    struct record a, b;
    struct buf bytes;
    uint64_t seed = 3;

    (void)state;
    kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
    buf_init(&bytes, RECORD_BYTES);
    assert_int_equal(record_encode(&a, &bytes), RC_OK);
    bytes.tail -= 2; /* the end mark */
    assert_int_equal(buf_append(&bytes, unknown, sizeof(unknown)), RC_OK);
    assert_int_equal(record_decode(buf_view(&bytes), &b), RC_OK);
    assert_same(&a, &b);
    buf_release(&bytes);
}

static void what_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *why;
        const char *bytes;
        size_t n;
    } cases[] = {
        {"nothing", "", 0},
        {"no id", "\x00\x00", 2},
        {"short id", "\x01\x02xx\x00\x00", 6},
        {"tags descend",
         "\x02\x01\x02\x01\x10"
         "0123456789abcdef\x00\x00",
         23},
        {"a tag twice",
         "\x01\x10"
         "0123456789abcdef\x04\x01\x01\x04\x01\x01\x00\x00",
         26},
        {"a zero that is not written",
         "\x01\x10"
         "0123456789abcdef\x04\x01\x00\x00\x00",
         23},
        {"an overlong number",
         "\x01\x10"
         "0123456789abcdef\x04\x02\x81\x00\x00\x00",
         24},
        {"an outcome that is not",
         "\x01\x10"
         "0123456789abcdef\x27\x01\x7f\x00\x00",
         23},
        {"a length beyond the end",
         "\x01\x10"
         "0123456789abcdef\x1e\x7fx\x00\x00",
         23},
        {"bytes after the end",
         "\x01\x10"
         "0123456789abcdef\x00\x00x",
         21},
    };
    struct record r;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (record_decode(strv_make(cases[i].bytes, cases[i].n), &r) != RC_BAD)
            fail_msg("%s", cases[i].why);
    }
    assert_int_equal(record_decode(strv_make("\x01\x10"
                                             "0123456789abcdef\x00\x00",
                                             20),
                                   &r),
                     RC_OK);
}

/* A flipped byte may give another record, but nothing worse. */
static void damage_is_harmless(void **state)
{
    uint64_t seed = 4;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct record a, b;
        struct buf bytes, again;

        kit_record(&seed, KIT_START_US, US_PER_DAY, &a);
        buf_init(&bytes, RECORD_BYTES);
        buf_init(&again, RECORD_BYTES);
        assert_int_equal(record_encode(&a, &bytes), RC_OK);
        for (int k = 0; k < 3; k++)
            bytes.data[bytes.head + kit_below(&seed, buf_len(&bytes))] ^=
                (char)(1u << kit_below(&seed, 8));
        if (record_decode(buf_view(&bytes), &b) == RC_OK)
            assert_int_equal(record_encode(&b, &again), RC_OK);
        buf_release(&bytes);
        buf_release(&again);
    }
}

static void the_largest_record_fits_an_entry(void **state)
{
    static char text[RECORD_TEXT_MAX_BYTES * 2];
    struct strv longest = {text, sizeof(text)};
    struct record r = {0}, back;
    struct buf bytes;

    (void)state;
    memset(text, 'x', sizeof(text));
    memset(text + RECORD_TEXT_MAX_BYTES - 1, 0xc3, 1); /* a character across the cut */
    memset(text + RECORD_TEXT_MAX_BYTES, 0xa9, 1);
    for (int i = 0; i < DIM_COUNT; i++)
        r.subject.dim[i] = longest;
    r.subject.n_free = FREE_TAGS_MAX;
    for (int i = 0; i < FREE_TAGS_MAX; i++)
        r.subject.free[i] = (struct tag){strv_head(longest, TAG_NAME_MAX_BYTES), longest};
    r.protocol = r.endpoint = r.method = r.model_requested = r.model = r.service_tier = longest;
    r.provider_request_id = r.price_id = r.price_confidence = r.book = r.node = longest;
    r.n_lines = METER_COUNT;
    for (int i = 0; i < METER_COUNT; i++) {
        r.lines[i].meter = (enum meter)i;
        r.lines[i].quantity = UINT64_MAX;
        r.lines[i].rate.atto = r.lines[i].amount.atto = (money_int)1 << 126;
    }
    for (int i = 0; i < USAGE_COUNT; i++)
        usage_set(&r.usage, (enum usage_field)i, UINT64_MAX);
    r.status = -1;
    r.latency_us = -1;
    buf_init(&bytes, JOURNAL_ENTRY_MAX_BYTES);
    assert_int_equal(record_encode(&r, &bytes), RC_OK);
    assert_int_equal(record_decode(buf_view(&bytes), &back), RC_OK);
    assert_int_equal(back.node.n, RECORD_TEXT_MAX_BYTES - 1);
    assert_int_equal(back.usage.n[USAGE_INPUT], USAGE_MAX_COUNT);
    assert_int_equal(back.status, 0);
    assert_int_equal(back.latency_us, 0);
    assert_true(wire_money_is_sane(back.lines[0].amount));
    buf_release(&bytes);
}

static void every_meter_and_field_has_a_number(void **state)
{
    (void)state;
    for (unsigned i = 0; i < METER_COUNT; i++) {
        enum meter m;

        assert_in_range(wire_meter((enum meter)i), 1, 127);
        assert_true(wire_meter_parse(wire_meter((enum meter)i), &m));
        assert_int_equal(m, i);
    }
    for (unsigned i = 0; i < USAGE_COUNT; i++) {
        enum usage_field f;

        assert_in_range(wire_usage((enum usage_field)i), 0, 31);
        assert_true(wire_usage_parse(wire_usage((enum usage_field)i), &f));
        assert_int_equal(f, i);
    }
}

static const char *member(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static cJSON *json_of(const struct record *r)
{
    struct buf out;
    cJSON *json;

    buf_init(&out, RECORD_BYTES);
    assert_int_equal(record_json(r, &out), RC_OK);
    json = cJSON_ParseWithLength(buf_view(&out).p, buf_len(&out));
    assert_non_null(json);
    buf_release(&out);
    return json;
}

static void json_has_the_contracts_fields(void **state)
{
    struct record r = {.first_byte_us = 1500};
    cJSON *json, *lines, *line, *usage;

    (void)state;
    r.start_us = KIT_START_US;
    r.end_us = KIT_START_US + 2500000;
    r.latency_us = 2500000;
    r.subject.dim[DIM_TEAM] = STRV("search");
    r.subject.source[DIM_TEAM] = TAG_SOURCE_KEY;
    r.subject.n_free = 1;
    r.subject.free[0] = (struct tag){STRV("cell"), STRV("a\"b")};
    r.usage_source = USAGE_PROVIDER;
    usage_set(&r.usage, USAGE_INPUT, 0);
    usage_set(&r.usage, USAGE_AUDIO_MS, 12500);
    r.cost.atto = 1;
    r.list_cost.atto = (money_int)1000000000 * 1500000000;
    r.n_lines = 1;
    r.lines[0].meter = METER_AUDIO_SEC;
    r.lines[0].quantity = 12500;
    r.lines[0].amount.atto = 1;
    json = json_of(&r);
    assert_string_equal(member(json, "start"), "2026-03-01T00:00:00.000000Z");
    assert_string_equal(member(json, "team"), "search");
    assert_null(cJSON_GetObjectItem(json, "feature"));
    assert_null(cJSON_GetObjectItem(json, "attempt"));
    assert_null(cJSON_GetObjectItem(json, "status"));
    assert_null(cJSON_GetObjectItem(json, "provider_cost_usd"));
    assert_string_equal(member(cJSON_GetObjectItem(json, "tags"), "cell"), "a\"b");
    assert_string_equal(member(cJSON_GetObjectItem(json, "tag_source"), "team"), "key");
    assert_string_equal(member(cJSON_GetObjectItem(json, "tag_source"), "user"), "none");
    assert_string_equal(member(json, "outcome"), "ok");
    assert_string_equal(member(json, "usage_source"), "provider");
    usage = cJSON_GetObjectItem(json, "usage");
    assert_int_equal(cJSON_GetArraySize(usage), 2); /* a zero that was reported is there */
    assert_true(cJSON_GetObjectItem(usage, "audio_seconds")->valuedouble > 12.4999 &&
                cJSON_GetObjectItem(usage, "audio_seconds")->valuedouble < 12.5001);
    assert_string_equal(member(json, "cost_usd"), "0.000000000000000001");
    assert_string_equal(member(json, "list_cost_usd"), "1.5");
    lines = cJSON_GetObjectItem(json, "cost_lines");
    line = cJSON_GetArrayItem(lines, 0);
    assert_string_equal(member(line, "unit"), "audio_sec");
    assert_string_equal(member(line, "cost_usd"), "0.000000000000000001");
    cJSON_Delete(json);

    r.price_status = PRICE_NONE;
    r.n_lines = 0;
    r.first_byte_us = -1;
    json = json_of(&r);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "cost_usd")));
    assert_null(cJSON_GetObjectItem(json, "cost_lines"));
    assert_null(cJSON_GetObjectItem(json, "first_byte_ms"));
    cJSON_Delete(json);
}

/* Columns of a CSV line, quotes respected. */
static unsigned columns(struct strv line)
{
    bool quoted = false;
    unsigned n = 1;

    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '"')
            quoted = !quoted;
        n += line.p[i] == ',' && !quoted;
    }
    return n;
}

static void csv_is_flat_and_defused(void **state)
{
    struct buf header, line;
    uint64_t seed = 7;
    struct record r;

    (void)state;
    buf_init(&header, RECORD_BYTES);
    buf_init(&line, RECORD_BYTES);
    assert_int_equal(record_csv_header(&header), RC_OK);
    assert_true(strv_starts(buf_view(&header), STRV("id,start,end,key,team,")));
    assert_true(strv_ends(buf_view(&header), STRV(",reason,corrected_by\r\n")));
    for (int i = 0; i < 300; i++) {
        kit_record(&seed, KIT_START_US, US_PER_DAY, &r);
        buf_clear(&line);
        assert_int_equal(record_csv(&r, &line), RC_OK);
        assert_int_equal(columns(buf_view(&line)), columns(buf_view(&header)));
        assert_true(strv_ends(buf_view(&line), STRV("\r\n")));
    }
    r.subject.dim[DIM_KEY] = STRV("=cmd()");
    r.subject.dim[DIM_TEAM] = STRV("a,\"b\"");
    r.subject.dim[DIM_FEATURE] = STRV("-1,2");
    r.price_status = PRICE_NONE;
    buf_clear(&line);
    assert_int_equal(record_csv(&r, &line), RC_OK);
    assert_non_null(memmem(buf_view(&line).p, buf_len(&line),
                           ",'=cmd(),\"a,\"\"b\"\"\",\"'-1,2\",",
                           strlen(",'=cmd(),\"a,\"\"b\"\"\",\"'-1,2\",")));
    assert_int_equal(columns(buf_view(&line)), columns(buf_view(&header)));
    buf_release(&header);
    buf_release(&line);
}

static void set_cost_takes_all(void **state)
{
    struct cost cost = {
        .status = PRICE_PARTIAL, .n_lines = 1, .match = MATCH_DATED, .flags = 4};
    struct record r = {0};

    (void)state;
    cost.contracted.atto = 7;
    cost.list.atto = 8;
    cost.lines[0] = (struct cost_line){METER_OUT, 3, {2}, {6}};
    cost.price_id = STRV("p");
    record_set_cost(&r, &cost, STRV("b"));
    assert_int_equal(r.price_status, PRICE_PARTIAL);
    assert_true(r.cost.atto == 7 && r.list_cost.atto == 8);
    assert_int_equal(r.n_lines, 1);
    assert_true(r.lines[0].meter == METER_OUT && r.lines[0].amount.atto == 6);
    assert_int_equal(r.price_match, MATCH_DATED);
    assert_int_equal(r.price_flags, 4);
    assert_true(strv_eq(r.price_id, STRV("p")) && strv_eq(r.book, STRV("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(an_id_is_read_or_refused),
        cmocka_unit_test(amounts_of_any_width),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_text_comes_back),
        cmocka_unit_test(unknown_tags_are_skipped),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(damage_is_harmless),
        cmocka_unit_test(the_largest_record_fits_an_entry),
        cmocka_unit_test(every_meter_and_field_has_a_number),
        cmocka_unit_test(json_has_the_contracts_fields),
        cmocka_unit_test(csv_is_flat_and_defused),
        cmocka_unit_test(set_cost_takes_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
