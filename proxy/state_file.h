/*
 * state_file.h - files of the state folder that commands write beside a running gateway.
 */
#ifndef PROXY_STATE_FILE_H
#define PROXY_STATE_FILE_H

/*
 * A command that root runs beside a gateway of another user: the file at fd, just made in
 * state_dir, belongs to the folder's owner, or the gateway could not read it.  Does nothing for
 * other users, and nothing where the folder is root's.  Failure shows when the gateway reads.
 */
void state_file_own(int fd, const char *state_dir);

#endif
