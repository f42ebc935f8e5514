#ifndef VIPD_SIM_RULES_H
#define VIPD_SIM_RULES_H

/* Included before everything else in the simulator's build of the product (CMakeLists.txt): here RULE() asks whether the
 * rule is in force in this run. The labels are those of docs/safety.md. X(label, what it means to break it). */

#include <stdbool.h>

#define SIM_RULES(X)                                                                                                   \
    X(L0, "an entry does not look whether the state that it was decided on is still so")                               \
    X(V1_ADMIT, "a voter acks a node that its table does not admit")                                                   \
    X(V1_GEN, "a voter acks under any gen")                                                                            \
    X(V1_PROMISE, "a voter acks without a promise")                                                                    \
    X(V1_SLEW, "a promise is waited for as long as ever on a clock that is slewed fast")                               \
    X(V1_ATOMIC, "the check comes before a fence is applied, the ack after it")                                        \
    X(V1_SEQ, "old heartbeats are acked, too")                                                                         \
    X(V1_KEEP, "an admit resets the voters' promises")                                                                 \
    X(V2_CATCH, "a voter is armed before it has caught up")                                                            \
    X(V2_PROMISE, "a restarted voter begins without promises")                                                         \
    X(V2_DISK, "entries are applied before they are on the node's own disk")                                           \
    X(V2_LOWER, "a log that was cut does not lower what a node has to catch up with")                                  \
    X(N1_LENGTH, "a lease is longer than a promise allows")                                                            \
    X(N1_SLEW, "a lease is as long as ever on a clock that is slewed slow")                                            \
    X(N1_SEND, "a lease counts from when the ack came")                                                                \
    X(N1_MAJORITY, "one voter's ack is enough")                                                                        \
    X(N1_NOW, "a lease stays as long as it was when the voters change")                                                \
    X(N1_RUN, "acks of an earlier run count")                                                                          \
    X(N2_CATCH, "a node holds before it has caught up")                                                                \
    X(N2_ADMIT, "a node holds though its table says that it is fenced")                                                \
    X(N2_OWNER, "a node holds what its table gives to another one")                                                    \
    X(N2_PREV, "a new owner does not wait for the one before")                                                         \
    X(N3_KERNEL, "released is told from memory, before the kernel was asked")                                          \
    X(N3_ORDER, "additions do not wait for removals")                                                                  \
    X(N3_SERIAL, "an addition is still in flight while entries are applied")                                           \
    X(N3_GATE, "the gate is opened again while the kernel holds what N2 forbids")                                      \
    X(N4, "a start does not remove what an earlier run left")                                                          \
    X(N5, "the kernel does not keep the lease")                                                                        \
    X(N5_ABSOLUTE, "the kernel is given a relative time")                                                              \
    X(N6_GATE, "the gate stays open when another host claims what the node has")                                       \
    X(N6_LATER, "acks of heartbeats sent before the claim open it again")                                              \
    X(N6_SOON, "the heartbeat that is sent because of the claim does not open it again")                               \
    X(N6_PROBE, "a VIP that nobody held is taken without asking for it")                                               \
    X(V3_NAMED, "a fenced node that a voter does not name has no promise of it left")                                  \
    X(L1_SILENCE, "a silent node is not fenced")                                                                       \
    X(L1_RELEASE, "a node that does not release is not fenced")                                                        \
    X(L1_DEAF, "a node that does not hold what it could is not fenced")                                                \
    X(L2_PROMISE, "a clear does not wait for the promises")                                                            \
    X(L2_APPLIED, "a report about another fence counts")                                                               \
    X(L2_MAJORITY, "one voter's report is enough")                                                                     \
    X(L3, "a VIP is moved again, deleted and purged before its last move is settled")                                  \
    X(L4_RELEASED, "a node is admitted before it has released")                                                        \
    X(L4_GEN, "an admit does not make a new gen")                                                                      \
    X(L4_HOLD, "no hold-down for a node that flaps")                                                                   \
    X(L5_ONE, "two voters are changed at once: one takes another one's place in one entry")                              \
    X(L5_APPLIED, "the voters are changed before all have applied the last change")                                          \
    X(L5_DELETE, "a node is deleted before it is cleared")                                                             \
    X(L6, "a leader judges before its first entry is applied")                                                         \
    X(DELETE, "a deleted address is forgotten with whoever it waits for")

enum sim_rule
{
#define SIM_RULE_ENUM(label, text) SIM_RULE_##label,
    SIM_RULES(SIM_RULE_ENUM)
#undef SIM_RULE_ENUM
        SIM_RULES_N
};

extern bool sim_broken[SIM_RULES_N];

#define RULE(label) (!sim_broken[SIM_RULE_##label])

#endif
