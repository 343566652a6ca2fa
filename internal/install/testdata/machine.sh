#!/bin/bash
# Boots Debian's systemd as process 1 of namespaces of its own, on a copy of this
# machine's files that is thrown away, and runs /mnt/steps.sh there. $1 is a folder that
# both sides see: as /mnt inside. It runs in a mount namespace of its own.
set -euo pipefail
shared=$1 root=$1/root

# A control group of its own, so that it meets none of this machine's, and goes with it.
if [[ ${2-} != inside ]]; then
	mkdir "$1/cgroup"
	mount -t cgroup2 cgroup2 "$1/cgroup"
	own=$1/cgroup/legate-test-$$
	mkdir "$own"
	(
		echo 0 >"$own/cgroup.procs"
		exec setpriv --pdeathsig=KILL unshare --mount --propagation=private --pid --fork --kill-child --net --ipc --uts --cgroup "$BASH" "$0" "$1" inside
	) || true # systemd ends with a code of its own
	find "$own" -depth -type d -exec rmdir {} +
	exit
fi

mkdir -p "$1/cow" "$root"
mount -t tmpfs -o size=1g tmpfs "$1/cow"
mkdir "$1/cow/upper" "$1/cow/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/cow/upper,workdir=$1/cow/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
	touch "$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount --bind "$shared" "$root/mnt"
ip link set lo up

# Nothing starts but what is asked for: neither this machine's services nor Debian's own.
rm -rf "$root"/lib/systemd/system/*.wants "$root"/lib/systemd/system-generators "$root"/etc/systemd/system "$root/etc/fstab"
rm -f "$root"/etc/dpkg/dpkg.cfg.d/* # images of containers leave the manual out
rm -rf "$root/var/log/journal" # it is kept in memory
mkdir -p "$root/etc/systemd/system"
cat >"$root/etc/systemd/system/steps.service" <<'UNIT'
[Unit]
Wants=systemd-journald.socket systemd-journald.service
After=systemd-journald.socket
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'exec /bin/bash -euxo pipefail /mnt/steps.sh >/mnt/log 2>&1'
ExecStopPost=/bin/bash -c 'echo "$EXIT_STATUS" >/mnt/result; systemctl exit'
UNIT
mkdir "$root/old"
cd "$root"
pivot_root . old
umount --lazy /old
rmdir /old
touch /mnt/prepared # from here on it is no fault of the machine
exec env -i container=legate-test PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-sys_boot \
	/lib/systemd/systemd --system --unit=steps.service --log-target=journal-or-kmsg --show-status=no
