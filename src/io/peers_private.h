#ifndef VIPD_IO_PEERS_PRIVATE_H
#define VIPD_IO_PEERS_PRIVATE_H

/* Between peers.c (the mesh: peers, dialling, time), peers_listen.c (accepting), peers_conn.c (one connection: its
 * states, the handshake, liveness), peers_session.c (datagrams), peers_key.c (the cluster's keys) and peers_refusal.c (what is told of refusals). */

#include "base/throttle.h"
#include "io/peers.h"
#include "io/stream.h"

#define PEERS_NEVER UINT64_MAX

enum conn_state
{
    CONN_NEW = 0,
    CONN_DIALLING, /* the kernel connects */
    CONN_SECURING, /* TLS: the proof that the other has the key is awaited */
    CONN_HELLO,    /* the other's hello is awaited; a dialled one has sent its own */
    CONN_GREETED,  /* hellos exchanged; the word of the other that makes it the one in use is awaited */
    CONN_ACTIVE,   /* in use */
    CONN_REFUSING, /* the reason is on its way; the other's end is awaited */
    CONN_CLOSED,
};
#define CONN_STATES_N 8

/* What connections are refused for; each kind is told by itself. */
enum refusal
{
    REFUSAL_PROOF,     /* TLS: another key, another cluster, ... */
    REFUSAL_HELLO,     /* this side does not accept the hello */
    REFUSAL_BY_PEER,   /* the other side does not accept ours */
    REFUSAL_MALFORMED, /* it is no node that speaks there */
    REFUSAL_LATE,      /* it says nothing, or too slowly */
    REFUSAL_CROWD,     /* too many at a time, or too fast */
};
#define REFUSALS_N 6

/* Datagrams both ways, with keys of one connection. */
struct session
{
    uint64_t number; /* grows; 0 = none */
    uint64_t run;    /* of the peer */
    uint64_t key;    /* of the cluster: the id of that which the connection was made with */
    struct seal in, out;
};
#define SESSIONS_PER_PEER 8
#define SESSION_PLACES 2048 /* of the table by id: mostly empty */

#define SOURCES_MAX 64

/* An address that connections come from. */
struct source
{
    struct addr addr;
    struct throttle accepts;
};

struct conn
{
    struct conn *next, *prev; /* in peers->conns */
    struct peers *peers;
    struct stream stream;
    enum conn_state state;
    bool dialled;
    bool doubted;    /* silent for dead_ms when last looked at */
    uint64_t id;     /* of the peer: whom it was dialled for, or who it says it is; 0 = not known yet */
    struct endpoint remote;
    struct hello hello; /* the other's, from CONN_GREETED on */
    uint64_t session;   /* its number, 0 = none yet */
    uint64_t link;      /* name that the lower id gave it when it came to use; 0 before */
    uint64_t since_ms;  /* of its state; loop time, as all times here */
    uint64_t due_ms;
    uint64_t renew_ms;  /* it was made with another key than is used now: to be made anew then; 0 = it stays */
};

struct peer
{
    uint64_t id; /* 0 = free slot */
    struct endpoint at;
    struct conn *active; /* at most one */
    struct conn *dial;   /* at most one that this side dialled and that is not active yet */
    uint32_t protocol;   /* of the last active connection, 0 = none yet */
    uint64_t link;       /* of the last active connection, 0 = none in this run of ours */
    uint32_t retry_ms;   /* between the starts of attempts; 0 = the first */
    bool refused;        /* by the last attempt: hints do not hurry the next */
    bool blind;          /* the attempt under way began when nothing had been heard of the peer */
    uint64_t dial_ms;    /* start of the last attempt */
    uint64_t heard_ms;   /* last hint, 0 = never */
    uint64_t due_ms;     /* of the next attempt, PEERS_NEVER = none planned */
    struct session sessions[SESSIONS_PER_PEER];
    struct session *sealing;  /* of the last connection in use; NULL = none yet */
    struct session *heard_by; /* by which the last datagram came */
    struct throttle told[REFUSALS_N];
    char reason[HELLO_REASON_SIZE]; /* of a hello, last told */
};

struct peers
{
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t timer; /* one for all: at the earliest due_ms */
    struct tls *tls;
    struct sealer *sealer;
    uint16_t by_id[SESSION_PLACES]; /* sessions by the id of what comes: 1 + place, 0 = free; open addressing */
    uint64_t sessions;              /* numbers given */
    struct peers_config config;
    char cluster[NAME_SIZE], name[NAME_SIZE];
    struct endpoint listening;
    struct hello hello;
    struct peers_ops ops;
    void *ud;
    struct peer peers[NODES_MAX];
    struct conn *conns;
    unsigned handles; /* that libuv has not closed yet */
    uint64_t timer_ms; /* when the timer is set to, PEERS_NEVER = off */
    uint64_t accept_ms; /* since when accepted_n counts */
    unsigned accepted_n;
    struct source sources[SOURCES_MAX];
    struct throttle foreign;          /* accepted from addresses of no peer */
    struct throttle told[REFUSALS_N]; /* of what is no peer */
    char reason[HELLO_REASON_SIZE];   /* of a hello of it, last told */
    bool accept_waits; /* a connection waits to be accepted: too many in this turn of the loop */
    bool closing;
    void (*closed)(void *ud);
    void *closed_ud;
    uint64_t random;
    uint64_t links; /* names given to connections */
    struct peers_counters counters;
    uint8_t scratch[STREAM_SCRATCH_SIZE];
};

/* peers.c */
struct peer *peers_find(const struct peers *peers, uint64_t id);
void peers_wake(struct peers *peers, uint64_t due_ms);
/* Plan the next attempt at a peer that has neither a connection nor an attempt. */
void peers_plan(struct peers *peers, struct peer *peer);
/* An attempt came to nothing; `refused`: because one of the sides would not have it. */
void peers_dial_failed(struct peers *peers, struct peer *peer, bool refused);
/* A hello of this node to node `to` (0 = unknown). */
void peers_greeting(struct peers *peers, uint64_t to, struct hello *ret);
void peers_handle_closed(struct peers *peers);

/* peers_listen.c */
/* Opens the listener and the timer. On failure either none of the loop's handles is open (peers->handles is 0) or
 * peers_close() closes them. */
NODISCARD int peers_listen(struct peers *peers);
void peers_accept_waiting(struct peers *peers); /* the connection that peers->accept_waits tells of */

/* The peer at whose address the other end of a connection is, NULL = none. Several nodes may share one: any of them. */
struct peer *peers_at(const struct peers *peers, const struct addr *addr);

/* peers_session.c */
/* The hello was admitted: this end can open what the other seals with the connection's keys. -ENOENT: no peer; -EIO. */
NODISCARD int session_add(struct conn *conn);
/* The connection is in use: this end seals with its keys, and those of other runs of the peer are gone. */
void session_use(struct conn *conn);
void session_end_all(struct peers *peers, struct peer *peer);
void session_free_all(struct peer *peer); /* the same at the very end: nobody is told */
/* What was made with a key of the cluster that is accepted no more. */
void session_end_keys(struct peers *peers);

/* peers_refusal.c */
/* Tells refused(), unless it was told lately; `hello` is the other's, NULL = unknown. */
void peers_tell_refused(struct conn *conn, enum refusal refusal, const struct hello *hello, const char *reason);

/* peers_conn.c */
struct conn *conn_new(struct peers *peers, bool dialled, uint64_t id);
NODISCARD int conn_dial(struct conn *conn, const struct endpoint *to);
NODISCARD int conn_accept(struct conn *conn);
void conn_due(struct conn *conn); /* its due_ms has come */
/* Ends it in any state; `why` for people. Tells disconnected() and plans the next attempt where that applies. */
void conn_close(struct conn *conn, const char *why);

#endif
