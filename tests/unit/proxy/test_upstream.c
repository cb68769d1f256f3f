/*
 * test_upstream.c - a pool of connections whose upstream has a name: requests that wait for it
 * together, and the bound of connections.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/dns.h>
#include <event2/dns_struct.h>

#include "base/clock.h"
#include "proxy/upstream.h"

enum { WAITS = 5, ROUNDS_MAX = 1000 };

struct fixture {
    struct event_base *base;
    struct evdns_base *dns;
    struct evdns_server_port *server;
    evutil_socket_t asked, listening;
    unsigned questions;
    struct worker_stats stats;
    struct list_node later;
    struct upstream_config config;
    struct upstream_pool *pool;
    struct upstream_wait waits[WAITS];
    unsigned woken;
};

/* Every name is this machine. */
static void on_question(struct evdns_server_request *request, void *arg)
{
    struct fixture *f = arg;
    struct in_addr here = {.s_addr = htonl(INADDR_LOOPBACK)};

    f->questions++;
    for (int i = 0; i < request->nquestions; i++) {
        const struct evdns_server_question *q = request->questions[i];

        if (q->type == EVDNS_TYPE_A)
            assert_int_equal(
                evdns_server_request_add_a_reply(request, q->name, 1, &here, 30), 0);
    }
    assert_int_equal(evdns_server_request_respond(request, 0), 0);
}

static int bound_socket(int type, int *port)
{
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(here);
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&here, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &size), 0);
    *port = ntohs(here.sin_port);
    return fd;
}

static void start(struct fixture *f, int max_connections)
{
    static char up[] = "up", host[] = "provider.example";
    char name[32];
    int port;

    *f = (struct fixture){.base = event_base_new()};
    list_init(&f->later);
    f->asked = bound_socket(SOCK_DGRAM, &port);
    f->server = evdns_add_server_port_with_base(f->base, f->asked, 0, on_question, f);
    f->dns = evdns_base_new(f->base, 0);
    (void)snprintf(name, sizeof(name), "127.0.0.1:%d", port);
    assert_int_equal(evdns_base_nameserver_ip_add(f->dns, name), 0);
    f->listening = bound_socket(SOCK_STREAM, &port);
    assert_int_equal(listen(f->listening, WAITS), 0);
    f->config = (struct upstream_config){.name = up, .host = host, .port = port,
                                         .connect_timeout_ms = 5000,
                                         .max_connections = max_connections};
    f->pool = upstream_pool_new(&f->config, NULL,
                                &(struct upstream_env){f->base, f->dns, &f->stats, &f->later});
}

static void stop(struct fixture *f)
{
    upstream_pool_free(f->pool);
    upstream_reap(&f->later);
    evdns_close_server_port(f->server);
    evdns_base_free(f->dns, 0);
    event_base_loop(f->base, EVLOOP_NONBLOCK); /* what they put off */
    event_base_free(f->base);
    close(f->listening);
    close(f->asked);
}

static void on_woken(void *arg)
{
    struct fixture *f = arg;

    f->woken++;
}

static void on_ready(void *arg, unsigned ready)
{
    (void)arg;
    (void)ready;
}

static void run_until(struct fixture *f, unsigned woken)
{
    for (int i = 0; f->woken < woken && i < ROUNDS_MAX; i++)
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(f->woken, woken);
}

/* Those that are given a connection give it back at once, until all have had one. */
static void test_bound_of_who_waited_for_a_name(void **state)
{
    struct upconn *conns[WAITS];
    struct fixture f;
    unsigned had = 0;

    (void)state;
    for (int bound = 1; bound < WAITS; bound++) {
        start(&f, bound);
        for (int i = 0; i < WAITS; i++)
            upstream_acquire(f.pool, &f.waits[i], on_woken, &f);
        assert_int_equal(f.woken, 0);
        run_until(&f, (unsigned)bound);
        assert_int_equal(f.stats.upstream_connects, bound);
        for (had = 0; had < WAITS; had++) { /* in the order in which they came */
            assert_int_equal(upstream_poll(&f.waits[had], on_ready, NULL, &conns[had]), RC_OK);
            upstream_release(conns[had], true);
            run_until(&f, had + (unsigned)bound + 1 < WAITS ? had + (unsigned)bound + 1 : WAITS);
        }
        assert_int_equal(f.stats.upstream_connects, bound);
        assert_int_equal(f.stats.upstream_reused, WAITS - bound);
        assert_true(f.questions > 0);
        stop(&f);
    }
}

static int64_t now_us;

static int64_t read_clock(void)
{
    return now_us;
}

/* One is given back while the name is asked for: it serves who waits, without a new one. */
static void test_what_is_given_back_meanwhile(void **state)
{
    struct upconn *first, *second;
    struct fixture f;

    (void)state;
    now_us = clock_mono_us();
    clock_replace(read_clock);
    start(&f, 2);
    upstream_acquire(f.pool, &f.waits[0], on_woken, &f);
    run_until(&f, 1);
    assert_int_equal(upstream_poll(&f.waits[0], on_ready, NULL, &first), RC_OK);
    now_us += (UPSTREAM_NAME_TTL_MS + 1) * INT64_C(1000);
    upstream_acquire(f.pool, &f.waits[1], on_woken, &f);
    upstream_release(first, true);
    run_until(&f, 2);
    assert_int_equal(upstream_poll(&f.waits[1], on_ready, NULL, &second), RC_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(f.stats.upstream_connects, 1);
    upstream_release(second, true);
    stop(&f);
    clock_replace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound_of_who_waited_for_a_name),
        cmocka_unit_test(test_what_is_given_back_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
