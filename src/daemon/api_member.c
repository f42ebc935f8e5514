/* Changes of the membership as commands of the log. */

#include <stdio.h>
#include <string.h>

#include "daemon/api_private.h"

/* The node that the request names, or SLOT_NONE after the refusal. */
static int named_node(const struct api_call *call)
{
    const char *name = api_arg_text(call, "node");

    return name == NULL ? api_no(call, CONTROL_USAGE, NULL, "the request names no node") : api_find_node(call, name);
}

static bool read_address(const struct api_call *call, const char *text, struct endpoint *ret)
{
    if (text == NULL || endpoint_parse(text, ret) != 0) {
        (void)api_no(call, CONTROL_USAGE, "ADDRESS:PORT, like 10.1.0.4:7400 or [2001:db8::4]:7400",
                     "\"%.100s\" is not the address of a node", text == NULL ? "" : text);
        return false;
    }
    return true;
}

bool api_node_add(const struct api_call *call, struct command *command)
{
    const char *name = api_arg_text(call, "node");

    if (name == NULL || strlen(name) >= NAME_SIZE) {
        (void)api_no(call, CONTROL_USAGE, NULL, "the name of a node has 1 to %d characters", NAME_MAX_LEN);
        return false;
    }
    command->type = COMMAND_NODE_ADD;
    memcpy(command->node_add.name, name, strlen(name) + 1);
    return read_address(call, api_arg_text(call, "address"), &command->node_add.at);
}

bool api_node_remove(const struct api_call *call, struct command *command)
{
    int node = named_node(call);

    if (node == SLOT_NONE) {
        return false;
    }
    command->type = COMMAND_NODE_REMOVE;
    command->node_remove.node = (int8_t)node;
    command->node_remove.id = call->view->table->nodes[node].id;
    return true;
}

static bool read_role(const struct api_call *call, const char *role, enum node_wish *ret)
{
    for (int wish = WISH_AUTO; wish <= WISH_SPARE; wish++) {
        if (strcmp(node_wish_text((enum node_wish)wish), role) == 0) {
            *ret = (enum node_wish)wish;
            return true;
        }
    }
    (void)api_no(call, CONTROL_USAGE, "auto, voter or spare", "there is no role \"%.100s\" to ask for", role);
    return false;
}

bool api_node_set(const struct api_call *call, struct command *command)
{
    const char *role = api_arg_text(call, "role"), *address = api_arg_text(call, "address");
    int node = named_node(call);

    if (node == SLOT_NONE) {
        return false;
    }
    if (role == NULL && address == NULL) {
        (void)api_no(call, CONTROL_USAGE, "vipctl node set --help lists them", "nothing is to be changed");
        return false;
    }
    command->type = COMMAND_NODE_SET;
    command->node_set.node = (int8_t)node;
    command->node_set.id = call->view->table->nodes[node].id;
    command->node_set.set = (role != NULL ? NODE_SET_WISH : 0u) | (address != NULL ? NODE_SET_AT : 0u);
    command->node_set.at = call->view->table->nodes[node].at;
    command->node_set.wish = call->view->table->nodes[node].wish;
    return (address == NULL || read_address(call, address, &command->node_set.at)) &&
           (role == NULL || read_role(call, role, &command->node_set.wish));
}

bool api_voting(const struct api_call *call, const struct value *voters, struct command *command)
{
    command->type = COMMAND_VOTING;
    command->voting = call->view->table->voting;
    for (const struct value *item = value_first(voters); item != NULL; item = item->next) {
        uint64_t n = value_as_uint(item, UINT64_MAX);

        if (strcmp(item->key, "count") == 0) {
            command->voting.count = (uint8_t)(n > VOTERS_MAX ? 0 : n); /* 0 is refused like any other wrong one */
        } else if (strcmp(item->key, "replace_ms") == 0) {
            command->voting.replace_ms = (uint32_t)(n > UINT32_MAX ? 0 : n);
        } else {
            (void)api_no(call, CONTROL_USAGE, "they are count and replace_ms", "voters have no setting \"%.100s\"",
                         item->key);
            return false;
        }
    }
    return true;
}

bool api_member_is_so(const struct table *table, const struct command *command)
{
    if (command->type == COMMAND_NODE_REMOVE) {
        return table->nodes[command->node_remove.node].removing;
    }
    if (command->type == COMMAND_NODE_SET) {
        const struct node *node = &table->nodes[command->node_set.node];
        return node->wish == command->node_set.wish && node->at.port == command->node_set.at.port &&
               addr_equal(&node->at.addr, &command->node_set.at.addr);
    }
    return false;
}

bool api_member_settled(const struct api_view *view, const struct value *args, int node, char *why, size_t size)
{
    const char *until = value_as_string(value_get(args, "until"), "");
    const char *role = value_as_string(value_get(args, "role"), NULL);
    const struct node *n = &view->table->nodes[node];

    if (strcmp(until, "node.remove") == 0) {
        snprintf(why, size, "%.63s is still being removed: it is %s, a %s", n->name,
                 api_node_state_text(core_node_state(view->core, node, view->now)), node_role_text(n->role));
        return false; /* it is still there */
    }
    if (strcmp(until, "node.set") == 0 && role != NULL) {
        snprintf(why, size, "%.63s is a %s", n->name, node_role_text(n->role));
        return strcmp(role, "voter") == 0 ? n->role == ROLE_VOTER : strcmp(role, "spare") != 0 || n->role == ROLE_SPARE;
    }
    snprintf(why, size, "%.63s is not up yet: it has to be started", n->name);
    return core_node_state(view->core, node, view->now) == NODE_STATE_UP;
}
