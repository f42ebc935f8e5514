#ifndef VIPD_IO_CONSENSUS_H
#define VIPD_IO_CONSENSUS_H

/* Raft for one node: drives the library's step function and carries out what it asks for through callbacks. No clock, no
 * thread, no I/O of its own: time is passed in, disk and network are the owner's, so a simulator can own them too.
 *
 * Calls and callbacks. Every callback is made from within one of the functions below, never on its own, and in a state
 * in which the callback may call any of them in turn, except consensus_free(); a persist callback may even
 * complete the job at once. What a callback is given is valid during it, jobs apart.
 *
 * Times are milliseconds of any clock that the owner likes; one that goes back is taken to stand still. Functions return
 * 0, a negative errno, or a positive enum consensus_outcome. After `fatal` every call returns -EIO. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CONSENSUS_ENTRY_MAX ((size_t)6 << 20)    /* bytes of one entry's data */
#define CONSENSUS_SNAPSHOT_MAX ((size_t)63 << 20) /* bytes of a snapshot's data */
#define CONSENSUS_SERVERS_MAX 64
#define CONSENSUS_JOBS_MAX 1024 /* writes under way, above which entries of a leader are not taken */
#define CONSENSUS_ADDRESS_MAX 255 /* bytes, without the NUL */

enum consensus_outcome
{
    CONSENSUS_NOT_LEADER = 1, /* only the leader can do it, and one that hands over is none */
    CONSENSUS_BUSY,           /* too much is under way: entries not yet committed, or a change of servers */
    CONSENSUS_NO_LEADER,      /* elect: no leader is known whose place could be taken; the timers do it */
    CONSENSUS_BEHIND,         /* elect: this node is no voter, no follower, or is still writing; configure: the voter
                               * to be has not caught up */
    CONSENSUS_NO_SUCH_SERVER, /* transfer: not another voter; configure: more than one server differs, or none */
};

/* The same values as the library's. */
enum consensus_role
{
    CONSENSUS_STANDBY = 0, /* replicates, does not vote */
    CONSENSUS_VOTER = 1,
    CONSENSUS_SPARE = 2, /* neither */
};

struct consensus_server
{
    uint64_t id; /* not 0 */
    const char *address; /* unique; at most CONSENSUS_ADDRESS_MAX */
    int role;            /* enum consensus_role */
};

enum consensus_entry_type
{
    CONSENSUS_COMMAND = 1,
    CONSENSUS_BARRIER,
    CONSENSUS_CHANGE, /* an encoded configuration */
};

struct consensus_entry
{
    uint64_t index, term;
    enum consensus_entry_type type;
    const void *data; /* 8-byte aligned */
    size_t len;
};

struct consensus_snapshot
{
    uint64_t index, term;          /* of the last entry that it contains */
    uint64_t configuration_index;  /* at which the configuration was committed */
    const void *configuration;     /* encoded */
    size_t configuration_len;
    const void *data;
    size_t len;
};

/* One atomic write: all of it is on disk, or none. Jobs are done in the order in which they are given. Constant until it
 * is completed; it may be read by another thread. The order within: truncation, entries, snapshot, compaction. */
struct consensus_job
{
    uint64_t number;        /* 1, 2, ... */
    bool set_vote;          /* term and vote (0 = none) change */
    uint64_t term, vote;
    uint64_t truncate_from; /* delete the entries at this index and above; 0 = none */
    size_t n_entries;       /* append these */
    const struct consensus_entry *entries;
    const struct consensus_snapshot *snapshot; /* takes the place of the one before; NULL = none */
    uint64_t compact_below; /* then delete the entries below this index; 0 = none */
    void *owner;            /* free for whoever carries it out */
};

/* What the disk had: the input of a start. Entries are contiguous; without a snapshot they begin at index 1, with one at
 * most one past its index and reach it, or there are none. All zero: a node that has nothing yet and waits for a
 * leader. */
struct consensus_state
{
    uint64_t term, vote;
    const struct consensus_snapshot *snapshot; /* NULL = none */
    const struct consensus_entry *entries;
    size_t n_entries;
};

struct consensus_ops
{
    /* Carry out the job and call consensus_persisted(). */
    void (*persist)(void *ud, struct consensus_job *job);

    /* Send a message to a server; it may be lost, repeated and overtaken. Messages that rest on a term or a vote are
     * given only once these are on disk. */
    void (*send)(void *ud, uint64_t to, const void *frame, size_t len);

    /* A command that is committed and on this node's own disk (V2), in the order of the log. */
    void (*apply)(void *ud, uint64_t index, uint64_t term, const void *data, size_t len);
    /* The same for an entry without a command, a barrier. */
    void (*skip)(void *ud, uint64_t index, uint64_t term);
    /* The same for a configuration; the servers are valid during the call. */
    void (*configured)(void *ud, uint64_t index, uint64_t term, const struct consensus_server *servers, unsigned n);

    /* Replace the state by that of a snapshot: at a start, or when one has come from the leader and is on disk.
     * An error is fatal. */
    int (*restore)(void *ud, uint64_t index, const void *data, size_t len);
    /* The state as of the last applied entry, from malloc(); consensus frees it. On an error, or above
     * CONSENSUS_SNAPSHOT_MAX, it is asked again after as many entries again. */
    int (*snapshot)(void *ud, void **ret_data, size_t *ret_len);

    /* Leader or not, term, or the leader's id (0 = unknown) changed. */
    void (*role)(void *ud, bool leader, uint64_t term, uint64_t leader_id);

    /* The last entry on the node's own disk changed. When entries were cut off, it is called for what was left of the log
     * first, and then for its new end: so the lowest index that it ever says is how far V2's target must be
     * lowered. */
    void (*disk)(void *ud, uint64_t last_term, uint64_t last_index);

    /* Whether messages of a server that is not in this node's configuration may be looked at; NULL: of none. (A node
     * without any configuration looks at everyone's.) */
    bool (*known)(void *ud, uint64_t id);

    /* The disk failed, or the library does not go on. Nothing happens any more; the owner must leave. */
    void (*fatal)(void *ud, int error, const char *what);
};

struct consensus_options
{
    uint64_t id;             /* of this node */
    const char *address;     /* its own, to show */
    unsigned seed;           /* of the election timer, from the system's randomness (or the simulator's) */
    uint32_t election_ms;    /* waits 1 to 2 times as long; 10..600000 */
    uint32_t heartbeat_ms;   /* of the leader; less than election_ms */
    /* 0 takes the value in brackets. */
    uint32_t install_ms;     /* a snapshot that had no effect after so long is sent again [5000] */
    uint32_t snapshot_entries; /* a snapshot is taken after so many entries [4096] ... */
    size_t snapshot_bytes;     /* ... or so many bytes of them [8 MiB] */
    uint32_t trailing_entries; /* entries kept behind the snapshot for followers that lag a little [1024] ... */
    size_t trailing_bytes;     /* ... while they are not more bytes [4 MiB] */
    uint32_t pending_entries;  /* entries neither committed nor on own disk, above which submit is refused [4096] */
    size_t pending_bytes;      /* the same in bytes [32 MiB] */
    size_t held_bytes;         /* of messages that wait for a term or vote to be on disk; above, they are lost [16 MiB] */
};

struct consensus_stats
{
    uint64_t received, sent;     /* messages */
    uint64_t malformed;          /* frames refused */
    uint64_t strangers;          /* messages of servers that are not in the configuration */
    uint64_t impossible;         /* messages of servers that no sound peer sends, or that came too late to mean anything */
    uint64_t held_back;          /* messages lost because too many, or too many writes, waited for the disk */
    uint64_t snapshots_taken, snapshots_failed, snapshots_sent, snapshots_installed;
    uint64_t elections;          /* times that this node became leader */
};

struct consensus;

/* The data of the entry at index 1, which founds a cluster: all founders must come to the same bytes, so the order of
 * `servers` does not matter. 1..CONSENSUS_SERVERS_MAX servers, at least one voter. *ret_data is from malloc().
 * -EINVAL, -ENOMEM. */
NODISCARD int consensus_founding(const struct consensus_server *servers, unsigned n, void **ret_data, size_t *ret_len);

/* The servers that an encoded configuration names (of an entry CONSENSUS_CHANGE, of a snapshot); at most `max` are written,
 * with "" for their addresses. -EBADMSG, -ENOMEM. */
NODISCARD int consensus_servers_in(const void *data, size_t len, struct consensus_server *ret, unsigned max, unsigned *ret_n);

/* `ops` must outlive the consensus; all but `known` are set. -EINVAL (options), -ENOMEM. */
NODISCARD int consensus_new(const struct consensus_options *options, const struct consensus_ops *ops, void *ud,
                            struct consensus **ret);

/* Begin from what the disk has; calls restore for a snapshot, disk, and role. `state` is not needed afterwards.
 * -EBADMSG (the state makes no sense), -ENOMEM. */
NODISCARD int consensus_start(struct consensus *c, const struct consensus_state *state, uint64_t now_ms);

/* NULL is fine. Jobs that are not completed are freed: stop whoever carries them out before. */
void consensus_free(struct consensus *c);

/* Do what is due; any time. consensus_timeout_ms() says when at the latest. */
NODISCARD int consensus_tick(struct consensus *c, uint64_t now_ms);
uint64_t consensus_timeout_ms(const struct consensus *c);

/* A frame came from server `from`, whose identity the connection has proved. 0 also when it is ignored; -EBADMSG,
 * -EMSGSIZE, -EPROTONOSUPPORT: the frame is no good, the connection should end. */
NODISCARD int consensus_receive(struct consensus *c, uint64_t from, const void *frame, size_t len, uint64_t now_ms);

/* The connection to a server was lost: a snapshot under way to it is, too. */
void consensus_disconnected(struct consensus *c, uint64_t id);

/* The oldest job was carried out (status 0) or failed (below 0: fatal). Frees the job. */
NODISCARD int consensus_persisted(struct consensus *c, struct consensus_job *job, int status, uint64_t now_ms);

/* Append a command; copies it. *ret_index is the index it got, which is another entry's in the end if the leadership is
 * lost before. CONSENSUS_NOT_LEADER, CONSENSUS_BUSY, -EMSGSIZE, -ENOMEM. */
NODISCARD int consensus_submit(struct consensus *c, const void *data, size_t len, uint64_t now_ms, uint64_t *ret_index);

/* Change the servers by one: added, removed, or given another role. A new server is a standby first and a voter
 * once it has caught up. As consensus_submit(), and CONSENSUS_NO_SUCH_SERVER, CONSENSUS_BEHIND. */
NODISCARD int consensus_configure(struct consensus *c, const struct consensus_server *servers, unsigned n,
                                  uint64_t now_ms, uint64_t *ret_index);

/* Other times than those of the options, from now on. -EINVAL. */
NODISCARD int consensus_set_times(struct consensus *c, uint32_t election_ms, uint32_t heartbeat_ms);

/* Hand the leadership to another voter; 0 = to whoever is most up to date. It is over when `role` says so; given up after
 * election_ms. CONSENSUS_NOT_LEADER, CONSENSUS_NO_SUCH_SERVER. */
NODISCARD int consensus_transfer(struct consensus *c, uint64_t to, uint64_t now_ms);

/* Stand for election now, as if the known leader had asked for it: no pre-vote, and voters that still believe in
 * that leader answer, too. Safe at any time; wise when a majority hears nothing of the leader. CONSENSUS_NO_LEADER,
 * CONSENSUS_BEHIND. */
NODISCARD int consensus_elect(struct consensus *c, uint64_t now_ms);

bool consensus_is_leader(const struct consensus *c);
uint64_t consensus_leader(const struct consensus *c); /* id, 0 = unknown */
uint64_t consensus_term(const struct consensus *c);
uint64_t consensus_commit(const struct consensus *c);
uint64_t consensus_applied(const struct consensus *c);
uint64_t consensus_last_index(const struct consensus *c);     /* of the log, on disk or not */
uint64_t consensus_disk_index(const struct consensus *c);     /* of the log on this node's disk */
uint64_t consensus_snapshot_index(const struct consensus *c); /* 0 = none */
/* Since when the oldest job that was given out and is not completed has been at the disk, in the owner's milliseconds; 0: none
 * is. */
uint64_t consensus_writing_since_ms(const struct consensus *c);
/* The first entry of the leader's own term: it knows all that is committed once this is applied (L6). 0: no leader. */
uint64_t consensus_barrier(const struct consensus *c);
/* How far the leader knows the log of server `id` to match; 0: unknown, or no leader. */
uint64_t consensus_match(const struct consensus *c, uint64_t id);
/* The newest configuration, committed or not: how many servers, of which at most `max` are written. Addresses are valid
 * until the next call of another function. */
unsigned consensus_servers(const struct consensus *c, struct consensus_server *ret, unsigned max);
void consensus_stats(const struct consensus *c, struct consensus_stats *ret);

#endif
