/* Memory that is given back takes no room, and what is beside it stays. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/pages.h"

#define PAGES 64

static size_t page;
static uint8_t *memory;

static int set_up(void **state)
{
    (void)state;
    page = (size_t)sysconf(_SC_PAGESIZE);
    memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    memset(memory, 1, PAGES * page);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return munmap(memory, PAGES * page);
}

static size_t resident(void)
{
    unsigned char pages[PAGES];
    size_t n = 0;
    assert_int_equal(mincore(memory, PAGES * page, pages), 0);
    for (size_t i = 0; i < PAGES; i++) {
        n += pages[i] & 1;
    }
    return n;
}

static void whole_pages(void **state)
{
    (void)state;
    assert_int_equal(resident(), PAGES);
    pages_give_back(memory + page / 2, PAGES / 2 * page);
    assert_int_equal(resident(), PAGES - (PAGES / 2 - 1));
    for (size_t i = 0; i < PAGES * page; i++) {
        assert_int_equal(memory[i], i >= page && i < PAGES / 2 * page ? 0 : 1);
    }
}

static void no_whole_page(void **state)
{
    (void)state;
    pages_give_back(memory + 1, page);
    pages_give_back(memory + 1, 2 * page - 2);
    pages_give_back(memory, page - 1);
    pages_give_back(memory, 0);
    for (size_t i = 0; i < PAGES * page; i++) {
        assert_int_equal(memory[i], 1);
    }
    assert_int_equal(resident(), PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_whole_page, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
