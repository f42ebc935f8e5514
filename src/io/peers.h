#ifndef VIPD_IO_PEERS_H
#define VIPD_IO_PEERS_H

/* The mesh of connections between the nodes: one a pair, inside TLS, shared by all channels, dialled by whoever can, and
 * kept. Only who has a key of the cluster gets as far as a hello; this file knows who a peer says it is and whether it is
 * alive; whether it may be here the owner decides in admit(). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "base/err.h"
#include "io/seal.h"
#include "io/tls.h"
#include "wire/frame.h"
#include "wire/hello.h"

struct peers;

/* Zero takes the default that is named. */
struct peers_config
{
    const char *cluster; /* copied, as is name */
    const char *name;
    const uint8_t (*keys)[TLS_KEY_SIZE]; /* copied: the first is used, each is accepted */
    unsigned n_keys;                     /* 1..TLS_KEYS_MAX */
    uint64_t self; /* this node's id, not 0 */
    struct endpoint listen; /* also the source address of outgoing connections; port 0: the kernel chooses */
    uint32_t connect_timeout_ms; /* 500 */
    uint32_t hello_timeout_ms;   /* 1000: for TLS, for the hello, and for the word that brings the connection to use */
    uint32_t peer_timeout_ms;    /* 5000: the same, for connections to and from addresses of peers: a handshake costs, and
                                  * what a busy peer has begun is not thrown away; a dead one is known sooner */
    uint32_t user_timeout_ms;    /* 1000: TCP_USER_TIMEOUT */
    uint32_t ping_ms;            /* 500: the longest that a connection is left without a word from here */
    uint32_t dead_ms;            /* 2000: the longest that one is believed without a word from there */
    uint32_t retry_min_ms;       /* 50: between the starts of two attempts, doubled by each failure up to ... */
    uint32_t retry_max_ms;       /* 500 */
    uint32_t refused_max_ms;     /* 5000: ... and up to this after a refusal */
    uint32_t strangers_max;      /* 64: accepted connections that are not in use yet */
    uint32_t strangers_per_address_max; /* 16: of them from one address (IPv6: from one /64, unless a peer's) */
    uint32_t accepts_per_s;      /* 50: connections that one address may begin in a second */
    uint32_t foreign_per_s;      /* 200: and all addresses together that are no peer's */
    size_t queue_max;            /* bytes for one peer that the kernel has not taken; default: the longest Raft message
                                  * and 1 MiB; other channels may exceed it by PEERS_QUEUE_SLACK */
};

#define PEERS_QUEUE_SLACK ((size_t)17 << 20)

/* Called from the loop only, or from peers_unset() (disconnected). Each may call any function below. */
struct peers_ops
{
    /* The connection may be used. The hello (valid during the call, and from peers_info()) is of this run of the peer;
     * a connection that replaces another is preceded by disconnected(). */
    void (*connected)(void *ud, uint64_t id, const struct hello *hello);
    void (*disconnected)(void *ud, uint64_t id, const char *why);
    /* Any channel but HELLO and PING; data is aligned for any type and valid during the call. */
    void (*message)(void *ud, uint64_t id, enum channel channel, const void *data, size_t len);
    /* Whether a hello is acceptable: 0, or nonzero with the reason for the refusal, as a clause of printable ASCII.
     * Asked for both dialled and accepted connections, after this file's own checks (protocol, cluster, cluster id, the
     * ids of both ends); an id that is not in peers_set() after it is refused as no member. */
    int (*admit)(void *ud, const struct hello *hello, char reason[HELLO_REASON_SIZE]);
    /* Connections were refused, by this side or the other (the reason tells). `times`: how many since this was last told
     * of the same peer or, of what is no peer, of anybody; told at most once a minute for each kind. */
    void (*refused)(void *ud, const char *who, const char *reason, uint32_t times);
    /* Optional: peers_sessions() has changed. Nothing of this file may be called from it but that. */
    void (*sessions)(void *ud);
    /* Optional: the last word on a hello to node `to` (0 = unknown), for `pinned` and what changes often. */
    void (*greet)(void *ud, uint64_t to, struct hello *hello);
    /* Optional: the last word on the answer to a hello that is refused here, for `to` and `gone`. */
    void (*turn_away)(void *ud, const struct hello *hello, struct hello *answer);
    /* Optional: such an answer came. */
    void (*turned_away)(void *ud, const struct hello *answer);
};

struct peers_counters
{
    uint64_t dialled, dials_failed;
    uint64_t accepted;
    uint64_t connected, lost; /* connections in use: begun, ended */
    uint64_t refused, refused_by_peer; /* by a hello */
    uint64_t unproven;   /* by TLS, either way: another key or cluster, or no proof of one */
    uint64_t malformed;  /* closed for what is no frame, no hello, or has no place where it came */
    uint64_t late;       /* closed for not coming to use in time */
    uint64_t evicted;    /* accepted connections closed for newer ones, over strangers_max or _per_address_max */
    uint64_t hasty;      /* accepted connections closed at once, over accepts_per_s or foreign_per_s */
    uint64_t duplicate;  /* second connections of a pair, closed */
    uint64_t silent;     /* connections in use closed by dead_ms */
    uint64_t unsealed, sessionless;   /* datagrams: no sealed ones at all; of no session that there is */
    uint64_t forged, replayed;        /* datagrams of a session: not opened; opened before */
    uint64_t messages_in, messages_out, bytes_in, bytes_out; /* payloads of message() and peers_send() */
    uint64_t raft_dropped, queue_full; /* messages over the bound: Raft's, which are lost, and others, refused */
};

struct peer_info
{
    struct endpoint at;
    bool connected;
    bool dialled;              /* by this side */
    uint64_t connected_for_ms;
    size_t queued;             /* bytes */
    const struct hello *hello; /* NULL unless connected; valid until the loop runs */
};

/* Listens and, from the first run of the loop, accepts. `hello` gives what changes rarely: cluster_id, founded,
 * identity, run (not 0), founders, version; the rest is filled in here. Sets SIGPIPE to be ignored. -EINVAL: a
 * configuration or hello that makes no sense; else what the kernel says of the listening socket. */
NODISCARD int peers_init(struct peers **ret, uv_loop_t *loop, const struct peers_config *config,
                         const struct hello *hello, const struct peers_ops *ops, void *ud);

/* No callback of ops after this; closed (may be NULL) is the last of all, from the loop. NULL: calls closed at once. */
void peers_close(struct peers *peers, void (*closed)(void *ud), void *ud);

/* For the connections to come. -EINVAL as in peers_init(). */
NODISCARD int peers_set_hello(struct peers *peers, const struct hello *hello);

/* From now on the first of 1..TLS_KEYS_MAX keys is used for dialling, and each is accepted. What was made with a key that is
 * accepted no more ends at once: connections and the sessions of datagrams; the rest stays as it is. */
void peers_set_keys(struct peers *peers, const uint8_t (*keys)[TLS_KEY_SIZE], unsigned n);
/* Makes connections anew that were made with another key than the one in use: one after the other, without an end of the
 * datagrams' sessions. */
void peers_renew(struct peers *peers);
/* The ids of the keys, the one in use first; how many. */
unsigned peers_keys(const struct peers *peers, uint64_t ret[TLS_KEYS_MAX]);
/* Connections in use that were made with the key in use, and with another. */
void peers_by_key(const struct peers *peers, unsigned *ret_used, unsigned *ret_other);

/* Keep a connection to this peer, from now on; or its address has changed (a connection in use stays). -EINVAL: id 0 or
 * this node's own, no address or port; -EAFNOSUPPORT: not of the listening family; -ENOSPC: NODES_MAX are set. */
NODISCARD int peers_set(struct peers *peers, uint64_t id, const struct endpoint *at);
/* Take connections of this peer without dialling it: where it is is not known yet. As peers_set(); one that is set stays
 * as it is. */
NODISCARD int peers_welcome(struct peers *peers, uint64_t id);
/* Ends it, telling disconnected(). An id that is not set is fine. */
void peers_unset(struct peers *peers, uint64_t id);

/* The peer was heard by other means: if there is no connection, try now. Cheap; for every datagram. */
void peers_hint(struct peers *peers, uint64_t id);

/* Queue a message. -ENOTCONN: no connection in use; -EMSGSIZE: longer than the channel may be; -ENOBUFS: the queue is
 * full; -ENOMEM; -EINVAL: HELLO and PING are not for callers. On CHANNEL_RAFT a full queue drops the message and
 * returns 0: Raft repeats. 0 does not mean that it arrives: disconnected() tells that some may not have. */
NODISCARD int peers_send(struct peers *peers, uint64_t id, enum channel channel, const void *data, size_t len);

/* Datagrams: with keys of the connections of a pair, which outlive those (peers_session.c). The peer is one that connected()
 * told of in this run of this node, though it need not be connected now.
 * Writes len + SEAL_OVERHEAD bytes. -ENOKEY: there has been no connection yet; -EIO. */
NODISCARD int peers_seal(struct peers *peers, uint64_t id, const void *plain, size_t len, uint8_t *ret);
/* Opens what came: *ret_len bytes (at most len - SEAL_OVERHEAD) that peer *ret_id sent, and that come for the first time.
 * -EBADMSG: forged, replayed, or nothing of ours; -ENOKEY: of no session that there is. Both are counted. */
NODISCARD int peers_open(struct peers *peers, const void *datagram, size_t len, uint8_t *ret, size_t *ret_len,
                         uint64_t *ret_id);
/* The ids by which datagrams may come now; how many. What has no such id peers_open() would not open. */
#define PEERS_SESSIONS_MAX (NODES_MAX * 8)
size_t peers_sessions(const struct peers *peers, uint64_t ret[PEERS_SESSIONS_MAX]);

/* The format to write to the peer in: the highest that both ends of the last connection in use read. PROTOCOL_MIN when there
 * was none. */
uint32_t peers_protocol(const struct peers *peers, uint64_t id);

bool peers_is_connected(const struct peers *peers, uint64_t id);
NODISCARD int peers_info(const struct peers *peers, uint64_t id, struct peer_info *ret); /* -ENOENT: not set */
const struct peers_counters *peers_counters(const struct peers *peers);
/* Where it listens, with the port that the kernel chose. */
struct endpoint peers_listening(const struct peers *peers);

#endif
