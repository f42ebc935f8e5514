#ifndef VIPD_IO_CONSENSUS_PRIVATE_H
#define VIPD_IO_CONSENSUS_PRIVATE_H

/* What the files of the consensus share. See consensus_step.c for how an event goes through. */

#include <raft.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rule.h"
#include "io/consensus.h"
#include "io/consensus_log.h"
#include "wire/raft_message.h"

#define CAPACITY 65535 /* of the disk, as the library counts: always enough, a full disk is fatal instead */

#define INFLIGHT_ENTRIES 256 /* sent to a follower and not acknowledged: the bound of a pipeline */

/* A snapshot and the memory that it points to. */
struct consensus_image
{
    struct consensus_snapshot snapshot;
    void *configuration;
    void *data;
};

struct consensus_work
{
    struct consensus_job job; /* first: what the owner sees */
    uint64_t since_ms;        /* when it was given out */
    struct consensus_work *next;
    struct consensus_entry *entries;
    struct consensus_blob **blobs;
    struct consensus_image *image;
    bool install;                            /* of a snapshot from the leader; else one taken here */
    struct raft_configuration configuration; /* install: the library's own form, given back when it is on disk */
    unsigned trailing;                       /* taken: entries that stay behind it */
};

/* A message on its way out. */
struct consensus_letter
{
    struct consensus_letter *next;
    uint64_t to;
    uint64_t after; /* number of the job that must be on disk before; 0 = none */
    size_t len;
    uint8_t frame[];
};

/* What the leader has sent to a server, beyond what the library keeps. */
struct consensus_follower
{
    uint64_t id;         /* 0: free */
    uint64_t install_ms; /* when a snapshot was last sent to it; 0: none is under way */
    uint64_t told;       /* the highest index that it has been told is committed */
    uint64_t asked_ms;   /* when it was last sent entries, or none as a heartbeat */
    bool waits;          /* it has not answered since */
    bool sound;          /* its last answer acknowledged something, and its connection was not lost after that */
    uint64_t answered_ms;
    struct raft_append_entries_result answer; /* the last one */
};

struct consensus
{
    struct raft raft;
    struct consensus_options options;
    const struct consensus_ops *ops;
    void *ud;
    uint64_t now_ms;
    uint64_t not_before_ms; /* no timeout is due earlier */
    bool started, dead, pumping;
    bool ticking; /* what the library sends now is due to nothing but the time */

    struct consensus_log log;
    struct consensus_image *snapshot; /* the one that the library knows of; NULL = none */
    uint64_t applied;
    uint64_t configuration_index; /* the newest configuration that is applied; 0 = none */
    void *configuration;
    size_t configuration_len;

    struct consensus_work *works, *works_last, *works_due; /* not completed, oldest first; the first not yet given out */
    uint64_t job_number, job_done;
    uint64_t held_job; /* the last one that messages wait for: it sets term or vote, or has a leader's configuration */
    bool taking;       /* a snapshot taken here is being written */
    uint64_t take_after; /* no snapshot before this index is applied: the last try failed */

    struct consensus_letter *letters, *letters_last;
    size_t letters_bytes;
    uint64_t heard_ms; /* when a leader was last heard */
    struct consensus_follower followers[CONSENSUS_SERVERS_MAX]; /* of the leader; in no order */

    uint64_t disk_index, disk_term;
    uint64_t low_index, low_term; /* what was left after a truncation that the owner has not been told */
    bool disk_news, low_news, restore_due;

    uint64_t barrier;
    bool barrier_due;
    bool said_role, said_leader;
    uint64_t said_term, said_leader_id;

    struct consensus_stats stats;
    struct raft_entry scratch[RAFT_MESSAGE_ENTRIES_MAX];
};

/* consensus.c */
/* Takes over the time; false: dead. */
NODISCARD bool consensus_begin(struct consensus *c, uint64_t now_ms);

/* consensus_receive.c */
/* Gives a message to the library, with memory that it may own. 0 or -errno. */
NODISCARD int consensus_step_message(struct consensus *c, struct raft_message *message,
                                     const struct raft_buffer *configuration);

/* Forgets a leader that has been silent for too long, where the library would not. */
void consensus_forget_leader(struct consensus *c);

/* consensus_step.c */
/* Steps the library and takes over its updates, without any callback but `fatal`. 0, or the library's error: nothing
 * happened then. */
NODISCARD int consensus_step(struct consensus *c, struct raft_event *event);
/* The same where no error is expected: one is fatal. 0 or -EIO. */
NODISCARD int consensus_step_or_die(struct consensus *c, struct raft_event *event, const char *what);
/* Makes the callbacks that are due. Every public function ends with it. 0, or -EIO when dead. */
NODISCARD int consensus_pump(struct consensus *c);
void consensus_die(struct consensus *c, int error, const char *what);
/* Appends an entry; 0 or the library's error. */
NODISCARD int consensus_append(struct consensus *c, enum raft_entry_type type, const void *data, size_t len);
uint64_t consensus_term_of(const struct consensus *c, uint64_t index); /* 0: unknown */
struct consensus_work *consensus_work_new(struct consensus *c);        /* queued; NULL: dead, no memory */
void consensus_work_free(struct consensus_work *work);

/* consensus_send.c */
void consensus_post(struct consensus *c, const struct raft_message *message);
/* To all, when the commit index has advanced; to one, when an acknowledgement of it comes in after that. */
void consensus_post_commit(struct consensus *c);
void consensus_post_commit_to(struct consensus *c, uint64_t id);
struct consensus_follower *consensus_follower(struct consensus *c, uint64_t id); /* NULL: no room */
/* A server answered what it was sent. */
void consensus_answered(struct consensus *c, uint64_t id, const struct raft_append_entries_result *result);
/* Before the library looks at the time: it hears the last answers again of those who are well. */
NODISCARD int consensus_answer_again(struct consensus *c);
/* Sends what waits for nothing any more; whether it did. */
bool consensus_deliver(struct consensus *c);
void consensus_letters_free(struct consensus *c);

/* consensus_snapshot.c */
NODISCARD int consensus_image_new(const struct consensus_snapshot *snapshot, void *data, struct consensus_image **ret);
void consensus_image_free(struct consensus_image *image);
void consensus_install(struct consensus *c, struct consensus_work *work, struct raft_update *update);
void consensus_installed(struct consensus *c, struct consensus_work *work);
void consensus_taken(struct consensus *c, struct consensus_work *work);
bool consensus_take_if_due(struct consensus *c);

/* consensus_servers.c */
NODISCARD int consensus_decode(const void *data, size_t len, struct raft_configuration *ret);
NODISCARD int consensus_configuration_applied(struct consensus *c, uint64_t index, const void *data, size_t len);
NODISCARD int consensus_configuration_set(struct consensus *c, uint64_t index, const void *data, size_t len);
void consensus_configuration_mend(struct consensus *c);
/* As consensus_servers(). */
unsigned consensus_servers_of(const struct raft_configuration *configuration, struct consensus_server *ret, unsigned max);
const struct raft_server *consensus_server(const struct consensus *c, uint64_t id); /* NULL: none */

#endif
