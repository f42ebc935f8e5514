#ifndef VIPD_IO_PAGES_H
#define VIPD_IO_PAGES_H

#include <stddef.h>

/* Gives the memory of whole pages within [memory, memory + size) back to the kernel: what was in them is lost, the next look
 * finds zeros. Of memory of this process alone (malloc, calloc); of what is not a whole page nothing changes. For what is
 * large, and needed only now and then. */
void pages_give_back(void *memory, size_t size);

#endif
