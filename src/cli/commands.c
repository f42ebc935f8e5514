/* Every command, as data. */

#include <limits.h>

#include "cli/cli.h"

#define OBSERVE "Observe"
#define VIPS "VIPs"
#define CHECKS "Health checks"
#define NODES "Nodes"
#define UNDERSTAND "Understand"
#define DOCUMENT "As a document"
#define MAINTAIN "Maintain"
#define SETUP "Set up"

const struct option_spec global_options[] = {
    { "socket", 's', "PATH", "the daemon's socket (or VIPD_SOCKET; default " VIPD_SOCKET_DEFAULT ")" },
    { "output", 'o', "FORMAT", "table, wide, json or jsonl" },
    { "timeout", 0, "TIME", "give up after it: 10s, 500ms, 2m (default 10s; with --wait 30s)" },
    { "wait", 0, NULL, "return when the change is real, not only committed" },
    { "dry-run", 0, NULL, "judge the change without making it" },
    { "force", 0, NULL, "do it although it is unsafe" },
    { "help", 'h', NULL, "explain the command" },
    { "version", 0, NULL, "versions of vipctl and of the daemon" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec status_options[] = {
    { "watch", 'w', NULL, "show it again each second" },
    { NULL, 0, NULL, NULL },
};

#define ATTRIBUTES                                                                                    \
    { "name", 'n', "NAME", "name of the VIP (default: its address)" },                               \
        { "dev", 'd', "IF", "interface (default: the one whose network contains it)" },              \
        { "nodes", 0, "A,B", "only these nodes may hold it; \"all\" ends that" },                     \
        { "prefer", 'p', "A=100,B=50", "weights of preferred nodes; \"none\" ends that" },            \
        { "group", 'g', "GROUP", "VIPs of a group move together; \"none\" leaves it" },               \
        { "require", 'r', "C,D", "health checks that its node must pass; \"none\" ends that" },      \
        { "conflict", 0, "POLICY", "when another host announces it: defend (default) or yield" },    \
        { "hook", 0, "WHEN=PROGRAM[,..]", "run when it is taken or released (see below); \"none\" ends that" }, \
        { "reset-connections", 0, "yes|no", "reset its open connections on a planned move (default: yes)" }, \
        { "failback", 0, "WHEN", "never, auto, 10m: instead of the setting; \"default\" ends that" },  \
    {                                                                                                 \
        "apart-from", 'a', "V,W", "never on the node of these VIPs; \"none\" ends that"              \
    }

static const struct option_spec add_options[] = {
    ATTRIBUTES,
    { "disabled", 0, NULL, "add it disabled" },
    { "no-probe", 0, NULL, "take it without asking whether another host has it" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec set_options[] = {
    ATTRIBUTES,
    { "probe", 0, "yes|no", "whether it is asked for before it is taken from nobody" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec list_options[] = {
    { "node", 'N', "NODE", "only those owned by it" },
    { "state", 'S', "STATE", "only those: held, moving, unheld, disabled" },
    { "group", 'g', "GROUP", "only those of a group" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec move_options[] = {
    { "to", 't', "NODE", "where to (default: where it would go if its node were drained)" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec check_options[] = {
    { "http", 0, "URL", "GET http://ADDRESS[:PORT][/PATH]: passes with a status of 2xx or 3xx" },
    { "tcp", 0, "ADDRESS:PORT", "passes when a connection is accepted" },
    { "exec", 0, "NAME", "a program in the node's checks-dir: passes when it ends with 0" },
    { "process", 0, "NAME", "passes while a process of that name runs" },
    { "file", 0, "PATH", "passes while it exists" },
    { "ping", 0, "ADDRESS|gateway", "passes when an echo is answered" },
    { "every", 0, "TIME", "from run to run: 100ms (exec: 1s) to 1h; default 2s" },
    { "time", 0, "TIME", "a run that takes longer fails; default 1s, at most --every" },
    { "fall", 0, "N", "fails after N failures in a row; default 3" },
    { "rise", 0, "N", "passes after N passes in a row; default 2" },
    { "weight", 0, "N", "failing lowers the node's preference by N; 0 (default): the check is required" },
    { "scope", 0, "SCOPE", "vip (default): of VIPs that require it; node: every VIP requires it" },
    { "all-failed", 0, "WHAT", "when no node passes: keep (default) the VIP where it is, or release it" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec plan_options[] = {
    { "fail", 'f', "A,B", "as if these nodes died" },
    { "drain", 'd', "A,B", "as if these nodes were drained" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec history_options[] = {
    { "vip", 'v', "VIP", "only of this VIP" },
    { "node", 'N', "NODE", "only of this node itself" },
    { "since", 0, "TIME", "30m (ago), now, @UNIX-SECONDS, \"2026-01-31 12:30\", 2026-01-31T12:30:00Z" },
    { "limit", 'n', "N", "the newest N (default 1000; 0 = all)" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec events_options[] = {
    { "follow", 'f', NULL, "then go on with what happens, until Ctrl-C" },
    { "vip", 'v', "VIP", "only of this VIP" },
    { "node", 'N', "NODE", "only of this node itself" },
    { "since", 0, "TIME", "30m (ago), now, @UNIX-SECONDS, \"2026-01-31 12:30\", 2026-01-31T12:30:00Z" },
    { "limit", 'n', "N", "the newest N (default 20; 0 = all)" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec diff_options[] = {
    { "file", 'f', "FILE", "the document; - reads standard input" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec apply_options[] = {
    { "file", 'f', "FILE", "the document; - reads standard input" },
    { "if-rev", 0, "REV", "only if the cluster is at this revision (vipctl diff tells it)" },
    { NULL, 0, NULL, NULL },
};

#define COMMAND_TIMEOUT { "command-timeout", 0, "TIME", "COMMAND is ended after it, and has failed" }
#define DETACH { "detach", 0, NULL, "return once it has begun; it goes on by itself" }

static const struct option_spec maintenance_options[] = {
    { "nodes", 'N', "A,B", "only these, in this order (default: all by name)" },
    { "restart", 'R', NULL, "COMMAND restarts the node or its vipd: wait for it" },
    { "settle", 0, "TIME", "healthy for so long without a break; default 3s" },
    { "drain-timeout", 0, "TIME", "a node not drained in time has failed; default 1m" },
    COMMAND_TIMEOUT,
    { "return-timeout", 0, "TIME", "a node not healthy in time has failed; default 10m" },
    { "yes", 'y', NULL, "do not ask" },
    DETACH,
    { NULL, 0, NULL, NULL },
};

static const struct option_spec resume_options[] = {
    { "retry", 0, NULL, "run the command of the node whose turn it is again" },
    { "done", 0, NULL, "take it as done: wait until the node is healthy" },
    COMMAND_TIMEOUT,
    DETACH,
    { NULL, 0, NULL, NULL },
};

static const struct option_spec watch_options[] = {
    { "watch", 'w', NULL, "go on showing it until it is over" },
    { NULL, 0, NULL, NULL },
};

static const struct option_spec member_options[] = {
    { "address", 'a', "ADDRESS:PORT", "where it is from now on" },
    { "role", 'r', "ROLE", "voter (before others), spare (never), or auto" },
    { NULL, 0, NULL, NULL },
};

const struct command commands[] = {
    {
        "status", "", OBSERVE, "How the cluster is",
        "Of a node that has lost the majority it tells that node's own view.",
        "  vipctl status\n  vipctl status -o json\n  vipctl status --watch\n", status_options, 0, 0, false, run_status,
    },
    {
        "vip list", "", OBSERVE, "The VIPs, and who holds them",
        "STATE is held (in its owner's kernel), moving, unheld (the last column says why) or disabled.",
        "  vipctl vip list\n  vipctl vip list --node a -o wide\n  vipctl vip list -o json\n", list_options, 0, 0,
        false, run_vip_list,
    },
    {
        "vip show", "VIP", OBSERVE, "One VIP, with its latest history", NULL,
        "  vipctl vip show web\n  vipctl vip show 10.0.0.50\n", NULL, 1, 1, false, run_vip_show,
    },
    {
        "node list", "", OBSERVE, "The nodes",
        "STATUS is up, draining, drained, fenced (its VIPs go to others) or down; LEASE is what is left of the\n"
        "node's right to hold VIPs, by its last heartbeat.",
        "  vipctl node list\n  vipctl node list -o json\n", NULL, 0, 0, false, run_node_list,
    },
    {
        "node show", "NODE", OBSERVE, "One node, with its interfaces", NULL, "  vipctl node show a\n", NULL, 1, 1, false,
        run_node_show,
    },
    {
        "history", "", OBSERVE, "What happened, oldest first",
        "The cluster remembers its latest 8192 events.",
        "  vipctl history --since 1h\n  vipctl history --vip web -o json\n", history_options, 0, 0, false,
        run_history,
    },
    {
        "events", "", OBSERVE, "What happened last, in sentences; --follow: what happens",
        "Following asks the daemon of this host for what is new in its copy of the history: it survives the daemon's\n"
        "restart and a change of leaders, tells no event twice, and says how many it missed when there were too many.\n"
        "With -o json and jsonl each event is one line, as a row of history.",
        "  vipctl events\n  vipctl events --follow\n  vipctl events -f --vip web --since 1h -o jsonl\n", events_options, 0,
        0, false, run_events,
    },
    {
        "vip add", "ADDRESS[/LEN]...", VIPS, "Add VIPs",
        "LEN says which subnet it belongs to (default: /32, /128); on the interface it is always a host address.\n"
        "Refused (exit 3) when no node has an interface for it, unless --force; exit 7 when its address or name is\n"
        "in use.",
        "  vipctl vip add 10.0.0.50/24 --name web --wait\n  vipctl vip add 2001:db8::50/64 --dev eth0 --nodes a,b\n"
        "  vipctl vip add 10.0.0.60/24 --name db --prefer a=100 --apart-from web\n",
        add_options, 1, CLI_WORDS_MAX, true, run_vip_add,
    },
    {
        "vip set", "VIP", VIPS, "Change a VIP's attributes",
        "Its address stays; what is not named stays, too. WHEN is before-take, after-take, before-release or\n"
        "after-release; PROGRAM is a file in the nodes' hooks-dir. --hook replaces all four (docs/hooks.md).",
        "  vipctl vip set web --nodes a,b\n  vipctl vip set web --prefer none --group front\n"
        "  vipctl vip set web --hook after-take=notify,timeout=5s,after-release=notify\n", set_options, 1, 1, true,
        run_vip_set,
    },
    {
        "vip del", "VIP...", VIPS, "Delete VIPs",
        "The address stays reserved until its owner has certainly released it; --wait waits for that.",
        "  vipctl vip del web --wait\n", NULL, 1, CLI_WORDS_MAX, true, run_vip_del,
    },
    {
        "vip move", "VIP...", VIPS, "Move VIPs to another node",
        "It stays there as long as that node can hold it.",
        "  vipctl vip move web --to b --wait\n  vipctl vip move web\n", move_options, 1, CLI_WORDS_MAX, true,
        run_vip_move,
    },
    {
        "vip enable", "VIP...", VIPS, "Let VIPs be held again", NULL, "  vipctl vip enable web --wait\n", NULL, 1,
        CLI_WORDS_MAX, true, run_vip_enable,
    },
    {
        "vip disable", "VIP...", VIPS, "Take VIPs off every node, without forgetting them", NULL,
        "  vipctl vip disable web --wait\n", NULL, 1, CLI_WORDS_MAX, true, run_vip_disable,
    },
    {
        "vip announce", "VIP...", VIPS, "Let their owners tell the neighbours again where VIPs are",
        "A burst of gratuitous ARP or neighbour advertisements, as when a VIP has arrived; at most one a second for each.\n"
        "Refused when nobody holds the VIP: exit 3, or 7 while it is moving.",
        "  vipctl vip announce web\n", NULL, 1, CLI_WORDS_MAX, true, run_vip_announce,
    },
    {
        "node add", "NODE ADDRESS:PORT", NODES, "Make a host a member",
        "Then start vipd there, with join: in its file and the cluster's key; it becomes a voter when one is\n"
        "needed. --wait waits until it is up.",
        "  vipctl node add d 10.1.0.4:7400\n  vipctl node add d '[2001:db8::4]:7400' --wait --timeout 5m\n", NULL, 2, 2,
        true, run_node_add,
    },
    {
        "node set", "NODE", NODES, "Change a node's address or role",
        "A node that gets a new address is stopped first, given the address here, changed (listen: in its file), and\n"
        "started again.",
        "  vipctl node set c --address 10.1.0.33:7400\n  vipctl node set c --role auto\n", member_options, 1, 1, true,
        run_node_set,
    },
    {
        "node promote", "NODE", NODES, "Make a node a voter",
        "When there are as many voters as the setting voters.count says, another one gives way.",
        "  vipctl node promote d --wait\n", NULL, 1, 1, true, run_node_promote,
    },
    {
        "node demote", "NODE", NODES, "Let a node vote no more",
        "A standby takes its place, if there is one. Refused (exit 3) when fewer voters could fail then, unless --force.",
        "  vipctl node demote c --wait\n", NULL, 1, 1, true, run_node_demote,
    },
    {
        "node remove", "NODE", NODES, "Take a node out of the cluster",
        "It is drained first. Refused (exit 3) when a VIP would be left without a node, or fewer voters could fail then,\n"
        "unless --force. A host whose disk was lost or wiped is removed and added anew.",
        "  vipctl node remove c --wait\n", NULL, 1, 1, true, run_node_remove,
    },
    {
        "check add", "NAME", CHECKS, "Add a health check",
        "Every node that may hold a VIP that requires it (vip set --require) runs it. A node that fails it gives up what\n"
        "requires it, and a node is given nothing of that before it has passed. docs/health.md tells the rest.",
        "  vipctl check add haproxy --http http://127.0.0.1:8404/healthz --every 1s --time 500ms\n"
        "  vipctl vip set web --require haproxy\n  vipctl check add router --ping gateway --scope node\n",
        check_options, 1, 1, true, run_check_add,
    },
    {
        "check set", "NAME", CHECKS, "Change a health check", "What it said is forgotten; until it has run again VIPs stay.",
        "  vipctl check set haproxy --fall 5\n", check_options, 1, 1, true, run_check_set,
    },
    {
        "check del", "NAME...", CHECKS, "Delete health checks", "Refused (exit 7) while something requires it.",
        "  vipctl check del haproxy\n", NULL, 1, CLI_WORDS_MAX, true, run_check_del,
    },
    {
        "check list", "", CHECKS, "The health checks, and where they fail", NULL,
        "  vipctl check list\n  vipctl check list -o json\n", NULL, 0, 0, false, run_check_list,
    },
    {
        "check show", "NAME", CHECKS, "One health check on every node", NULL,
        "  vipctl check show haproxy\n", NULL, 1, 1, false, run_check_show,
    },
    {
        "drain", "NODE", NODES, "Move everything off a node, before its maintenance",
        "VIPs and the leadership go to others, and nothing comes back before undrain. Refused (exit 3) when no other node\n"
        "can hold one of its VIPs. With --force that VIP stays on the node until another one can, and the node is drained then.",
        "  vipctl drain a --wait && reboot\n  vipctl drain a --dry-run\n", NULL, 1, 1, true, run_drain,
    },
    {
        "undrain", "NODE", NODES, "Let a drained node hold VIPs again", NULL, "  vipctl undrain a --wait\n", NULL, 1, 1,
        true, run_undrain,
    },
    {
        "leader", "", NODES, "Which node leads", NULL, "  vipctl leader\n", NULL, 0, 0, false, run_leader,
    },
    {
        "leader transfer", "[NODE]", NODES, "Hand the leadership over",
        "It moves no VIP. Without NODE the leader chooses.", "  vipctl leader transfer b --wait\n", NULL, 0, 1, true,
        run_leader_transfer,
    },
    {
        "explain", "vip VIP | node NODE", UNDERSTAND, "Why a VIP is where it is; what a node lacks",
        "By the function that decided it.", "  vipctl explain vip web\n  vipctl explain node b\n", NULL, 2, 2, false,
        run_explain,
    },
    {
        "plan", "", UNDERSTAND, "What would be moved, without doing it", NULL,
        "  vipctl plan --fail a\n  vipctl plan --fail a --drain b -o json\n", plan_options, 0, 0, false, run_plan,
    },
    {
        "doctor", "", UNDERSTAND, "What is not as it should be",
        "As the daemon of this host sees it. Exit code 0: nothing; 1: something.",
        "  vipctl doctor\n  vipctl doctor -o json\n", NULL, 0, 0, false, run_doctor,
    },
    {
        "apply", "-f FILE", DOCUMENT, "Make the cluster what a document says",
        "All of it or nothing, and nothing but what differs. Refused before anything changes: what is wrong in the\n"
        "document, at its line and column (exit 2), what some node cannot honour (exit 3, --force overrides), and\n"
        "another revision than --if-rev says (exit 7). docs/cluster-document.md tells what a document has.",
        "  vipctl apply -f cluster.yaml --wait\n  vipctl apply -f cluster.yaml --if-rev 1234\n"
        "  vipctl apply -f cluster.yaml --dry-run\n",
        apply_options, 0, 0, true, run_apply,
    },
    {
        "diff", "-f FILE", DOCUMENT, "What applying a document would change", NULL,
        "  vipctl diff -f cluster.yaml\n  vipctl export | vipctl diff -f -\n", diff_options, 0, 0, false, run_diff,
    },
    {
        "export", "", DOCUMENT, "The cluster as a document", "Applied, it changes nothing.",
        "  vipctl export > cluster.yaml\n", NULL, 0, 0, false, run_export,
    },
    {
        "rollback", "REV", DOCUMENT, "Make the cluster what it was at an earlier revision",
        "The document that an apply replaced is kept: the last 8, of up to 64 KiB. A rollback can be rolled back.",
        "  vipctl rollback 1234 --dry-run\n  vipctl rollback 1234 --wait\n", NULL, 1, 1, true, run_rollback,
    },
    {
        "revisions", "", DOCUMENT, "The revisions that can be gone back to", NULL, "  vipctl revisions\n", NULL, 0, 0,
        false, run_revisions,
    },
    {
        "maintenance run", "[OPTION]... -- COMMAND...", MAINTAIN, "Maintain the nodes, one at a time",
        "Each node in its turn, the leader last: it is drained; COMMAND is run, here, as\n"
        "you; it is waited for until it is healthy; it is undrained. In COMMAND {node}\n"
        "and {address} name the node, as do VIPD_NODE and VIPD_ADDRESS in its\n"
        "environment; its standard input is empty. With --restart how it ends does not\n"
        "count: the node has to come back. The plan is shown first. It stops at the\n"
        "first node that fails, which stays drained; one drained before stays so.\n"
        "Refused (exit 3) when a node is down, or when a VIP would be left without a\n"
        "node or the voters without a majority, unless --force. The cluster keeps its\n"
        "state: it goes on when the leader, the node or this terminal dies. Ctrl-C\n"
        "pauses it.",
        "  vipctl maintenance run -- ssh {address} apt-get -y upgrade\n"
        "  vipctl maintenance run --restart --settle 30s -- ssh {address} reboot\n"
        "  vipctl maintenance run --nodes b,c --dry-run -- ./patch.sh\n",
        maintenance_options, 1, CLI_WORDS_MAX, true, run_maintenance_run,
    },
    {
        "maintenance status", "", MAINTAIN, "How the maintenance goes on, or went", NULL,
        "  vipctl maintenance status\n  vipctl maintenance status --watch\n", watch_options, 0, 0, false,
        run_maintenance_status,
    },
    {
        "maintenance pause", "", MAINTAIN, "Begin nothing new",
        "A command that runs is not stopped; when it ends well, its node comes back.\n"
        "--wait returns then.",
        "  vipctl maintenance pause --wait --timeout 10m\n", NULL, 0, 0, true, run_maintenance_pause,
    },
    {
        "maintenance resume", "[OPTION]... [-- COMMAND...]", MAINTAIN, "Go on after a pause or a failure, on any node",
        "The commands are run here from now on, unless one is at work. A node that failed\n"
        "is tried again where it failed. When it is not known whether a command has\n"
        "ended, --retry or --done says what to make of it. The command of another user\n"
        "has to be repeated behind --, as it is run with your rights.",
        "  vipctl maintenance resume\n  vipctl maintenance resume --done\n", resume_options, 0, CLI_WORDS_MAX, true,
        run_maintenance_resume,
    },
    {
        "maintenance abort", "", MAINTAIN, "End the maintenance where it is",
        "No other node is touched. A node whose command was begun stays drained; one that\n"
        "was only being drained is undrained.",
        "  vipctl maintenance abort\n", NULL, 0, 0, true, run_maintenance_abort,
    },
    {
        "settings", "", MAINTAIN, "The cluster's settings and timing", NULL, "  vipctl settings\n", NULL, 0, 0, false,
        run_settings,
    },
    {
        "settings set", "NAME=VALUE...", MAINTAIN, "Change the cluster's settings",
        "announce.count      announcements in a burst, 1..100\n"
        "announce.interval   between them, 10ms..60s\n"
        "announce.refresh    repeated as long as a VIP is held; 0 = never, else 1s and more\n"
        "failback            never, auto, or for how long a preferred node has to be well: 10m\n"
        "hold-down.after     fences in a row without a hold-down; .window: what is in a row\n"
        "hold-down.first     the first hold-down, doubled each time up to .max; .max=0: none\n"
        "voters.count        how many voters there are to be: 3, 5 or 7\n"
        "voters.replace      a voter lost for so long is replaced by a standby, 1s..24h",
        "  vipctl settings set announce.count=5 announce.interval=200ms announce.refresh=60s\n"
        "  vipctl settings set voters.count=5\n", NULL, 1, 16, true,
        run_settings_set,
    },
    {
        "keygen", "[FILE]", SETUP, "A new random key for a cluster",
        "256 bits as 64 hexadecimal digits, to standard output or to a new FILE with mode 0600.",
        "  vipctl keygen /etc/vipd/cluster.key\n", NULL, 0, 1, false, run_keygen,
    },
    {
        "key list", "", SETUP, "Which keys each node uses, accepts, and has in its file",
        "Keys are shown by ids that say nothing about them.", "  vipctl key list\n  vipctl key list -o json\n", NULL, 0, 0,
        false, run_key_list,
    },
    {
        "key rotate", "[KEY]", SETUP, "Change the cluster's key while it runs",
        "Before it, append a new key to the key-file on one node and copy the file to all others. Then every node accepts it,\n"
        "every node uses it, all connections are made anew, and the old one is dropped. KEY is an id of key list\n"
        "(default: the last one that every file has). Refused (exit 3) when a node would be cut off, unless --force.\n"
        "After a failure, run it again: it goes on where it ended.",
        "  vipctl keygen >> /etc/vipd/cluster.key     on one node; copy the file to the others\n"
        "  vipctl key rotate --dry-run && vipctl key rotate\n"
        "  sed -i 1d /etc/vipd/cluster.key            then, on every node\n",
        NULL, 0, 1, true, run_key_rotate,
    },
    {
        "version", "", SETUP, "Versions of vipctl and of the daemon", NULL, "  vipctl version\n", NULL, 0, 0, false,
        run_version,
    },
#if VIPD_PRETEND_FORMAT
    {
        "mark", "TEXT", MAINTAIN, "Leave a mark", NULL, "  vipctl mark here\n", NULL, 1, 1, true, run_mark,
    },
#endif
    {
        "help", "[COMMAND]", SETUP, "Explain a command", NULL, "  vipctl help vip add\n", NULL, 0, 2, false, run_help,
    },
};

const size_t commands_n = sizeof commands / sizeof commands[0];
