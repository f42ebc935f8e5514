/* Messages between Raft cores (wire/raft_message.h). There is one way to write each, so what was read is written again
 * byte for byte; and the library, which trusts the configurations it is given, can read those that pass. */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/raft_message.h"

static void check_configuration(const struct raft_buffer *configuration)
{
    struct raft_configuration decoded;

    FUZZ_CHECK(raft_message_check_configuration(configuration->base, configuration->len) == 0);
    raft_configuration_init(&decoded);
    FUZZ_CHECK(raft_configuration_decode(configuration, &decoded) == 0);
    FUZZ_CHECK(decoded.n > 0 && decoded.n <= RAFT_MESSAGE_SERVERS_MAX);
    for (unsigned i = 0; i < decoded.n; i++) {
        FUZZ_CHECK(decoded.servers[i].id != 0 && strlen(decoded.servers[i].address) <= RAFT_MESSAGE_ADDRESS_MAX);
    }
    raft_configuration_close(&decoded);
}

static void check_entries(const struct raft_append_entries *append, const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < append->n_entries; i++) {
        const struct raft_entry *entry = &append->entries[i];
        const uint8_t *base = entry->buf.base;

        FUZZ_CHECK(base >= data && entry->buf.len <= (size_t)(data + size - base));
        if (entry->type == RAFT_CHANGE) {
            check_configuration(&entry->buf);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct raft_entry entries[RAFT_MESSAGE_ENTRIES_MAX];
    struct raft_message message;
    struct raft_buffer configuration = {0};
    int r = raft_message_decode(data, size, entries, &message, &configuration);

    if (r != 0) {
        FUZZ_CHECK(r == -EBADMSG || r == -EMSGSIZE || r == -EPROTONOSUPPORT);
        return 0;
    }
    if (message.type == RAFT_APPEND_ENTRIES) {
        check_entries(&message.append_entries, data, size);
    } else if (message.type == RAFT_INSTALL_SNAPSHOT) {
        check_configuration(&configuration);
    }
    FUZZ_CHECK(raft_message_size(&message, &configuration) == size);
    uint8_t *bytes = malloc(size);
    FUZZ_CHECK(bytes != NULL);
    raft_message_encode(&message, &configuration, bytes);
    FUZZ_CHECK(memcmp(bytes, data, size) == 0);
    free(bytes);
    return 0;
}
