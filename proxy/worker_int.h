/*
 * worker_int.h - what worker.c and worker_mail.c share.
 */
#ifndef PROXY_WORKER_INT_H
#define PROXY_WORKER_INT_H

#include "proxy/worker.h"

/* libevent: what other threads have posted is opened, in order. */
void worker_on_mail(evutil_socket_t fd, short what, void *arg);
/* Of a worker that runs no more: what came after its last turn is given back. */
void worker_drop_mail(struct worker *w);
/* Closes the worker's listening socket; nothing where that is done. */
void worker_stop_listening(struct worker *w);

#endif
