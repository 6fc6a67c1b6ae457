/* What the kernel takes to run a program in a container, with nothing around it: clone3 with all namespaces, the mounts
 * of the benchmark's bundle, pivot_root, execve, wait. No control group, no configuration, no capabilities, no filter, no
 * masked paths, no record of it. Not a runtime: the line that runtimes are compared with.
 *
 *   floor ROOTFS PROGRAM
 *
 * With a name for a control group, of version 1, it does the rest of what the bundle's document orders as well: the
 * groups with their limits and device rules, entered, mounted and removed; devices and links; masked and read-only
 * paths; capabilities. One call after the other and by paths, as nothing that anybody could swap a path under may: that
 * is the line no runtime comes below that does the same things in the same order.
 *
 *   floor ROOTFS PROGRAM GROUP
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char *const hierarchies[] = {"freezer", "memory", "pids", "devices", "cpu", "cpuacct", "cpuset"};
static char groups[COUNT(hierarchies)][256];
static int entries[COUNT(hierarchies)];

static void mount_at(const char *at, const char *type, unsigned long flags, const char *options)
{
    mkdir(at, 0755);
    if (mount(type, at, type, flags, options))
        err(1, "mount %s at %s", type, at);
}

static int opened(const char *dir, const char *file, int flags)
{
    char path[512];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        err(1, "open %s", path);
    return fd;
}

static void put(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        err(1, "write %s", text);
}

static void set(const char *dir, const char *file, const char *text)
{
    int fd = opened(dir, file, O_WRONLY);

    put(fd, text);
    close(fd);
}

static void fill(const char *from, const char *to, const char *file)
{
    char text[256];
    int fd = opened(from, file, O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);

    if (n < 0)
        err(1, "read %s of %s", file, from);
    text[n] = 0;
    close(fd);
    set(to, file, text);
}

static void make_groups(const char *name)
{
    static const char *const allowed[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",  "c 1:8 rwm",
                                          "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"};
    int allow, deny;

    for (size_t i = 0; i < COUNT(hierarchies); i++) {
        snprintf(groups[i], sizeof groups[i], "/sys/fs/cgroup/%s/%s", hierarchies[i], name);
        if (mkdir(groups[i], 0755))
            err(1, "make %s", groups[i]);
    }
    fill("/sys/fs/cgroup/cpuset", groups[6], "cpuset.cpus");
    fill("/sys/fs/cgroup/cpuset", groups[6], "cpuset.mems");
    set(groups[1], "memory.limit_in_bytes", "268435456");
    set(groups[2], "pids.max", "100");
    allow = opened(groups[3], "devices.allow", O_WRONLY);
    deny = opened(groups[3], "devices.deny", O_WRONLY);
    put(deny, "a");
    for (size_t i = 0; i < COUNT(allowed); i++)
        put(allow, allowed[i]);
    close(allow);
    close(deny);
    for (size_t i = 0; i < COUNT(hierarchies); i++)
        entries[i] = opened(groups[i], "tasks", O_WRONLY);
}

static void enter_groups(void)
{
    for (size_t i = 0; i < COUNT(hierarchies); i++)
        put(entries[i], "0");
    if (unshare(CLONE_NEWCGROUP))
        err(1, "unshare the control groups");
}

static void mount_groups(void)
{
    char at[64];

    mount_at("sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=755");
    for (size_t i = 0; i < COUNT(hierarchies); i++) {
        snprintf(at, sizeof at, "sys/fs/cgroup/%s", hierarchies[i]);
        mkdir(at, 0755);
        if (mount(groups[i], at, NULL, MS_BIND, NULL))
            err(1, "mount %s", at);
    }
}

static void make_devices(void)
{
    static const struct { const char *at; int major, minor; } devices[] = {
        {"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
        {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
    };
    static const struct { const char *to, *at; } links[] = {
        {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
        {"/proc/self/fd/2", "dev/stderr"}, {"/proc/kcore", "dev/core"}, {"pts/ptmx", "dev/ptmx"},
    };
    mode_t mask = umask(0);

    for (size_t i = 0; i < COUNT(devices); i++)
        if (mknod(devices[i].at, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)))
            err(1, "make %s", devices[i].at);
    umask(mask);
    for (size_t i = 0; i < COUNT(links); i++)
        if (symlink(links[i].to, links[i].at))
            err(1, "link %s", links[i].at);
}

static void hide_paths(void)
{
    static const char *const masked[] = {"proc/acpi",          "proc/kcore",      "proc/keys",
                                         "proc/latency_stats", "proc/timer_list", "sys/firmware"};
    static const char *const kept[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    struct stat found;

    for (size_t i = 0; i < COUNT(masked); i++) {
        if (stat(masked[i], &found))
            continue;
        if (S_ISDIR(found.st_mode) ? mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "size=0")
                                   : mount("/dev/null", masked[i], NULL, MS_BIND, NULL))
            err(1, "mask %s", masked[i]);
    }
    for (size_t i = 0; i < COUNT(kept); i++) {
        if (mount(kept[i], kept[i], NULL, MS_BIND, NULL))
            continue;
        if (mount(NULL, kept[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
            err(1, "make %s read-only", kept[i]);
    }
}

static void give_up_rights(void)
{
    static const int kept[] = {CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER,  CAP_MKNOD,
                               CAP_NET_RAW, CAP_SETGID,       CAP_SETUID, CAP_SETFCAP, CAP_SETPCAP,
                               CAP_KILL,    CAP_SYS_CHROOT,   CAP_NET_BIND_SERVICE,    CAP_AUDIT_WRITE};
    struct __user_cap_header_struct of = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    uint64_t keep = 0;

    for (size_t i = 0; i < COUNT(kept); i++)
        keep |= UINT64_C(1) << kept[i];
    for (int i = 0; i <= CAP_LAST_CAP; i++)
        if (!(keep >> i & 1))
            prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    for (int i = 0; i < 2; i++)
        sets[i] = (struct __user_cap_data_struct){.effective = keep >> 32 * i, .permitted = keep >> 32 * i};
    if (syscall(SYS_capset, &of, sets) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        err(1, "give up rights");
}

static void contain(const char *root, int ordered)
{
    const unsigned long safe = MS_NOSUID | MS_NOEXEC | MS_NODEV;

    if (ordered)
        enter_groups();
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
        err(1, "cut off the host's mounts");
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) || chdir(root))
        err(1, "take %s as root", root);
    mount_at("proc", "proc", 0, NULL);
    mount_at("dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k");
    mount_at("dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount_at("dev/shm", "tmpfs", safe, "mode=1777,size=65536k");
    mount_at("dev/mqueue", "mqueue", safe, NULL);
    mount_at("sys", "sysfs", safe | MS_RDONLY, NULL);
    if (ordered) {
        mount_groups();
        make_devices();
        hide_paths();
    }
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        err(1, "pivot_root");
    if (sethostname("bench", 5))
        err(1, "sethostname");
    if (ordered)
        give_up_rights();
}

int main(int argc, char **argv)
{
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
        .exit_signal = SIGCHLD,
    };
    char *program[] = {NULL, NULL}, *environment[] = {"PATH=/bin", NULL};
    int status, ordered = argc == 4;
    long pid;

    if (argc != 3 && argc != 4)
        errx(2, "usage: floor ROOTFS PROGRAM [GROUP]");
    if (ordered) {
        make_groups(argv[3]);
        // Made when the groups have been entered, which are to be its root.
        args.flags &= ~(uint64_t)CLONE_NEWCGROUP;
    }
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        err(1, "clone3");
    if (pid == 0) {
        contain(argv[1], ordered);
        program[0] = argv[2];
        execve(argv[2], program, environment);
        err(1, "execute %s", argv[2]);
    }
    if (waitpid(pid, &status, 0) < 0)
        err(1, "wait");
    for (size_t i = 0; ordered && i < COUNT(hierarchies); i++)
        if (rmdir(groups[i]))
            err(1, "remove %s", groups[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
