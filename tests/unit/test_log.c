/* base/log and base/throttle: the line, the journal's fields, and what a storm leaves. */

#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/throttle.h"

#define CAPTURE_SIZE 65536
#define LINES_MAX 20 /* base/log.h */

static struct
{
    int saved;
    int file;
} capture;

static struct
{
    int entries;
    int result; /* what the journal answers */
    char last[8192]; /* its fields, one a line */
} journal;

static time_t ahead_s;

/* Stands in for libc's: the clock that does not go back runs ahead_s ahead, so that no test waits for a window to end. */
int clock_gettime(clockid_t id, struct timespec *ret)
{
    int rv = (int)syscall(SYS_clock_gettime, id, ret);

    if (rv == 0 && id == CLOCK_MONOTONIC) {
        ret->tv_sec += ahead_s;
    }
    return rv;
}

/* Stands in for the journal: the linker prefers it to the library's. */
int sd_journal_sendv(const struct iovec *iov, int n);
int sd_journal_sendv(const struct iovec *iov, int n)
{
    size_t at = 0;

    for (int i = 0; i < n; i++) {
        assert_true(at + iov[i].iov_len + 2 < sizeof(journal.last));
        memcpy(journal.last + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
        journal.last[at++] = '\n';
    }
    journal.last[at] = '\0';
    journal.entries++;
    return journal.result;
}

static int start_capture(void **state)
{
    memset(&journal, 0, sizeof(journal));
    unsetenv("JOURNAL_STREAM");
    fflush(stderr);
    capture.saved = dup(STDERR_FILENO);
    capture.file = memfd_create("stderr", MFD_CLOEXEC);
    return capture.saved < 0 || capture.file < 0 || dup2(capture.file, STDERR_FILENO) < 0;
}

static int end_capture(void **state)
{
    dup2(capture.saved, STDERR_FILENO);
    close(capture.saved);
    close(capture.file);
    return 0;
}

static const char *captured(void)
{
    static char text[CAPTURE_SIZE];
    ssize_t n = pread(capture.file, text, sizeof(text) - 1, 0);

    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static int count_lines(const char *text)
{
    int n = 0;

    for (; *text != '\0'; text++) {
        n += *text == '\n';
    }
    return n;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&regex, text, 0, NULL, 0) != 0) {
        fail_msg("'%s' does not match '%s'", text, pattern);
    }
    regfree(&regex);
}

static void a_line_has_time_level_id_sentence_fields_and_advice(void **state)
{
    log_init("a", LOG_NOTE);
    log_write(LOG_LEASE_LOST, "acks=%d of=%d", 1, 3);
    assert_matches(captured(), "^[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3} warn lease-lost: no majority supports this "
                               "node: it holds nothing \\(acks=1 of=3\\) \\[check the network to the voters\\]\n$");
}

static void empty_parts_leave_no_brackets(void **state)
{
    log_init("a", LOG_NOTE);
    log_write(LOG_READY, "%s", "");
    assert_matches(captured(), "^[0-9:.]{12} note ready: ready\n$");
}

static void messages_below_the_level_are_left_out(void **state)
{
    log_init("a", LOG_WARN);
    log_write(LOG_HOLD, "vip=web");
    assert_string_equal(captured(), "");
    log_init("a", LOG_INFO);
    log_write(LOG_HOLD, "vip=web");
    assert_int_equal(count_lines(captured()), 1);
}

static void a_strangers_bytes_forge_no_line(void **state)
{
    log_init("a", LOG_NOTE);
    log_write(LOG_STRANGER, "from=%s", "x\n00:00:00.000 note ready: ready\033[2J");
    assert_int_equal(count_lines(captured()), 1);
    assert_null(strchr(captured(), '\033'));
    assert_non_null(strstr(captured(), "from=x?00:00:00.000 note ready: ready?[2J)"));
}

static void long_fields_are_cut_and_marked(void **state)
{
    char *text = malloc(CAPTURE_SIZE);

    memset(text, 'x', CAPTURE_SIZE - 1);
    text[CAPTURE_SIZE - 1] = '\0';
    log_init("a", LOG_NOTE);
    log_write(LOG_LEASE_GAINED, "detail=%s", text);
    free(text);
    assert_int_equal(count_lines(captured()), 1);
    assert_in_range(strlen(captured()), 500, 2048);
    assert_matches(captured(), "x \\.\\.\\.\\)\n$");
}

static void a_file_gets_no_colour(void **state)
{
    setenv("TERM", "xterm", 1);
    log_init("a", LOG_NOTE);
    log_write(LOG_FENCE, "node=b");
    assert_null(strchr(captured(), '\033'));
}

static void connect_journal(const char *format, unsigned long long inode_shift)
{
    struct stat stat;
    char stream[64];

    assert_int_equal(fstat(STDERR_FILENO, &stat), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu%s", (unsigned long long)stat.st_dev,
        (unsigned long long)stat.st_ino + inode_shift, format);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init("a", LOG_NOTE);
}

static void the_journal_gets_fields(void **state)
{
    connect_journal("", 0);
    log_write(LOG_FOREIGN, "vip=%s mac=%s note=\"%s\" lladdr-type=1 bare", "web", "02:00:00:00:00:01", "two words");
    assert_string_equal(captured(), "");
    assert_int_equal(journal.entries, 1);
    assert_string_equal(journal.last,
        "MESSAGE=another host announced a VIP that this node holds (vip=web mac=02:00:00:00:00:01 note=\"two words\" "
        "lladdr-type=1 bare) [find the host by its hardware address]\n"
        "PRIORITY=4\n"
        "VIPD_MSG_ID=foreign\n"
        "SYSLOG_IDENTIFIER=vipd\n"
        "VIPD_SELF=a\n"
        "VIPD_ADVICE=find the host by its hardware address\n"
        "VIPD_VIP=web\n"
        "VIPD_MAC=02:00:00:00:00:01\n"
        "VIPD_NOTE=two words\n"
        "VIPD_LLADDR_TYPE=1\n");
}

static void fields_of_the_journal_are_bounded(void **state)
{
    static const char *const odd[] = {"=", "==", "a=", "a=\"", "a=\"b", "=a", "a", "\"a=b\"", "   ", "a=b=c d="};
    char many[2048] = "";

    connect_journal("", 0);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        log_write(LOG_DROP, "%s", odd[i]);
        assert_int_equal(journal.entries, i + 1);
    }
    for (int i = 0; i < 400; i++) {
        strcat(many, "k=v ");
    }
    log_write(LOG_DROP, "%s", many);
    int fields = count_lines(journal.last);
    assert_in_range(fields, 20, 40);
}

static void a_redirected_stderr_is_not_the_journal(void **state)
{
    connect_journal("", 1);
    log_write(LOG_CLEAR, "node=b");
    connect_journal("junk", 0);
    log_write(LOG_CLEAR, "node=b");
    assert_int_equal(journal.entries, 0);
    assert_int_equal(count_lines(captured()), 2);
}

static void a_journal_that_fails_loses_nothing(void **state)
{
    connect_journal("", 0);
    journal.result = -ENOTCONN;
    log_write(LOG_MISSING, "node=b");
    assert_int_equal(journal.entries, 1);
    assert_non_null(strstr(captured(), "warn missing: node not heard (node=b)\n"));
}

static void a_storm_is_cut_and_others_pass(void **state)
{
    log_init("a", LOG_NOTE);
    for (int i = 0; i < 10 * LINES_MAX; i++) {
        log_write(LOG_REFUSED, "i=%d", i);
    }
    log_write(LOG_ADMIT, "node=c");
    assert_int_equal(count_lines(captured()), LINES_MAX + 1);
    assert_non_null(strstr(captured(), "(i=19)"));
    assert_null(strstr(captured(), "(i=20)"));
    assert_non_null(strstr(captured(), "admit"));
}

static void the_end_of_a_storm_is_reported_by_whatever_comes_next(void **state)
{
    log_init("a", LOG_NOTE);
    ahead_s += 11; /* storms of other tests are over */
    log_write(LOG_FOUNDING, "peers=3");
    int before = count_lines(captured());
    for (int i = 0; i < LINES_MAX + 7; i++) {
        log_write(LOG_READD, "i=%d", i);
    }
    assert_int_equal(count_lines(captured()), before + LINES_MAX);
    ahead_s += 11;
    log_write(LOG_FOUNDED, "nodes=3");
    assert_int_equal(count_lines(captured()), before + LINES_MAX + 2);
    assert_matches(captured(), "warn readd: [^\n]*\\(suppressed=7 window_ms=10000\\)\n[^\n]*note founded: ");
    log_write(LOG_READD, "i=again");
    assert_non_null(strstr(captured(), "(i=again)"));
}

static void a_throttle_counts_what_it_refuses(void **state)
{
    struct throttle throttle = {0};

    for (int i = 0; i < 7; i++) {
        assert_int_equal(throttle_pass(&throttle, 1000 + i, 3, 10000), i < 3);
    }
    assert_int_equal(throttle_end(&throttle, 10999, 10000), 0); /* still running */
    assert_false(throttle_pass(&throttle, 10999, 3, 10000));
    assert_int_equal(throttle_end(&throttle, 11000, 10000), 5);
    assert_int_equal(throttle_end(&throttle, 11000, 10000), 0); /* told once */
    assert_true(throttle_pass(&throttle, 11000, 3, 10000));
    assert_int_equal(throttle_end(&throttle, 99000, 10000), 0); /* nothing was refused in it */
}

#define CAPTURED(f) cmocka_unit_test_setup_teardown(f, start_capture, end_capture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAPTURED(a_line_has_time_level_id_sentence_fields_and_advice),
        CAPTURED(empty_parts_leave_no_brackets),
        CAPTURED(messages_below_the_level_are_left_out),
        CAPTURED(a_strangers_bytes_forge_no_line),
        CAPTURED(long_fields_are_cut_and_marked),
        CAPTURED(a_file_gets_no_colour),
        CAPTURED(the_journal_gets_fields),
        CAPTURED(fields_of_the_journal_are_bounded),
        CAPTURED(a_redirected_stderr_is_not_the_journal),
        CAPTURED(a_journal_that_fails_loses_nothing),
        CAPTURED(a_storm_is_cut_and_others_pass),
        CAPTURED(the_end_of_a_storm_is_reported_by_whatever_comes_next),
        cmocka_unit_test(a_throttle_counts_what_it_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
