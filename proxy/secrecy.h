/*
 * secrecy.h - the memory of the process holds keys and credentials: it is shown to nobody.
 */
#ifndef PROXY_SECRECY_H
#define PROXY_SECRECY_H

/* Set to 1 for a debugger or a core dump: nothing below is done. */
#define SECRECY_SWITCH "TOLLGATE_CORE_DUMPS"

/*
 * Before a secret is read: no core dump, and no debugger or reading of /proc/PID/mem and
 * environ by another process of the same user (the administrator's still can).  What the
 * system refuses of it is logged, and no reason not to start.
 */
void secrecy_close(void);

#endif
