/* What the kernel takes to run a program in a container, with nothing around it: clone3 with all namespaces, the mounts
 * of the benchmark's bundle, pivot_root, execve, wait. No control group, no configuration, no capabilities, no filter, no
 * masked paths, no record of it. Not a runtime: the line that runtimes are compared with.
 *
 *   floor ROOTFS PROGRAM
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void mount_at(const char *at, const char *type, unsigned long flags, const char *options)
{
    mkdir(at, 0755);
    if (mount(type, at, type, flags, options))
        err(1, "mount %s at %s", type, at);
}

static void contain(const char *root)
{
    const unsigned long safe = MS_NOSUID | MS_NOEXEC | MS_NODEV;

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
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        err(1, "pivot_root");
    if (sethostname("bench", 5))
        err(1, "sethostname");
}

int main(int argc, char **argv)
{
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
        .exit_signal = SIGCHLD,
    };
    char *program[] = {NULL, NULL}, *environment[] = {"PATH=/bin", NULL};
    int status;
    long pid;

    if (argc != 3)
        errx(2, "usage: floor ROOTFS PROGRAM");
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        err(1, "clone3");
    if (pid == 0) {
        contain(argv[1]);
        program[0] = argv[2];
        execve(argv[2], program, environment);
        err(1, "execute %s", argv[2]);
    }
    if (waitpid(pid, &status, 0) < 0)
        err(1, "wait");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
