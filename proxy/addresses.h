/*
 * addresses.h - how many connections each client address has, for all workers.
 *
 * Fixed memory and no lock, however many addresses come: two rows of counters at places that a
 * secret of the process chooses; an address has the lesser of its two.  So another one may
 * make it look larger only where it falls on both its places, and nobody can aim at that.
 * An IPv6 address counts as its /64: that is what one client is given.
 */
#ifndef PROXY_ADDRESSES_H
#define PROXY_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDRESSES_SLOTS = 1 << 14 }; /* of a row */

struct addresses;

struct addresses *addresses_new(void);
void addresses_free(struct addresses *a);

/* What stands for an address; 0 for what is none of IPv4 or IPv6 (never counted). */
uint64_t addresses_of(const struct addresses *a, const struct sockaddr *from);
/* One more connection of it, unless it has max already. From any thread. */
bool addresses_add(struct addresses *a, uint64_t who, unsigned max);
/* One less, after addresses_add gave true. */
void addresses_sub(struct addresses *a, uint64_t who);

#endif
