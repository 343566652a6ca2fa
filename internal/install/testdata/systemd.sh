# The life of a package and its service, as Debian's systemd and dpkg see it. Each line
# that fails ends it.
show() { systemctl show legate --property="$1" --value; }
not() { if "$@"; then return 1; fi; } # a command after ! never ends the steps
logged() { journalctl --unit=legate --no-pager --output=cat "$@"; }
wait_for() { # at most two minutes
	for _ in {1..480}; do
		if "$@"; then return; fi
		sleep 0.25
	done
	return 1
}

trap 'test $? = 0 || { systemctl status legate || true; journalctl --no-pager --lines=60; }' EXIT

dpkg --install /mnt/legate.deb
test "$(stat -c '%U:%G %a' /etc/legate.d /etc/legate.d/legate.hcl /var/lib/legate | xargs)" = "root:legate 750 root:legate 640 legate:legate 750"
test "$(show ActiveState)" = inactive # it wants a configuration first
systemd-analyze verify legate.service # whose page of the manual is there, too
man legate-operator-raft | grep 'legate operator raft'
bash -c 'source /usr/share/bash-completion/completions/legate; complete -p legate'
cat >/etc/legate.d/server.hcl <<HCL
server           = true
bootstrap_expect = 1
bind_addr        = "127.0.0.1"
pid_file         = "/run/legate/legate.pid"
log_level        = "WARN"
performance { raft_multiplier = 1 }
HCL
legate validate /etc/legate.d
mkdir /run/systemd/system/legate.service.d
printf '[Service]\nWatchdogSec=8s\nRestartSec=100ms\n' >/run/systemd/system/legate.service.d/test.conf
systemctl daemon-reload

# It has started when it is ready, and not before.
systemctl enable --now legate
legate ready
test "$(show StatusText)" = ready
pid=$(show MainPID)
test "$(cat /run/legate/legate.pid)" = "$pid"
test "$(stat -c %U "/proc/$pid")" = legate
grep -q '^CapEff:.*0000000000000400$' "/proc/$pid/status" # CAP_NET_BIND_SERVICE alone
grep -q '^NoNewPrivs:.*1$' "/proc/$pid/status"
grep -q '^Seccomp:.*2$' "/proc/$pid/status"
legate kv put a 1

# A reload is waited for and heard; a configuration that is wrong changes nothing.
echo 'log_level = "INFO"' >/etc/legate.d/server2.hcl
systemctl reload legate
reloaded() { logged | grep 'configuration reloaded'; }
wait_for reloaded
echo 'nonsense = 1' >/etc/legate.d/wrong.hcl
systemctl reload legate
refused() { logged --priority=3 | grep 'reload failed'; } # at its priority
wait_for refused
logged >/run/lines
not grep 'time=' /run/lines
not grep '<3>' /run/lines
rm /etc/legate.d/wrong.hcl

# The watchdog ends one that stands still, and it comes back with what it had.
systemctl kill --kill-whom=main --signal=STOP legate
again() { test "$(show NRestarts) $(show ActiveState)" = "1 active"; }
wait_for again
test "$(show MainPID)" != "$pid"
test "$(legate kv get a)" = 1

# One that is told to end has not failed.
systemctl stop legate
test "$(show Result)" = success
test ! -e /run/legate/legate.pid

# A wrong configuration is a failure, with a reason in the journal.
echo 'nonsense = 1' >/etc/legate.d/wrong.hcl
not systemctl start legate
logged | grep "configuration has faults"
rm /etc/legate.d/wrong.hcl
systemctl reset-failed legate
systemctl stop legate

# What belongs to the package goes; the state stays, whatever goes.
systemctl start legate
dpkg --remove legate
not pgrep -x legate
test ! -e /usr/bin/legate
test ! -e /etc/systemd/system/multi-user.target.wants/legate.service
test -e /etc/legate.d/legate.hcl
dpkg --purge legate
test ! -e /etc/legate.d/legate.hcl
test -d /var/lib/legate/raft
