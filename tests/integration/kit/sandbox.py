"""The sandbox of a systemd unit, without systemd as the first process.

    sandbox.py UNIT STATE_FOLDER SEEN_FOLDER... -- PROGRAM ARGUMENTS...

Does to itself what systemd would do by the unit's own lines (those that it knows; it refuses to
start on one of [Service] that it does not), then becomes the program: a mount namespace in
which all but STATE_FOLDER is read-only and home folders, devices, other processes and /tmp are
not there (SEEN_FOLDERs are put back, read-only), an unprivileged user, no capabilities, limits,
and the system call filter, whose groups systemd-analyze spells out. Standard library, libc and
libseccomp alone.
"""

import ctypes
import errno
import functools
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys

HERE = os.path.abspath(__file__)
UNIT = os.path.join(os.path.dirname(HERE), "..", "..", "..", "docs", "tollgate.service")
USER = 61999   # one of those that DynamicUser takes

# What has no meaning to a process that a test starts, or is done by whoever starts it.
NOT_HERE = {"Type", "ExecStartPre", "ExecStart", "ExecReload", "EnvironmentFile", "Restart",
            "RestartSec", "KillSignal", "TimeoutStopSec", "StateDirectory", "StateDirectoryMode",
            "ConfigurationDirectory", "WorkingDirectory", "RemoveIPC", "KeyringMode",
            "ProtectHostname", "PrivateUsers"}
# Forbidden system calls alone, which the filter does not allow in any case: checked.
BY_FILTER = {"ProtectClock": "clock_settime", "ProtectKernelLogs": "syslog",
             "ProtectKernelModules": "init_module"}

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
NAMESPACES = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = \
    1, 2, 4, 8, 32, 4096, 16384, 1 << 18
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
ALLOW, ERRNO = 0x7fff0000, 0x00050000
EQ, GE, LE, MASKED = 4, 5, 3, 7
PROT_WRITE, PROT_EXEC = 2, 4
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17}

libc = ctypes.CDLL(None, use_errno=True)


class Unknown(Exception):
    pass


def missing():
    """Why there can be no sandbox here; None where there can."""
    if not shutil.which("systemd-analyze"):
        return "no systemd-analyze (Debian package systemd)"
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return "no libseccomp (Debian package libseccomp2)"
    return _unshares()


@functools.cache
def _unshares():
    done = subprocess.run([sys.executable, HERE, "--try"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"no mount namespace: {done.stderr.strip()[-200:]}"


def wanted():
    """The tests are to run their gateways in it."""
    return os.environ.get("TOLLGATE_TEST_SANDBOX") == "1"


def command(state, seen, args):
    os.makedirs(state, mode=0o700, exist_ok=True)
    return [sys.executable, HERE, UNIT, state, *seen, "--", *args]


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, data=None):
    def text(s):
        return s.encode() if s else None
    check(libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data)),
          f"mount {source} on {target}")


# ---- the unit ----------------------------------------------------------------------------------

def read_unit(path):
    """Lines of [Service]: name to list of values; an empty value forgets those before it."""
    lines, section = {}, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and line[0] not in "#;":
                name, value = line.split("=", 1)
                lines.setdefault(name, [])
                lines[name] = lines[name] + [value] if value else [""]
    return lines


# ---- the file system ---------------------------------------------------------------------------

def remount_read_only(where, recursive=True):
    """mount_setattr(2), which leaves other flags of each mount alone."""
    class Attributes(ctypes.Structure):
        _fields_ = [(n, ctypes.c_uint64) for n in ("set", "clear", "propagation", "userns")]
    attributes = Attributes(set=1)
    check(libc.syscall(442, -100, where.encode(), 0x8000 if recursive else 0,
                       ctypes.byref(attributes), ctypes.sizeof(attributes)),
          f"read-only {where}")


def put_back(descriptor, path, writable):
    if not os.path.exists(path):
        os.makedirs(path, mode=0o755)
    mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
    if not writable:
        remount_read_only(path)


def hide(folder, mode="0755"):
    mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode},size=16m")


def private_devices():
    kept = {name: os.open(f"/dev/{name}", os.O_PATH) for name in
            ("null", "zero", "full", "random", "urandom") if os.path.exists(f"/dev/{name}")}
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m")
    for name, descriptor in kept.items():
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY))
        mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", flags=MS_BIND)
        os.close(descriptor)
    remount_read_only("/dev", False)


def make_file_system(unit, state, seen):
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    kept = [(os.open(path, os.O_PATH), path) for path in dict.fromkeys(map(os.path.realpath, seen))]
    state = os.path.realpath(state)
    own = os.open(state, os.O_PATH)
    home = is_on(unit, "ProtectHome")
    for folder in (["/home", "/root", "/run/user"] if home else []) + \
            (["/tmp", "/var/tmp"] if is_on(unit, "PrivateTmp") else []):
        if os.path.isdir(folder):
            hide(folder, "1777" if folder.endswith("tmp") else "0755")
    for descriptor, path in kept:
        put_back(descriptor, path, False)
    if unit.get("ProtectSystem") != ["strict"]:
        raise Unknown("ProtectSystem is not strict")
    put_back(own, state, True)
    if is_on(unit, "PrivateDevices"):
        private_devices()
    remount_read_only("/")
    mount(None, state, flags=MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV)
    for folder in ("/tmp", "/var/tmp"):
        if is_on(unit, "PrivateTmp") and os.path.ismount(folder):
            mount(None, folder, flags=MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV)
    private_proc(unit)
    os.chdir(os.getcwd())


def private_proc(unit):
    options = [f"hidepid={v}" for v in unit.get("ProtectProc", [])] + \
        [f"subset={v}" for v in unit.get("ProcSubset", [])]
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ",".join(options))
    except OSError as problem:   # in a user namespace alone it may not be mounted
        if problem.errno != errno.EPERM or os.getuid() == 0:
            raise


def is_on(unit, name):
    return unit.get(name, ["no"])[-1] in ("yes", "true", "1", "on")


# ---- limits, user, capabilities ----------------------------------------------------------------

def limit(unit):
    os.umask(int(unit.get("UMask", ["0022"])[-1], 8))
    for name, number in (("LimitNOFILE", resource.RLIMIT_NOFILE), ("LimitCORE", resource.RLIMIT_CORE)):
        if name in unit:
            wanted, hard = int(unit[name][-1]), resource.getrlimit(number)[1]
            wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            soft = resource.getrlimit(number)[0]   # what a test has lowered stays so
            resource.setrlimit(number, (min(wanted, soft) if soft >= 0 else wanted, wanted))


def drop(unit):
    if unit.get("CapabilityBoundingSet") != [""] or unit.get("AmbientCapabilities") != [""]:
        raise Unknown("the unit keeps capabilities")
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if is_on(unit, "DynamicUser") and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    else:   # the only user of its namespace: its capabilities go
        class Head(ctypes.Structure):
            _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
        check(libc.capset(ctypes.byref(Head(0x20080522, 0)), (ctypes.c_uint32 * 6)()), "capset")
    if is_on(unit, "NoNewPrivileges"):
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


# ---- system calls ------------------------------------------------------------------------------

def groups():
    """systemd's groups of system calls, spelt out."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], check=True,
                          capture_output=True, text=True, env=dict(os.environ, TERM="dumb")).stdout
    found, name = {}, None
    for line in told.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
            found[name] = set()
        elif name and line.startswith(" ") and not word.startswith("#"):
            found[name].add(word)

    def spell(word, seen=()):
        if not word.startswith("@"):
            return {word}
        if word not in found:
            raise Unknown(f"no group {word}")
        return set().union(*(spell(w, (*seen, word)) for w in found[word] if w not in seen))
    return spell


def allowed_calls(unit):
    spell, allowed = groups(), None
    for value in unit["SystemCallFilter"]:
        words = set().union(*(spell(word) for word in value.lstrip("~").split()))
        if value.startswith("~"):
            allowed -= words
        else:
            allowed = (allowed or set()) | words | spell("@default")
    for line, call in BY_FILTER.items():
        if is_on(unit, line) and call in allowed:
            raise Unknown(f"{line}: {call} is allowed")
    return allowed


class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64),
                ("b", ctypes.c_uint64)]


class Filter:
    def __init__(self, default):
        self.lib = ctypes.CDLL("libseccomp.so.2")
        self.lib.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action, name, *comparisons):
        number = self.lib.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return False   # not on this machine
        array = (Comparison * max(1, len(comparisons)))(*comparisons)
        done = self.lib.seccomp_rule_add_array(self.context, ctypes.c_uint32(action), number,
                                               len(comparisons), array)
        if done != 0:
            raise OSError(-done, f"rule for {name}: {os.strerror(-done)}")
        return True

    def load(self):
        done = self.lib.seccomp_load(self.context)
        if done != 0:
            raise OSError(-done, f"load filter: {os.strerror(-done)}")


def restrict(unit):
    """The lines that are rules about arguments."""
    rules = Filter(ALLOW)
    if "RestrictAddressFamilies" in unit:
        families = sorted(FAMILIES[word] for word in unit["RestrictAddressFamilies"][-1].split())
        denied = [f for f in range(families[-1]) if f not in families]
        for family in denied:
            rules.add(ERRNO | errno.EAFNOSUPPORT, "socket", Comparison(0, EQ, family))
        rules.add(ERRNO | errno.EAFNOSUPPORT, "socket", Comparison(0, GE, families[-1] + 1))
    if is_on(unit, "RestrictNamespaces"):
        for bit in (1 << n for n in range(31) if NAMESPACES >> n & 1):
            rules.add(ERRNO | errno.EPERM, "clone", Comparison(0, MASKED, bit, bit))
        rules.add(ERRNO | errno.ENOSYS, "clone3")
        rules.add(ERRNO | errno.EPERM, "unshare")
        rules.add(ERRNO | errno.EPERM, "setns")
    if is_on(unit, "MemoryDenyWriteExecute"):
        both = PROT_WRITE | PROT_EXEC
        rules.add(ERRNO | errno.EPERM, "mmap", Comparison(2, MASKED, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            rules.add(ERRNO | errno.EPERM, name, Comparison(2, MASKED, PROT_EXEC, PROT_EXEC))
        rules.add(ERRNO | errno.EPERM, "shmat", Comparison(2, MASKED, 0o100000, 0o100000))
    if is_on(unit, "LockPersonality"):
        rules.add(ERRNO | errno.EPERM, "personality", Comparison(0, LE, 0xfffffffe))
    if is_on(unit, "RestrictRealtime"):
        for policy in (1, 2, 6):
            rules.add(ERRNO | errno.EPERM, "sched_setscheduler", Comparison(1, EQ, policy))
    if is_on(unit, "RestrictSUIDSGID"):
        for bit in (stat.S_ISUID, stat.S_ISGID):
            for name, at in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("open", 2),
                             ("openat", 3)):
                rules.add(ERRNO | errno.EPERM, name, Comparison(at, MASKED, bit, bit))
    rules.load()


def filter_calls(unit, allowed):
    number = getattr(errno, unit["SystemCallErrorNumber"][-1])
    rules = Filter(ERRNO | number)   # other architectures' calls kill: SystemCallArchitectures=native
    for name in allowed:
        rules.add(ALLOW, name)
    restrict(unit)
    rules.load()


KNOWN = {"DynamicUser", "UMask", "LimitNOFILE", "LimitCORE", "CapabilityBoundingSet",
         "AmbientCapabilities", "NoNewPrivileges", "ProtectSystem", "ProtectHome", "ProtectProc",
         "ProcSubset", "ProtectControlGroups", "ProtectKernelTunables", "PrivateDevices",
         "PrivateTmp", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime",
         "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute",
         "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber"}


def own_namespace():
    """Without root: a user namespace, in which mounts may be made."""
    if os.getuid() == 0:
        return
    user, group = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"),
                       ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def give(state, seen):
    """The state folder belongs to the user of the unit, who may look at the others."""
    for folder in seen:
        mode = os.stat(folder).st_mode
        if mode & 0o5 != 0o5 and os.stat(folder).st_uid == os.getuid():
            os.chmod(folder, mode & 0o7777 | 0o55)
        for name in os.listdir(folder):
            if name.endswith(".key"):   # as LoadCredential= gives it
                os.chmod(os.path.join(folder, name), 0o644)
    if os.getuid() == 0:
        for folder, _, names in os.walk(state):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                os.chown(path, USER, USER, follow_symlinks=False)


def main(args):
    if args == ["--try"]:
        own_namespace()
        check(libc.unshare(CLONE_NEWNS), "unshare")
        mount(None, "/", flags=MS_REC | MS_PRIVATE)
        hide("/tmp")
        return 0
    split = args.index("--")
    unit, state, seen, program = read_unit(args[0]), args[1], args[2:split], args[split + 1:]
    strange = set(unit) - KNOWN - NOT_HERE - set(BY_FILTER)
    if strange:
        raise Unknown(f"lines of the unit that are not known here: {sorted(strange)}")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    allowed = allowed_calls(unit)   # while systemd-analyze is still there
    give(state, seen)
    own_namespace()
    make_file_system(unit, state, seen)
    limit(unit)
    drop(unit)
    filter_calls(unit, allowed)
    os.execv(program[0], program)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
