#ifndef VIPD_BASE_RULE_H
#define VIPD_BASE_RULE_H

/* Where a rule of the ownership protocol (docs/safety.md) stands in the code, it is marked with the rule's label:
 *
 *     if (RULE(V1_ADMIT) && status != NODE_ADMITTED) { ...
 *
 * In the product every rule holds, and this is a constant. The simulator brings a definition of its own, which breaks one
 * rule at a time to show that it would be noticed (tests/sim/rules.h has what each label means). */
#ifndef RULE
#define RULE(label) 1
#endif

#endif
