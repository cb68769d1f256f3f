/*
 * state_file.h - files that commands write beside a running gateway, in folders of its own.
 */
#ifndef BASE_STATE_FILE_H
#define BASE_STATE_FILE_H

/*
 * A command that root runs beside a gateway of another user: the file at fd, just made in
 * folder, belongs to the folder's owner, or the gateway could not read it.  Does nothing for
 * other users, and nothing where the folder is root's.  Failure shows when the gateway reads.
 */
void state_file_own(int fd, const char *folder);

#endif
