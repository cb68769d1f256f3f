#include "proxy/base_path.h"

#include <string.h>

#include "tests/unit/unit.h"

static void test_joins(void **state)
{
    static const struct {
        const char *base, *rest, *joined;
    } CASES[] = {
        {"", "/v1/models", "/v1/models"},
        {"/v1", "/models", "/v1/models"},
        {"/v1", "/v1/models", "/v1/models"},
        {"/v1", "/v1", "/v1"},
        {"/openai/v1", "/v1/models", "/openai/v1/models"},
        {"/openai/v1", "/openai/v1/models", "/openai/v1/models"},
        {"/openai/v1", "/v1/openai/v1/models", "/openai/v1/openai/v1/models"},
        {"/v1beta", "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"},
        {"/v1/v1", "/v1/v1/models", "/v1/v1/models"},
        {"/v1/v1", "/v1/models", "/v1/v1/models"},
        /* these are two */
        {"/v1", "/v1beta/models", "/v1/v1beta/models"},
        {"/v1beta", "/v1/models", "/v1beta/v1/models"},
        {"/v1", "/v10/models", "/v1/v10/models"},
        {"/v1/x", "/v1/models", "/v1/x/v1/models"},
        {"/served/under", "/under/models", "/served/under/under/models"},
        {"/av1", "/v1/models", "/av1/v1/models"},
        {"/v1", "", "/v1"},
        {"/v1", "/", "/v1/"},
        {"", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv rest = strv_z(CASES[i].rest);
        struct strv base = base_path_before(strv_z(CASES[i].base), rest);
        char joined[64] = "";

        memcpy(joined, base.p, base.n);
        memcpy(joined + base.n, rest.p, rest.n);
        joined[base.n + rest.n] = '\0';
        assert_string_equal(joined, CASES[i].joined);
        /* never outside of the base */
        assert_int_equal(strncmp(joined, CASES[i].base, strlen(CASES[i].base)), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_joins)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
