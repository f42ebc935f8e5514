#ifndef VIPD_IO_PRIORITY_H
#define VIPD_IO_PRIORITY_H

/* The scheduler's regard for this process. A node that is kept from its heartbeats for longer than `suspect` is taken for
 * dead: on a host whose processors are all busy, it has to come before those who only compute. */

#define PRIORITY_NICE (-15)

/* Raises the calling process to PRIORITY_NICE, if it is not there or above already. Needs CAP_SYS_NICE, so before privileges
 * are dropped; without it everything stays as it was (the systemd unit sets it by Nice=). Before the first thread: each
 * has its own, from the thread that starts it. */
void priority_raise(void);

/* Children and threads that the calling thread starts from now on begin with the ordinary priority. */
void priority_keep(void);

#endif
