/*
 * Reconciliation: planted differences of every class, and the files of every provider.
 */
#include "reports/reconcile.h"

#include "tests/unit/reports/fixture.h"

static struct fixture f;
static struct buf error;

static money_int usd(const char *text)
{
    struct money m;

    assert_int_equal(money_parse(strv_z(text), &m), RC_OK);
    return m.atto;
}

static void add_meter(struct record *r, enum meter meter, uint64_t n, const char *rate)
{
    struct record_line *line = &r->lines[r->n_lines++];

    line->meter = meter;
    line->quantity = n;
    line->rate.atto = usd(rate);
    line->amount.atto = line->rate.atto / 1000000 * (money_int)n;
    r->cost.atto = r->list_cost.atto += line->amount.atto;
}

/* A thousand input tokens, two hundred of them cached, a hundred output: 0.00325 USD. */
static void spend_day(const char *day, const char *model)
{
    char text[40];
    struct record r;

    (void)snprintf(text, sizeof(text), "%sT12:00:00Z", day);
    r = fixture_record(at(text));
    r.subject.dim[DIM_MODEL] = r.model = strv_z(model);
    usage_set(&r.usage, USAGE_INPUT, 1000);
    usage_set(&r.usage, USAGE_CACHE_READ, 200);
    usage_set(&r.usage, USAGE_OUTPUT, 100);
    add_meter(&r, METER_IN, 800, "2.5");
    add_meter(&r, METER_CACHE_READ, 200, "1.25");
    add_meter(&r, METER_OUT, 100, "10");
    fixture_add(&f, &r);
}

static int setup(void **state)
{
    char day[32];

    (void)state;
    fixture_open(&f);
    buf_init(&error, REPORT_ERROR_MAX_BYTES);
    for (int d = 1; d <= 8; d++) {
        (void)snprintf(day, sizeof(day), "2026-10-%02d", d);
        spend_day(day, "gpt-4o-2024-08-06");
    }
    fixture_flush(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    buf_release(&error);
    return 0;
}

/* Reconciles October with a text; the caller releases. */
static void run(const char *text, struct reconcile *out)
{
    struct invoice invoice;
    struct ledger_filter filter;
    struct reconcile_question q = {.filter = &filter, .invoice = &invoice};
    struct fail fail = {0};

    buf_clear(&error);
    invoice_init(&invoice, &error);
    ledger_filter_init(&filter, at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z"));
    if (invoice_parse(&invoice, "file", strv_z(text)) != RC_OK)
        print_error(STRV_FMT "\n", STRV_ARG(buf_view(&error)));
    assert_int_equal(buf_len(&error), 0);
    q.reader = ledger_read_open(f.path, &fail);
    assert_non_null(q.reader);
    assert_int_equal(ledger_read_begin(q.reader, &fail), RC_OK);
    assert_int_equal(reconcile_run(&q, out, &fail), RC_OK);
    ledger_read_end(q.reader);
    ledger_read_close(q.reader);
    invoice_release(&invoice);
}

static void check_class(const struct reconcile *r, enum reconcile_class class, const char *want)
{
    if (r->by[class].atto != usd(want)) {
        char text[MONEY_TEXT];
        money_format(r->by[class], text);
        print_error("%s: %s, not %s\n", reconcile_class_name(class), text, want);
    }
    assert_true(r->by[class].atto == usd(want));
}

/* Every difference is in one class, and they sum to the whole. */
static void check_whole(const struct reconcile *r)
{
    money_int classes = 0, metered = 0, invoiced = 0;

    for (unsigned c = 0; c < RECONCILE_CLASSES; c++)
        classes += r->by[c].atto;
    for (size_t i = 0; i < r->n; i++) {
        if (!r->at[i].has_cost)
            continue;
        metered += r->at[i].metered_cost.atto;
        invoiced += r->at[i].invoiced_cost.atto;
    }
    assert_true(classes == invoiced - metered);
}

static const char planted[] =
    "date,model,token_class,quantity,cost_usd,tier,type,description\n"
    "2026-10-01,gpt-4o-2024-08-06,input,800,0.002,,,\n"
    "2026-10-01,gpt-4o-2024-08-06,cached input,200,0.00025,,,\n"
    "2026-10-01,gpt-4o-2024-08-06,output,100,0.001,,,\n"
    /* a cent's part more than it should be */
    "2026-10-02,gpt-4o-2024-08-06,input,800,0.002,,,\n"
    "2026-10-02,gpt-4o-2024-08-06,cached input,200,0.00025,,,\n"
    "2026-10-02,gpt-4o-2024-08-06,output,60,0.00060,,,\n"
    "2026-10-02,gpt-4o-2024-08-06,output,40,0.00041,,,\n"
    /* a hundred tokens of the third are on the fourth's bill */
    "2026-10-03,gpt-4o-2024-08-06,input,700,0.00175,,,\n"
    "2026-10-03,gpt-4o-2024-08-06,cached input,200,0.00025,,,\n"
    "2026-10-03,gpt-4o-2024-08-06,output,100,0.001,,,\n"
    "2026-10-04,gpt-4o-2024-08-06,input,900,0.00225,,,\n"
    "2026-10-04,gpt-4o-2024-08-06,cached input,200,0.00025,,,\n"
    "2026-10-04,gpt-4o-2024-08-06,output,100,0.001,,,\n"
    /* somebody called the provider directly */
    "2026-10-05,gpt-4o-2024-08-06,input,1800,0.0045,,,\n"
    "2026-10-05,gpt-4o-2024-08-06,cached input,200,0.00025,,,\n"
    "2026-10-05,gpt-4o-2024-08-06,output,100,0.001,,,\n"
    "2026-10-05,o9-secret,input,10,1,,,\n"
    /* nothing of the sixth; another price on the seventh; a batch on the eighth */
    "2026-10-07,gpt-4o-2024-08-06,input,800,0.003,,,\n"
    "2026-10-07,gpt-4o-2024-08-06,cached input,200,0.00025,,,\n"
    "2026-10-07,gpt-4o-2024-08-06,output,100,0.001,,,\n"
    "2026-10-08,gpt-4o-2024-08-06,input,800,0.001,batch,,\n"
    "2026-10-08,gpt-4o-2024-08-06,cached input,200,0.00025,,,\n"
    "2026-10-08,gpt-4o-2024-08-06,output,100,0.001,,,\n"
    "2026-10-08,,web search,3,0.03,,,web search calls\n"
    "2026-10-31,,,,1.9,,tax,VAT\n"
    "2026-10-31,,,,-5,,credit,promotional\n"
    "2026-11-01,gpt-4o-2024-08-06,input,800,77,,,\n";

static void test_every_class(void **state)
{
    struct reconcile r;

    (void)state;
    run(planted, &r);
    assert_true(r.by_day && r.by_model && r.by_class);
    check_class(&r, RECONCILE_MATCHED, "0");
    check_class(&r, RECONCILE_ROUNDING, "0");
    check_class(&r, RECONCILE_PRICE,
                "0.00101"); /* and the tenth of a cent's cent of the second */
    check_class(&r, RECONCILE_BOUNDARY, "0");
    check_class(&r, RECONCILE_MISSING_IN_LEDGER, "1.0025");
    check_class(&r, RECONCILE_MISSING_AT_PROVIDER, "-0.00325");
    check_class(&r, RECONCILE_TIER, "-0.001");
    check_class(&r, RECONCILE_UNMETERED_TYPE, "0.03");
    check_class(&r, RECONCILE_CREDIT_TAX, "-3.1");
    check_class(&r, RECONCILE_UNEXPLAINED, "0");
    check_whole(&r);
    for (size_t i = 0; i < r.n; i++) {
        if (r.at[i].day_us == at("2026-10-03T00:00:00Z") &&
            r.at[i].token_class == INVOICE_INPUT)
            assert_int_equal(r.at[i].class, RECONCILE_BOUNDARY);
    }
    reconcile_release(&r);
}

static void test_rounding_by_the_providers_unit(void **state)
{
    struct reconcile r;

    (void)state;
    run("date,model,class,quantity,cost\n"
        "2026-10-01,gpt-4o,input,800,0.002\n"
        "2026-10-01,gpt-4o,cached input,200,0.000\n"
        "2026-10-01,gpt-4o,output,100,0.001\n",
        &r);
    check_class(&r, RECONCILE_ROUNDING, "-0.00025");
    check_class(&r, RECONCILE_MISSING_AT_PROVIDER, "-0.02275"); /* the other seven days */
    check_whole(&r);
    reconcile_release(&r);
}

/* Dollars alone do not say why they differ. */
static void test_the_remainder_is_a_number(void **state)
{
    struct reconcile r;

    (void)state;
    run("date,model,cost\n2026-10-01,gpt-4o,0.00325\n2026-10-02,gpt-4o,0.5\n", &r);
    assert_false(r.by_class);
    check_class(&r, RECONCILE_UNEXPLAINED, "0.49675");
    check_class(&r, RECONCILE_MISSING_AT_PROVIDER, "-0.0195");
    check_whole(&r);
    reconcile_release(&r);
}

static void test_openai_pages(void **state)
{
    struct reconcile r;

    (void)state;
    run("{\"object\":\"page\",\"data\":[{\"object\":\"bucket\",\"start_time\":1790812800,"
        "\"end_time\":1790899200,\"results\":[{\"object\":\"organization.usage.completions."
        "result\",\"input_tokens\":1000,\"input_cached_tokens\":200,\"output_tokens\":100,"
        "\"model\":\"gpt-4o-2024-08-06\",\"batch\":false}]}],\"has_more\":true}\n"
        "{\"object\":\"page\",\"data\":[{\"object\":\"bucket\",\"start_time\":1790812800,"
        "\"end_time\":1790899200,\"results\":[{\"object\":\"organization.costs.result\","
        "\"amount\":{\"value\":0.002,\"currency\":\"usd\"},\"line_item\":\"gpt-4o-2024-08-06, "
        "input\"},{\"object\":\"organization.costs.result\",\"amount\":{\"value\":2.5e-4,"
        "\"currency\":\"usd\"},\"line_item\":\"gpt-4o-2024-08-06, cached input\"},{\"object\":"
        "\"organization.costs.result\",\"amount\":{\"value\":0.0010,\"currency\":\"usd\"},"
        "\"line_item\":\"gpt-4o-2024-08-06, "
        "output\"},{\"object\":\"organization.costs.result\","
        "\"amount\":{\"value\":0.01,\"currency\":\"usd\"},\"line_item\":\"web search tool "
        "calls\"}]}],\"has_more\":false,\"next_page\":null}",
        &r);
    check_class(&r, RECONCILE_UNMETERED_TYPE, "0.01");
    check_class(&r, RECONCILE_MISSING_AT_PROVIDER, "-0.02275");
    check_class(&r, RECONCILE_UNEXPLAINED, "0");
    for (size_t i = 0; i < r.n; i++) {
        if (r.at[i].day_us == at("2026-10-01T00:00:00Z") && r.at[i].kind == INVOICE_USAGE)
            assert_int_equal(r.at[i].class, RECONCILE_MATCHED);
    }
    check_whole(&r);
    reconcile_release(&r);
}

static void test_anthropic_pages(void **state)
{
    struct reconcile r;

    (void)state;
    spend_day("2026-10-20", "claude-sonnet-4-5-20250929");
    fixture_flush(&f);
    run("[{\"data\":[{\"starting_at\":\"2026-10-20T00:00:00Z\",\"ending_at\":"
        "\"2026-10-21T00:00:00Z\",\"results\":[{\"uncached_input_tokens\":800,"
        "\"cache_creation\":{\"ephemeral_1h_input_tokens\":0,\"ephemeral_5m_input_tokens\":0},"
        "\"cache_read_input_tokens\":200,\"output_tokens\":100,\"model\":\"claude-sonnet-4-5\","
        "\"service_tier\":\"standard\"}]}]},{\"data\":[{\"starting_at\":\"2026-10-20T00:00:"
        "00Z\","
        "\"ending_at\":\"2026-10-21T00:00:00Z\",\"results\":[{\"amount\":\"0.2\",\"currency\":"
        "\"USD\",\"cost_type\":\"tokens\",\"model\":\"claude-sonnet-4-5-20250929\","
        "\"token_type\":\"uncached_input_tokens\"},{\"amount\":\"0.025\",\"currency\":\"USD\","
        "\"cost_type\":\"tokens\",\"model\":\"claude-sonnet-4-5\",\"token_type\":"
        "\"cache_read_input_tokens\"},{\"amount\":\"0.1\",\"currency\":\"USD\",\"cost_type\":"
        "\"tokens\",\"model\":\"claude-sonnet-4-5\",\"token_type\":\"output_tokens\"},{"
        "\"amount\""
        ":\"1\",\"currency\":\"USD\",\"cost_type\":\"web_search\"}]}]}]",
        &r);
    check_class(&r, RECONCILE_UNMETERED_TYPE, "0.01");
    check_class(&r, RECONCILE_MISSING_AT_PROVIDER, "-0.026"); /* the other provider's */
    check_class(&r, RECONCILE_UNEXPLAINED, "0");
    check_class(&r, RECONCILE_PRICE, "0");
    check_whole(&r);
    reconcile_release(&r);
}

static void test_clouds(void **state)
{
    struct reconcile r;

    (void)state;
    spend_day("2026-10-22", "anthropic.claude-3-5-sonnet-20241022-v2:0");
    fixture_flush(&f);
    run("line_item_usage_start_date,line_item_usage_end_date,line_item_usage_type,"
        "line_item_usage_amount,pricing_unit,line_item_unblended_cost,line_item_currency_code,"
        "line_item_line_item_type,line_item_product_code\n"
        "2026-10-22 00:00:00,2026-10-23 00:00:00,USE1-Claude3.5Sonnet-input-tokens,0.8,1K "
        "tokens,0.002,USD,Usage,AmazonBedrock\n"
        "2026-10-22 00:00:00,2026-10-23 00:00:00,USE1-Claude3.5Sonnet-cache-read-input-token-"
        "count,0.2,1K tokens,0.00025,USD,Usage,AmazonBedrock\n"
        "2026-10-22 00:00:00,2026-10-23 00:00:00,USE1-Claude3.5Sonnet-output-tokens,0.1,1K "
        "tokens,1E-3,USD,Usage,AmazonBedrock\n"
        "2026-10-22 00:00:00,2026-10-23 00:00:00,BoxUsage:m5.large,24,Hrs,2.3,USD,Usage,"
        "AmazonEC2\n"
        "2026-10-22 00:00:00,2026-10-23 00:00:00,USE1-Tax,0,,0.3,USD,Tax,AmazonBedrock\n",
        &r);
    check_class(&r, RECONCILE_CREDIT_TAX, "0.3");
    check_class(&r, RECONCILE_MISSING_IN_LEDGER, "0");
    check_class(&r, RECONCILE_UNEXPLAINED, "0");
    check_whole(&r);
    reconcile_release(&r);
    run("Date,MeterName,MeterCategory,Quantity,UnitOfMeasure,CostInBillingCurrency,"
        "BillingCurrency,ChargeType,SubscriptionId\r\n"
        "10/01/2026,gpt-4o-0806-Inp-glbl Tokens,Azure OpenAI,0.8,1K,0.002,USD,Usage,s\r\n"
        "10/01/2026,gpt-4o-0806-cached-Inp-glbl Tokens,Azure OpenAI,0.2,1K,0.00025,USD,Usage,"
        "s\r\n"
        "10/01/2026,gpt-4o-0806-Outp-glbl Tokens,Azure OpenAI,0.1,1K,0.001,USD,Usage,s\r\n"
        "10/01/2026,D2 v3,Virtual Machines,1,1 Hour,9.9,USD,Usage,s\r\n",
        &r);
    check_class(&r, RECONCILE_MISSING_IN_LEDGER, "0");
    check_class(&r, RECONCILE_PRICE, "0");
    check_class(&r, RECONCILE_UNEXPLAINED, "0");
    assert_int_equal(r.at[0].class, RECONCILE_MATCHED);
    check_whole(&r);
    reconcile_release(&r);
}

static void test_focus_file(void **state)
{
    struct reconcile r;

    (void)state;
    run("BilledCost,BillingCurrency,ChargeCategory,ChargePeriodEnd,ChargePeriodStart,"
        "ConsumedQuantity,ConsumedUnit,ServiceCategory,SkuMeter,x_Model\n"
        "0.002,USD,Usage,2026-10-02T00:00:00Z,2026-10-01T00:00:00Z,800.0,Tokens,AI and Machine "
        "Learning,Input Tokens,gpt-4o-2024-08-06\n"
        "0.00025,USD,Usage,2026-10-02T00:00:00Z,2026-10-01T00:00:00Z,200.0,Tokens,AI and "
        "Machine Learning,Cache Read Input Tokens,gpt-4o-2024-08-06\n"
        "0.001,USD,Usage,2026-10-02T00:00:00Z,2026-10-01T00:00:00Z,100.0,Tokens,AI and Machine "
        "Learning,Output Tokens,\"gpt-4o-2024-08-06\"\n",
        &r);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(r.at[i].class, RECONCILE_MATCHED);
    check_whole(&r);
    reconcile_release(&r);
}

static void test_bad_files_name_their_place(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "file:1:1: "},
        {"date,cost\n2026-10-01,1.5\n2026-10-02,oops\n", "file:3:12: \"oops\" is no amount"},
        {"date,cost\n2026-13-01,1\n", "file:2:1: \"2026-13-01\" is no date"},
        {"date,cost\n2026-10-01,1,2\n", "file:2:14: "},
        {"date,cost\n2026-10-01\n", "file:2:1: "},
        {"date,cost\n\"2026-10-01,1\n", "opens quotes that nothing closes"},
        {"date,cost,date\n", "file:1:11: "},
        {"date,model\n2026-10-01,x\n", "without cost"},
        {"name,cost\n", "begins no header"},
        {"date,cost,currency\n2026-10-01,1,EUR\n", "file:2:14: \"EUR\" is not USD"},
        {"date,quantity\n2026-10-01,1.5\n", "is no whole number"},
        {"date,cost\n2026-10-01,1e50\n", "is no amount"},
        {"{\"data\":[}", "file:1:10: "},
        {"{\"data\":1}", "is missing"},
        {"{\"data\":[{\"start_time\":1,\"end_time\":1,\"results\":[]}]}", "file:1:10: "},
        {"{\"data\":[{\"start_time\":1,\"end_time\":9,\"results\":[{\"object\":\"x\"}]}]}",
         "is none of usage or costs"},
        {"{\"data\":[{\"start_time\":1,\"end_time\":9,\"results\":[\n {\"object\":"
         "\"organization.costs.result\",\"amount\":{\"value\":\"x\",\"currency\":\"usd\"}}]}]}",
         "file:2:58: \"amount.value\" is no amount"},
        {"{\"data\":[{\"starting_at\":\"2026-10-01T00:00:00Z\",\"ending_at\":"
         "\"2026-10-02T00:00:00Z\",\"results\":[{\"amount\":1.5}]}]}",
         "in cents, as a string"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "nested too deeply"},
        {"{\"data\":\"\\x\"}", "is no escape"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct invoice invoice;
        struct strv said;
        buf_clear(&error);
        invoice_init(&invoice, &error);
        assert_int_equal(invoice_parse(&invoice, "file", strv_z(cases[i].text)), RC_BAD);
        said = buf_view(&error);
        if (!memmem(said.p, said.n, cases[i].says, strlen(cases[i].says)))
            print_error("%s\n  says " STRV_FMT "\n  not  %s\n", cases[i].text, STRV_ARG(said),
                        cases[i].says);
        assert_non_null(memmem(said.p, said.n, cases[i].says, strlen(cases[i].says)));
        invoice_release(&invoice);
    }
}

static void test_names_of_models(void **state)
{
    static const char *const names[][2] = {
        {"gpt-4o-2024-08-06", "gpt4o"},
        {"openai/gpt-4o", "gpt4o"},
        {"claude-3-5-sonnet-20241022", "claude35sonnet"},
        {"us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude35sonnet"},
        {"claude-3-haiku@20240307", "claude3haiku"},
        {"gemini-2.5-flash", "gemini25flash"},
        {"Claude3.5Sonnet", "claude35sonnet"},
        {"gpt-4o-latest", "gpt4o"},
        {"", ""},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_true(strv_eq(reconcile_model(&arena, strv_z(names[i][0])), strv_z(names[i][1])));
    arena_release(&arena);
}

/* Amounts of more digits than any double has. */
static void test_amounts_are_exact(void **state)
{
    static const struct {
        const char *text;
        int scale;
        const char *want;
    } cases[] = {{"0.06", 0, "0.06"},
                 {"123.45", -2, "1.2345"},
                 {"6e-05", 0, "0.00006"},
                 {"-1.5E+2", 0, "-150"},
                 {"0.1234567890123456785", 0, "0.123456789012345678"},
                 {"12345678.123456789012345678", 0, "12345678.123456789012345678"},
                 {"0e50", 0, "0"}};
    struct invoice v;

    (void)state;
    invoice_init(&v, &error);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct money m;
        assert_true(invoice_money(&v, strv_z(cases[i].text), cases[i].scale, &m));
        if (m.atto != usd(cases[i].want))
            print_error("%s\n", cases[i].text);
        assert_true(m.atto == usd(cases[i].want));
    }
    assert_int_equal(v.rounded, 1);
    invoice_release(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_class),
        cmocka_unit_test(test_rounding_by_the_providers_unit),
        cmocka_unit_test(test_the_remainder_is_a_number),
        cmocka_unit_test(test_openai_pages),
        cmocka_unit_test(test_anthropic_pages),
        cmocka_unit_test(test_clouds),
        cmocka_unit_test(test_focus_file),
        cmocka_unit_test(test_bad_files_name_their_place),
        cmocka_unit_test(test_names_of_models),
        cmocka_unit_test(test_amounts_are_exact),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
