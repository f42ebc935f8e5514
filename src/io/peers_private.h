#ifndef VIPD_IO_PEERS_PRIVATE_H
#define VIPD_IO_PEERS_PRIVATE_H

/* Between peers.c (the mesh: peers, dialling, time), peers_listen.c (accepting) and peers_conn.c (one connection: its
 * states, the handshake, liveness). */

#include "io/peers.h"
#include "io/stream.h"

#define PEERS_NEVER UINT64_MAX

enum conn_state
{
    CONN_NEW = 0,
    CONN_DIALLING, /* the kernel connects */
    CONN_HELLO,    /* the other's hello is awaited; a dialled one has sent its own */
    CONN_GREETED,  /* hellos exchanged; the word of the other that makes it the one in use is awaited */
    CONN_ACTIVE,   /* in use */
    CONN_REFUSING, /* the reason is on its way; the other's end is awaited */
    CONN_CLOSED,
};
#define CONN_STATES_N 7

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
    uint64_t link;      /* name that the lower id gave it when it came to use; 0 before */
    uint64_t since_ms;  /* of its state; loop time, as all times here */
    uint64_t due_ms;
};

struct peer
{
    uint64_t id; /* 0 = free slot */
    struct endpoint at;
    struct conn *active; /* at most one */
    struct conn *dial;   /* at most one that this side dialled and that is not active yet */
    uint64_t link;       /* of the last active connection, 0 = none in this run of ours */
    uint32_t retry_ms;   /* between the starts of attempts; 0 = the first */
    bool refused;        /* by the last attempt: hints do not hurry the next */
    bool blind;          /* the attempt under way began when nothing had been heard of the peer */
    uint64_t dial_ms;    /* start of the last attempt */
    uint64_t heard_ms;   /* last hint, 0 = never */
    uint64_t due_ms;     /* of the next attempt, PEERS_NEVER = none planned */
    char reason[HELLO_REASON_SIZE]; /* last reported refusal, and when */
    uint64_t reason_ms;
};

struct peers
{
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t timer; /* one for all: at the earliest due_ms */
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

/* peers_conn.c */
struct conn *conn_new(struct peers *peers, bool dialled, uint64_t id);
NODISCARD int conn_dial(struct conn *conn, const struct endpoint *to);
NODISCARD int conn_accept(struct conn *conn);
void conn_due(struct conn *conn); /* its due_ms has come */
/* Ends it in any state; `why` for people. Tells disconnected() and plans the next attempt where that applies. */
void conn_close(struct conn *conn, const char *why);

#endif
